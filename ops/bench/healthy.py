"""Calls in which nothing is wrong: whether there is a false alarm, and what the watch costs."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from agent.events import CallNote
from ops.bench import stage, standins
from ops.bench.faults import sounds_of
from ops.bench.judge import Judged, Limits, judge
from ops.bench.rows import BY_NAME, PACES
from ops.bench.stage import OURS, Placed
from ops.bench.stock import PLAIN
from plugins.line import Answer, Clock, heard_latency, load_scenario
from plugins.line.caller import SimulatedCaller

SLOW = {
    **PACES,
    "openai": {"first": 0.6, "each": 0.02},
    "cartesia": {"first": 0.3, "each": 0.02},
}
"""0.9 s together from the end of the turn to the first sound. Seconds."""
PAIRED = 2
"""Calls at once of each agent, before it is the other's turn."""


def slow(calls: int, at_once: int, told: Callable[[str], None]) -> dict[str, Any]:
    """Place calls with slow providers: how many fillers and failovers there were."""
    standins.load()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return asyncio.run(_slow(calls, at_once, Path(folder), told))


def overhead(turns: int, told: Callable[[str], None]) -> dict[str, Any]:
    """Heard latency of ours and of ours without watch and chains, on the same providers."""
    standins.load()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return asyncio.run(_overhead(turns, Path(folder), told))


async def _slow(
    calls: int, at_once: int, folder: Path, told: Callable[[str], None]
) -> dict[str, Any]:
    row, persona = BY_NAME["none"], stage.personas()["en"]
    servers = standins.load().Providers()
    judged: list[Judged] = []
    notes: list[str] = []
    async with servers, stage.worker(OURS, "en", servers, folder, at_once) as troupe:
        stage.pace(servers, SLOW)
        before = stage.spare(servers)
        while len(judged) < calls:
            wave = min(at_once, calls - len(judged))
            async with Clock() as clock:
                placed = await asyncio.gather(
                    *(
                        stage.dial(
                            troupe, SimulatedCaller(stage.scenario_of(row, "en")), clock, servers
                        )
                        for _ in range(wave)
                    )
                )
            for call in placed:
                sounds = await sounds_of(call, persona)
                judged.append(await asyncio.to_thread(judge, row, persona, call, sounds, Limits()))
                notes += [event.name for event in call.events if isinstance(event, CallNote)]
            told(f"{len(judged)} of {calls} calls")
    heard = [turn for call in judged for turn in call.turns]
    waits = [turn.answered for turn in heard if turn.answered is not None]
    return {
        "calls": len(judged),
        "turns": len(heard),
        # Told by the line and by the record: whichever knows of more.
        "fillers": max(sum(turn.fillers for turn in heard), notes.count("said_filler")),
        "failovers": max(stage.spare(servers) - before, notes.count("provider_failed")),
        "notes": {name: notes.count(name) for name in sorted(set(notes))},
        "median_ms": round(statistics.median(waits) * 1000) if waits else None,
        "not_met": [str(miss) for call in judged for miss in call.missed],
    }


async def _overhead(turns: int, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    heard: dict[str, list[float]] = {OURS: [], PLAIN: []}
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
                heard[agent] += [wait for call in calls for wait in _waits(call)]
            told(", ".join(f"{agent} {len(waits)} turns" for agent, waits in heard.items()))
    ours, plain = (statistics.median(heard[agent]) * 1000 for agent in (OURS, PLAIN))
    return {
        "turns": min(map(len, heard.values())),
        "ours_ms": round(ours),
        "plain_ms": round(plain),
        "difference_ms": round(ours - plain),
    }


def _waits(call: Placed) -> Sequence[float]:
    answers = heard_latency(call.recording, call.caller.log)
    return [a.latency for a in answers if a.answer is Answer.HEARD and a.latency is not None]
