"""A webhook's body -> the row that is kept of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from livekit.protocol.webhook import WebhookEvent

from agent import log
from agent.call import now
from agent.pseudonym import Pseudonyms
from agent.store.webhooks import WebhookRow
from ops.webhooks.redaction import redacted

LONGEST_ID, LONGEST_NAME = 64, 64
EARLIEST, LATEST = 0, 4_102_444_800
"""Seconds since 1970 that an event may have happened at: until 2100."""


DEEPEST = 30
"""Objects and lists within each other, at most: LiveKit's own are half as deep."""


class Malformed(Exception):
    """The body is no webhook event."""


def read(body: bytes, pseudonyms: Pseudonyms) -> WebhookRow:
    """What is kept of the event; one that is not known is kept as well. Raises Malformed."""
    try:
        told = json.loads(body)
        if not isinstance(told, dict) or _is_deeper(told, DEEPEST):
            raise Malformed("the body is no JSON object, or too deep a one")
        event, kept = parse(told), redacted(told, pseudonyms)
    except (ParseError, RecursionError, ValueError) as error:
        raise Malformed(f"the body is no webhook event: {type(error).__name__}") from None
    if not event.event or len(event.event) > LONGEST_NAME:
        raise Malformed("the event has no name")
    received = now()
    # Without an id of its own an event is known by what it says.
    own_id = event.id or f"sha256-{sha256(body).hexdigest()}"
    room = event.room
    return WebhookRow(
        id=own_id if len(own_id) <= LONGEST_ID else sha256(own_id.encode()).hexdigest(),
        event=event.event,
        room=log.clean(room.name or event.egress_info.room_name or event.ingress_info.room_name),
        room_sid=room.sid or event.egress_info.room_id,
        created_at=moment(event.created_at) or received,
        received_at=received,
        body=kept,
    )


def parse(body: dict[str, Any]) -> WebhookEvent:
    """The event of a kept body. Raises ParseError; what a newer server says more is passed over."""
    return ParseDict(body, WebhookEvent(), ignore_unknown_fields=True)


def moment(seconds: float) -> datetime | None:
    """A moment told in seconds since 1970; 0 is none, and so is nonsense."""
    return datetime.fromtimestamp(seconds, UTC) if EARLIEST < seconds < LATEST else None


def _is_deeper(value: Any, most: int) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most < 0 or any(_is_deeper(item, most - 1) for item in items)
