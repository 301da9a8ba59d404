"""The matrix of faults: every row's call placed, some at once, and judged."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.errors import StartError
from config.persona import Persona
from ops.bench import stage, standins
from ops.bench.judge import Judged, Limits, Miss, judge
from ops.bench.rows import Row
from ops.bench.stage import Placed
from plugins.line import Clock
from plugins.line.g711 import Samples
from plugins.line.speech import to_line

VOICE_RATE = 24000


@dataclass(frozen=True, slots=True)
class Result:
    """One call of the matrix."""

    agent: str
    row: Row
    language: str
    judged: Judged


async def play(
    cases: Sequence[tuple[str, Row, str]],
    folder: Path,
    limits: Limits,
    at_once: int = 3,
    told: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Place and judge the call of each (agent, row, language). `told` hears of each at once."""
    known = stage.personas()
    for language in {language for _, _, language in cases}:
        standins.load("tests.providers.ears").learn(language)
    lanes = asyncio.Semaphore(at_once)

    async def one(agent: str, row: Row, language: str, clock: Clock) -> Result:
        persona = known[language]
        try:
            async with lanes:
                placed = await stage.place(agent, row, language, folder, clock)
            sounds = await sounds_of(placed, persona)
            judged = await asyncio.to_thread(judge, row, persona, placed, sounds, limits)
        except StartError as error:  # this worker did not start: the other rows can be measured
            judged = Judged((), "none", (Miss(0, "unsound", str(error)),))
        result = Result(agent, row, language, judged)
        told(result)
        return result

    async with Clock() as clock:
        return list(await asyncio.gather(*(one(*case, clock) for case in cases)))


def run(
    cases: Sequence[tuple[str, Row, str]],
    limits: Limits,
    at_once: int = 3,
    told: Callable[[Result], None] = lambda _: None,
    keep: Path | None = None,
) -> list[Result]:
    """`play` in a loop of its own; recordings and logs stay in `keep`, if it is given."""
    standins.load()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return asyncio.run(play(cases, folder, limits, at_once, told))


async def sounds_of(placed: Placed, persona: Persona) -> list[tuple[str, Samples]]:
    """How each text sounds that the agent can have said, at 8 kHz: two syntheses of each."""
    speak = standins.load("tests.providers.voice").speak
    sounds = []
    for text in [*{*placed.spoken, *persona.phrases.model_dump().values()}] * 2:
        pcm = await speak(text, persona.language, VOICE_RATE)
        sounds.append((text, to_line(np.frombuffer(pcm, np.int16), VOICE_RATE)))
    return sounds
