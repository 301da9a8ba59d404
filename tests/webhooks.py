"""Webhook events as a LiveKit server sends them: signed bodies, and the stories of whole calls."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

from livekit import api

KEY, SECRET = "key-of-tests", "secret-of-tests-0123456789abcdefghij"
CALLER = "+15550100"
NOON = 1_795_262_400
"""A moment in seconds since 1970."""


def token(body: bytes, key: str = KEY, secret: str = SECRET) -> str:
    """What LiveKit puts into `Authorization`."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return api.AccessToken(key, secret).with_sha256(digest).to_jwt()


def headers(body: bytes, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
    """The headers of a webhook with this body."""
    return {
        "Authorization": token(body, key, secret),
        "Content-Type": "application/webhook+json",
    }


def body(event: dict[str, Any]) -> bytes:
    """The event on the wire."""
    return json.dumps(event).encode()


def event(name: str, number: int, second: int = 0, **more: Any) -> dict[str, Any]:
    """One event; `number` makes its id."""
    return {"event": name, "id": f"EV_{number:06}", "createdAt": str(NOON + second), **more}


def room(number: int = 1, second: int = 0) -> dict[str, Any]:
    """A room for a call."""
    return {
        "sid": f"RM_{number:06}",
        "name": f"voice-ai-call-{number:06}",
        "creationTime": str(NOON + second),
        "creationTimeMs": str((NOON + second) * 1000),
    }


def telephone(number: int = 1, second: int = 0, **more: Any) -> dict[str, Any]:
    """A SIP participant."""
    return {
        "sid": f"PA_tel{number:06}",
        "identity": f"sip_{CALLER}",
        "name": f"Phone {CALLER}",
        "kind": "SIP",
        "joinedAt": str(NOON + second),
        "joinedAtMs": str((NOON + second) * 1000 + 250),
        "attributes": {
            "sip.phoneNumber": CALLER,
            "sip.trunkPhoneNumber": "+15550199",
            "sip.callID": "SCL_abc",
        },
        **more,
    }


def agent(number: int = 1, second: int = 0, **more: Any) -> dict[str, Any]:
    """An agent's participant."""
    return {
        "sid": f"PA_agent{number:06}",
        "identity": f"agent-AJ_{number}",
        "kind": "AGENT",
        "joinedAt": str(NOON + second),
        "joinedAtMs": str((NOON + second) * 1000),
        **more,
    }


def story(number: int, kind: int) -> list[dict[str, Any]]:
    """All events of one call in their order; kinds of endings take turns."""
    base, at = number * 20, number
    there = room(number, at)
    reasons = ["CLIENT_INITIATED", "USER_UNAVAILABLE", "ROOM_DELETED", "MEDIA_FAILURE"]
    left = telephone(number, at + 1, disconnectReason=reasons[kind % 4])
    caller = telephone(number, at + 1)
    said = [
        event("room_started", base, at, room=there),
        event("participant_joined", base + 1, at + 1, room=there, participant=caller),
    ]
    if kind % 5:  # in every fifth no agent comes
        here = agent(number, at + 2)
        brief = {"sid": here["sid"], "identity": here["identity"]}
        track = {"sid": f"TR_{number}", "type": "AUDIO", "source": "MICROPHONE"}
        of_track = {"room": there, "participant": brief, "track": track}
        gone = {**here, "disconnectReason": ["CLIENT_INITIATED", "SIGNAL_CLOSE"][kind % 7 == 0]}
        said += [
            event("participant_joined", base + 2, at + 2, room=there, participant=here),
            event("track_published", base + 3, at + 2, **of_track),
            event("track_unpublished", base + 4, at + 8, **of_track),
            event("participant_left", base + 5, at + 8, room=there, participant=gone),
        ]
    if kind % 6:  # in every sixth the room is still there
        said.append(event("participant_left", base + 6, at + 9, room=there, participant=left))
        said.append(event("room_finished", base + 7, at + 10, room=there))
    if kind % 11 == 0:
        said.append(event("a_thing_of_the_future", base + 8, at + 3, room=there, novelty={"x": 1}))
    return said


def storm(most: int, seed: int) -> tuple[list[bytes], list[bytes]]:
    """So many deliveries: in order and each once, and shuffled with 30 % of them sent twice."""
    ordered: list[dict[str, Any]] = []
    number = 0
    while len(ordered) < most * 0.7:
        number += 1
        ordered += story(number, number)
    ordered = ordered[: int(most * 0.7)]
    order = random.Random(seed)
    sent = [body(one) for one in ordered]
    deliveries = sent + order.choices(sent, k=most - len(sent))
    order.shuffle(deliveries)
    return sent, deliveries


def presigned(bodies: Sequence[bytes]) -> list[tuple[bytes, str]]:
    """Each body with its token."""
    return [(one, token(one)) for one in bodies]
