"""What a database knows of rooms and calls, to be compared with what another one knows."""

from __future__ import annotations

from agent.pseudonym import Pseudonyms
from agent.store.rooms import Rooms
from ops.front.events import Told
from ops.webhooks.reading import parse

PSEUDONYMS = Pseudonyms(b"salt")
PREFIX = "voice-ai-call-"

FACTS = (
    "id room room_sid identity caller_number called_number started_at end_reason ended_at"
    " end_detail end_provisional"
).split()


def told(row):
    return Told(
        id=row.id,
        event=row.event,
        room=row.room,
        room_sid=row.room_sid,
        at=row.created_at,
        body=parse(row.body),
    )


def facts(log):
    """All that is known now, but for when it was written."""
    calls = [tuple(getattr(call, name) for name in FACTS) for call in log.list_calls(10_000)]
    states = [Rooms(log.engine).state(f"RM_{n:06}") for n in range(200)]
    return sorted(calls), states, Rooms(log.engine).counts()
