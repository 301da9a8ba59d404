"""The in-memory line as the caller's leg (`agent.leg`): a simulated call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from livekit.agents import Agent, AgentSession

from agent import dtmf, tasks
from agent.call import Caller, EndReason
from agent.consultation import Briefing
from agent.dialing import Order
from agent.ending import Ending
from agent.errors import KeysNotSent, TransferFailed
from agent.mouth import Mouth
from agent.quality import Link
from agent.recorder import Recorder
from plugins.line import Ended, Line, LineError

ANSWERED_WITHIN = 10.0
"""Seconds for the line to say what became of a transfer."""


class LineLeg:
    """A simulated caller on the in-memory line."""

    def __init__(self, line: Line, ending: Ending) -> None:
        self._line = line
        self._watch = tasks.spawn(self._until_left(ending), "line-left")

    async def wait_for_caller(self, timeout: float) -> Caller:  # noqa: ASYNC109, ARG002
        """See `Leg`: the caller is on the line before the job starts."""
        hello = self._line.hello
        return Caller(hello.identity, hello.number, hello.called, kind="line")

    async def start(
        self, session: AgentSession[Any], agent: Agent, recorder: Recorder | None = None
    ) -> Mouth:
        """See `Leg`."""
        line = self._line
        mouth = Mouth(recorder.above(line.output) if recorder else line.output)
        session.input.audio = recorder.hearing(line.input) if recorder else line.input
        mouth.follow_words(session.output)
        await session.start(agent, session_host=False, record=False)
        await self._line.answer()
        return mouth

    def on_dtmf(self, pressed: Callable[[str], None]) -> None:
        """See `Leg`."""
        self._line.on_dtmf(pressed)

    def on_link(self, told: Callable[[Link], None]) -> None:
        """See `Leg`: the line has no packets to count."""

    async def dial(self, order: Order) -> None:
        """See `Leg`: the line has rung its one telephone already, whatever the number."""

    async def send_dtmf(self, keys: str) -> None:
        """See `Leg`."""
        for key, wait in dtmf.sequence(keys):
            await asyncio.sleep(wait)
            try:
                await self._line.press(key)
            except LineError as error:
                raise KeysNotSent(str(error)) from error

    async def transfer(self, to: str) -> None:
        """See `Leg`."""
        await self._pass_on(to)

    async def consult(self, session: AgentSession[Any], briefing: Briefing) -> None:  # noqa: ARG002
        """See `Leg`. There is nobody to brief on the line: its far end accepts or declines."""
        await self._pass_on(briefing.order.to, briefing.order.ringing)

    async def _pass_on(self, to: str, within: float = ANSWERED_WITHIN) -> None:
        try:
            await self._line.transfer(to, within)
        except LineError as error:
            raise TransferFailed(str(error)) from error

    async def end(self, reason: EndReason) -> None:
        """See `Leg`."""
        if reason is not EndReason.TRANSFERRED:
            await self._line.hangup()

    async def aclose(self) -> None:
        """See `Leg`."""
        await tasks.end(self._watch)
        await self._line.aclose()

    async def _until_left(self, ending: Ending) -> None:
        how = await self._line.left
        if how is Ended.CALLER_HANGUP:
            ending.decide(EndReason.CALLER_HANGUP)
        elif how is Ended.LOST:
            ending.decide(EndReason.LIVEKIT_LOST, "the line broke")
