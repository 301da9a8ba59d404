"""Calls in which nothing is wrong: whether there is a false alarm, and what the watch costs."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from agent.call import EndReason
from agent.events import CallNote
from agent.rehearsal.verdict import judge_record, story_of
from config.persona import Persona
from ops.bench import stage, standins
from ops.bench.faults import sounds_of
from ops.bench.rows import PACES, TALKS
from ops.bench.stage import OURS, Placed
from ops.bench.stock import PLAIN
from plugins.line import Answer, Clock, heard_latency, load_scenario
from plugins.line.caller import SimulatedCaller
from plugins.line.known import KnownSounds
from plugins.line.scenario import (
    AnyStep,
    Expect,
    Listen,
    Outcome,
    Patience,
    Say,
    Scenario,
    Silence,
    UntilHangup,
)

SLOW = {
    **PACES,
    "openai": {"first": 0.6, "each": 0.02},
    "cartesia": {"first": 0.3, "each": 0.02},
}
"""0.9 s together from the end of the turn to the first sound. Seconds."""
APART = 1.5
"""Seconds between the first calls: what each costs at its start must not fall together."""
PAIRED = 4
"""Calls at once of each agent, before it is the other's turn."""


def slow(calls: int, at_once: int, told: Callable[[str], None]) -> dict[str, Any]:
    """Place calls with slow providers: how many fillers and failovers there were."""
    standins.load()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return asyncio.run(_slow(calls, at_once, Path(folder), told))


def overhead(
    turns: int, told: Callable[[str], None], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Heard latency of ours and of ours without watch and chains, on the same providers.

    `before`: the figures of a run that these turns are added to.
    """
    standins.load()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        heard, late = asyncio.run(_overhead(turns, Path(folder), told))
    for agent, waits in (before or {}).get("heard_ms", {}).items():
        heard[agent] += waits
    ours, plain = (statistics.median(heard[agent]) for agent in (OURS, PLAIN))
    return {
        "turns": min(map(len, heard.values())),
        "ours_ms": round(ours),
        "plain_ms": round(plain),
        "difference_ms": round(ours - plain),
        "late_ms": max(round(late * 1000), (before or {}).get("late_ms", 0)),
        "heard_ms": heard,
    }


async def _slow(
    calls: int, at_once: int, folder: Path, told: Callable[[str], None]
) -> dict[str, Any]:
    persona, scenario = stage.personas()["en"], _questions()
    servers = standins.load().Providers()
    placed: list[Placed] = []
    async with servers, stage.worker(OURS, "en", servers, folder, at_once) as troupe:
        stage.pace(servers, SLOW)
        before = stage.spare(servers)
        lanes = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with lanes:
                if number < at_once:
                    await asyncio.sleep(number * APART)
                caller = SimulatedCaller(scenario)
                placed.append(await stage.dial(troupe, caller, clock, servers))
            told(f"{len(placed)} of {calls} calls")

        async with Clock() as clock:
            await asyncio.gather(*map(one, range(calls)))
        spare = stage.spare(servers) - before
    # Told by the line and by the record: whichever knows of more.
    names = [event.name for call in placed for event in call.events if isinstance(event, CallNote)]
    phrases = [persona.phrases.filler, persona.phrases.apology, persona.phrases.cut_off]
    known = KnownSounds(await sounds_of(phrases, "en"))
    heard = [told.text for call in placed for told in known.all_in(call.recording.agent)]
    waits = [wait for call in placed for wait in _waits(call)]
    return {
        "calls": len(placed),
        "at_once": at_once,
        "turns": len(waits),
        "fillers": max(len(heard), names.count("said_filler")),
        "failovers": max(spare, names.count("provider_failed")),
        "notes": {name: names.count(name) for name in sorted(set(names))},
        "median_ms": round(statistics.median(waits) * 1000) if waits else None,
        "longest_ms": round(max(waits) * 1000) if waits else None,
        "late_ms": round(clock.lateness * 1000),
        "not_met": [wrong for call in placed for wrong in _wrong(call, persona)],
    }


def _questions() -> Scenario:
    """Three questions, and goodbye."""
    talk = TALKS["en"]
    steps: list[AnyStep] = []
    for line in (talk.greeted, talk.asked["short"], talk.following, talk.parting):
        steps.append(Listen(listen=Patience()))
        steps.append(Say(say=line.text, expect=Expect(fact=line.fact)))
    steps.append(Silence(silence=UntilHangup(timeout=stage.HANGUP_WITHIN)))
    outcome = Outcome(end_reason=EndReason.AGENT_HANGUP.value, turns=len(steps) // 2)
    return Scenario(name="slow", about="Questions.", persona="en", steps=steps, expect=outcome)


def _wrong(call: Placed, persona: Persona) -> list[str]:
    """What was not as it should be, by the record."""
    verdicts = judge_record(call.caller, story_of(call.events, call.answered_at), persona)
    wrong = [f"{each.expected}: {each.seen}" for each in verdicts if not each.met]
    return [*wrong, *filter(None, [call.caller.failure])]


async def _overhead(
    turns: int, folder: Path, told: Callable[[str], None]
) -> tuple[dict[str, list[int]], float]:
    """Milliseconds of each agent, and seconds by which the clock was late."""
    heard: dict[str, list[int]] = {OURS: [], PLAIN: []}
    late = 0.0
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(standins.load().Providers())
        workers = {
            agent: await stack.enter_async_context(
                stage.worker(agent, "en", servers, folder, PAIRED)
            )
            for agent in heard
        }
        stage.pace(servers, PACES)
        while min(map(len, heard.values())) < turns:
            for agent, troupe in workers.items():
                async with Clock() as clock:
                    callers = [SimulatedCaller(load_scenario("latency")) for _ in range(PAIRED)]
                    calls = await asyncio.gather(
                        *(stage.dial(troupe, caller, clock, servers) for caller in callers)
                    )
                late = max(late, clock.lateness)
                heard[agent] += [round(wait * 1000) for call in calls for wait in _waits(call)]
            told(", ".join(f"{agent} {len(waits)} turns" for agent, waits in heard.items()))
    return heard, late


def _waits(call: Placed) -> Sequence[float]:
    answers = heard_latency(call.recording, call.caller.log)
    return [a.latency for a in answers if a.answer is Answer.HEARD and a.latency is not None]
