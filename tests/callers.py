"""Simulated callers in a test's own hand: placed into a worker, judged as `call` judges them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.events import Event
from agent.rehearsal.troupe import Troupe
from agent.rehearsal.verdict import judge_record, story_of
from config.persona import load_personas
from plugins.line import Clock, Ended, Hello, Phone
from plugins.line.caller import SimulatedCaller
from plugins.line.judge import Verdict, judge_line
from plugins.line.scenario import load_scenario
from tests.programs import PATIENCE, ROOT

CALL_LIMIT = 120.0
RECORD_WITHIN = 5.0


@dataclass(slots=True)
class Ear:
    """Hears every event of a troupe's calls; `when` waits for one."""

    events: list[Event] = field(default_factory=list)
    _waiting: list[tuple[Callable[[Event], Any], asyncio.Future[Event]]] = field(
        default_factory=list
    )

    def hear(self, room: str, event: Event) -> None:
        self.events.append(event)
        for wanted, future in self._waiting:
            if not future.done() and wanted(event):
                future.set_result(event)

    def of(self, call_id: str) -> list[Event]:
        return [event for event in self.events if event.call_id == call_id]

    async def when(self, wanted: Callable[[Event], Any]) -> Event:
        """The first event that is wanted, past or to come. Raises TimeoutError."""
        for event in self.events:
            if wanted(event):
                return event
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        return await asyncio.wait_for(future, PATIENCE)


@dataclass(slots=True)
class Placed:
    """One call from its first ring to its end."""

    room: str
    ended: Ended
    events: list[Event]
    missed: list[Verdict]


def asks(scenario: str = "opening-hours") -> SimulatedCaller:
    """A caller of a shipped scenario."""
    return SimulatedCaller(load_scenario(scenario))


async def place(troupe: Troupe, clock: Clock, room: str, caller: SimulatedCaller) -> Placed:
    """Place one call and wait for its end. Raises NoAnswer, TimeoutError."""
    profile = caller.scenario.caller
    hello = Hello(number=profile.number, called=profile.called, law=profile.law)
    async with Phone(clock, caller, hello, noise_dbfs=profile.noise_dbfs) as phone:
        await troupe.dial(room, phone.path)
        await phone.ring(PATIENCE)
        ended = await asyncio.wait_for(asyncio.shield(phone.ended), CALL_LIMIT)
    events = await troupe.record_of(room, RECORD_WITHIN)
    persona = load_personas(ROOT / "config" / "personas")[caller.scenario.persona]
    story = story_of(events, phone.answered_at or 0.0)
    verdicts = judge_line(caller, phone.recording) + judge_record(caller, story, persona)
    return Placed(room, ended, events, [verdict for verdict in verdicts if not verdict.met])
