"""The matrix of faults: every row's call placed, some at once, and judged."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.errors import StartError
from ops.bench import stage, standins
from ops.bench.judge import Judged, Limits, Miss, judge
from ops.bench.rows import Row
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
            texts = {*placed.spoken, *persona.phrases.model_dump().values()}
            sounds = await sounds_of(texts, persona.language)
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


async def sounds_of(texts: Iterable[str], language: str) -> list[tuple[str, Samples]]:
    """How each text sounds when the agent says it, at 8 kHz: two syntheses of each."""
    speak = standins.load("tests.providers.voice").speak
    sounds = []
    for text in [*texts] * 2:
        pcm = await speak(text, language, VOICE_RATE)
        sounds.append((text, to_line(np.frombuffer(pcm, np.int16), VOICE_RATE)))
    return sounds
