"""The caller's leg: wait for it, speak and listen on it, hang it up, hand it over.

Two twins: `RoomLeg` for a participant of a LiveKit room, `LineLeg` for a simulated call on the
in-memory line. Which one is chosen by the job's room metadata; nothing above this file knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from livekit.agents import Agent, AgentSession, AutoSubscribe, JobContext

from agent.call import Caller, EndReason
from agent.consultation import Briefing
from agent.dialing import Order
from agent.ending import Ending
from agent.line_leg import LineLeg
from agent.mouth import Mouth
from agent.quality import Link
from agent.recorder import Recorder
from agent.room_leg import RoomLeg
from plugins.line import Line

LINE_METADATA = "voice-ai-line"
"""The key in a room's metadata that names the socket of a simulated call."""


class Leg(Protocol):
    """The caller's leg of one call. It decides the ending when the caller leaves."""

    async def wait_for_caller(self, timeout: float) -> Caller:  # noqa: ASYNC109 - part of the contract
        """Return who joined. Raises CallerNeverJoined after `timeout` seconds."""
        ...

    async def start(
        self, session: AgentSession[Any], agent: Agent, recorder: Recorder | None = None
    ) -> Mouth:
        """Connect the session's ears and voice to the leg, by way of `recorder`, and pick up.

        Returns where phrases can be put in below the session's speech.
        """
        ...

    def on_dtmf(self, pressed: Callable[[str], None]) -> None:
        """Call `pressed` with each key (0-9, *, #, A-D) that the caller presses."""
        ...

    def on_link(self, told: Callable[[Link], None]) -> None:
        """Let `told` hear how well the caller's audio arrives; to be asked before `start`."""
        ...

    async def dial(self, order: Order) -> None:
        """Ring whom this call is placed to, until there is an answer. Raises DialFailed."""
        ...

    async def send_dtmf(self, keys: str) -> None:
        """Press `keys` (with `w` for half a second's pause) for the caller. Raises KeysNotSent."""
        ...

    async def transfer(self, to: str) -> None:
        """Hand the caller over to `to` (tel: or sip: URI). Raises TransferFailed."""
        ...

    async def consult(self, session: AgentSession[Any], briefing: Briefing) -> None:
        """Ask a colleague to take the caller, and connect the two. Raises TransferFailed.

        `session` is the caller's; its voice briefs the colleague too.
        """
        ...

    async def end(self, reason: EndReason) -> None:
        """End every leg of the call; a transferred one is left to its new partner."""
        ...

    async def aclose(self) -> None:
        """Release what the leg holds in this process."""
        ...


async def connect(ctx: JobContext, ending: Ending) -> Leg:
    """Connect the job and return its leg."""
    metadata = ctx.job.room.metadata
    if ctx.is_fake_job() and metadata:
        return LineLeg(await Line.connect(json.loads(metadata)[LINE_METADATA]), ending)
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY, single_peer_connection=True)
    return RoomLeg(ctx, ending)


async def end(ctx: JobContext, leg: Leg | None, reason: EndReason) -> None:
    """End every leg of the call, also when the caller's was never connected."""
    await (leg or RoomLeg(ctx, Ending())).end(reason)
