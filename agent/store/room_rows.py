"""What the database knows of rooms: plain rows, and what a webhook event changes in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.call import EndReason

SIP, STANDARD, AGENT = "sip", "standard", "agent"
"""Kinds of participants; there are others, who take no part in a call: egress, ingress."""

ABORTED = "aborted"
"""The reason of a participant whose connection never came about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomRow:
    """A room. Times are LiveKit's own; None: not known (yet)."""

    sid: str
    name: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantRow:
    """A participant of a room. `identity` is without numbers; `reason` says why it left."""

    sid: str
    room_sid: str
    kind: str = ""
    identity: str = ""
    joined_at: datetime | None = None
    left_at: datetime | None = None
    reason: str = ""

    @property
    def is_human(self) -> bool:
        """Whether it is (or was) somebody on the line."""
        return self.kind in {SIP, STANDARD} and self.reason != ABORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one event tells: nothing in it depends on what other events told."""

    event_id: str
    room: RoomRow | None = None
    participant: ParticipantRow | None = None
    opens: Opening | None = None
    """The caller, when the event says that a call is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A caller in a room for calls. `number` is a pseudonym, `called` a number of ours."""

    identity: str
    number: str
    called: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomState:
    """All that is known of one room."""

    room: RoomRow
    people: tuple[ParticipantRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended, as its room tells."""

    reason: EndReason
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a batch of changes did."""

    events: frozenset[str]
    """Those that are handled now; others were somebody else's by then."""
    new_callers: int = 0
    """Telephones that were seen for the first time."""
    aborted: int = 0
    """Connections that did not come about, or lost their media."""
    closed: tuple[str, ...] = ()
    """Calls whose end was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomCall:
    """The call of a room, as far as whoever looks after rooms must know it."""

    id: str
    room: str
    room_sid: str
    job_id: str
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    end_detail: str
    end_provisional: bool
    identity: str = ""
    """Who called; empty until the call's own job saw the caller."""
