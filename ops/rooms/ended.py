"""How a call ended, judged by its room (pure). The job's own word, when there is one, is better."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from livekit.protocol.models import DisconnectReason

from agent.call import EndReason
from agent.parting import PARTED
from agent.store.room_rows import AGENT, SIP, Ended, ParticipantRow, RoomState

ORDERLY = frozenset(
    "client_initiated room_deleted room_closed participant_removed duplicate_identity".split()
)
"""How an agent leaves whose job ends well, or that was put out."""


def judge(state: RoomState) -> Ended | None:
    """How the call in this room ended; None while it goes on.

    It is over when the room is, and when both sides have left it.
    """
    humans = [person for person in state.people if person.is_human]
    agents = [person for person in state.people if person.kind == AGENT]
    at = state.room.ended_at or _all_left(humans, agents)
    if at is None:
        return None
    if not humans:
        return Ended(reason=EndReason.CALLER_NEVER_JOINED, at=at)
    if not agents:
        return Ended(reason=EndReason.NO_AGENT, at=at)
    caller = min(humans, key=lambda one: (one.kind != SIP, one.joined_at or at, one.sid))
    last = max(agents, key=lambda one: (one.left_at or at, one.sid))
    if _vanished(last) and (caller.left_at is None or _at(last, at) <= caller.left_at):
        return Ended(reason=EndReason.WORKER_KILLED, at=at, detail="the agent left without a word")
    if caller.left_at is None:
        return Ended(reason=EndReason.AGENT_HANGUP, at=at, detail="room finished")
    reason, detail = PARTED.get(_number(caller.reason)) or (EndReason.CALLER_HANGUP, "")
    return Ended(reason=reason, at=at, detail=detail)


def _all_left(humans: list[ParticipantRow], agents: list[ParticipantRow]) -> datetime | None:
    """When the last of both sides left; None while somebody is there, or a side never was."""
    if not humans or not agents:
        return None
    left = [person.left_at for person in (*humans, *agents)]
    return None if None in left else max(_known(left))


def _known(moments: Iterable[datetime | None]) -> list[datetime]:
    return [moment for moment in moments if moment is not None]


def _vanished(agent: ParticipantRow) -> bool:
    return agent.left_at is not None and agent.reason not in ORDERLY


def _at(person: ParticipantRow, otherwise: datetime) -> datetime:
    return person.left_at or otherwise


def _number(reason: str) -> int | None:
    try:
        return DisconnectReason.Value(reason.upper())
    except ValueError:
        return None
