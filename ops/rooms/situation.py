"""Who is in a room, and what has to be done about it (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import Enum, auto

from livekit.protocol.agent_dispatch import AgentDispatch
from livekit.protocol.models import ParticipantInfo

from agent.call import VERDICT_ATTRIBUTE, EndReason
from agent.dialing import COLLEAGUE
from agent.store.room_rows import RoomCall
from config.dispatch import Dispatch

Kind = ParticipantInfo.Kind
HUMANS = frozenset({Kind.SIP, Kind.STANDARD})
WARM = "warm"
"""The detail of a call that was handed over to a colleague in its own room."""

RESCUED = "rescued"
"""The key in a dispatch's metadata that says that it was made for a caller without an agent."""


class Situation(Enum):
    """What a room is, as far as callers are concerned."""

    FINE = auto()
    """An agent is there, or admission has its word in it, or there is no telephone."""
    TOGETHER = auto()
    """Humans among themselves, after a transfer: nobody's business."""
    ALONE = auto()
    """A telephone, and nobody else."""
    NOBODY = auto()
    """An agent, and no caller (yet, or any more)."""
    LEFT = auto()
    """One side of a transfer whose other side has hung up."""


def situation(
    people: Sequence[ParticipantInfo], call: RoomCall | None, *, was_together: bool = False
) -> Situation:
    """Judge a room by who is in it, by the record of its call, and by what was seen before."""
    here = [one for one in people if one.state != ParticipantInfo.State.DISCONNECTED]
    humans = [one for one in here if one.kind in HUMANS]
    agents = [one for one in here if one.kind == Kind.AGENT]
    if agents and not humans:
        return Situation.NOBODY
    if agents or any(VERDICT_ATTRIBUTE in one.attributes for one in here):
        return Situation.FINE
    if len(humans) > 1:
        return Situation.TOGETHER
    if not humans or _is_judged(call):
        return Situation.FINE
    (human,) = humans
    if was_together or human.identity == COLLEAGUE or _is_handed_over(call):
        # After a cold transfer the telephone network has the caller, and ends this leg itself.
        return Situation.FINE if _is_cold(call) else Situation.LEFT
    return Situation.ALONE if human.kind == Kind.SIP else Situation.FINE


def rescue_metadata(dispatches: Iterable[AgentDispatch], agent_name: str) -> str:
    """The metadata for an agent that is called in: the choices of the first dispatch, marked.

    Only choices: what else stands there (an order to place a call) must not be done twice.
    """
    choices: dict[str, object] = {}
    for dispatch in dispatches:
        if dispatch.agent_name == agent_name:
            told = _object(dispatch.metadata)
            choices = {key: told[key] for key in Dispatch.model_fields if key in told}
            break
    return json.dumps({**choices, RESCUED: True})


def is_rescued(dispatches: Iterable[AgentDispatch]) -> bool:
    """Whether an agent was called in before, by whomever."""
    return any(_object(dispatch.metadata).get(RESCUED) is True for dispatch in dispatches)


def _object(text: str) -> dict[str, object]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _is_judged(call: RoomCall | None) -> bool:
    """Whether admission has turned the caller away: then no agent is owed."""
    return call is not None and (call.end_reason or "").startswith("rejected_")


def _is_handed_over(call: RoomCall | None) -> bool:
    return call is not None and call.end_reason == EndReason.TRANSFERRED


def _is_cold(call: RoomCall | None) -> bool:
    return call is not None and _is_handed_over(call) and call.end_detail != WARM
