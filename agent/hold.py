"""What a caller hears who waits: a quiet tone of our own making, or the persona's WAV."""

from __future__ import annotations

import asyncio
import functools
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import AgentSession

from agent.phrases import Sound

RATE = 8000
NOTES = ((523.25, 0.0), (659.26, 0.45), (783.99, 0.9))
"""Hertz of a note (C, E, G) and the second at which it begins."""
LOUDNESS = 0.09
FADE = 0.5
"""Seconds in which a note falls to a third."""
ROUND = 4.0
"""Seconds from one chord to the next: most of it is silence, so that a voice is heard at once."""

LEAD = 0.4
"""Seconds that are handed on before they are heard: nobody below holds back an endless sound."""

END = 1.0
"""Seconds for the sound to stop."""


@functools.cache
def tone() -> Sound:
    """Three soft notes and a silence: 4 s, made once a process."""
    time = np.arange(round(ROUND * RATE)) / RATE
    mixed = np.zeros_like(time)
    for pitch, start in NOTES:
        since = np.clip(time - start, 0.0, None)
        attack = np.clip(since / 0.02, 0.0, 1.0)
        mixed += attack * np.exp(-since / FADE) * np.sin(2 * np.pi * pitch * since)
    ending = np.clip((ROUND - time) / 0.1, 0.0, 1.0)  # no click where it begins anew
    return Sound(np.rint(mixed * ending * LOUDNESS * 32767).astype("<i2").tobytes(), RATE)


def sound(path: Path | None) -> Sound:
    """The persona's own file, or the tone. The file was tried when the persona was read."""
    if path is None:
        return tone()
    with wave.open(str(path), "rb") as file:
        return Sound(file.readframes(file.getnframes()), file.getframerate())


async def endless(held: Sound) -> AsyncIterator[rtc.AudioFrame]:
    """`held` again and again, in real time."""
    loop = asyncio.get_running_loop()
    begun, played = loop.time(), 0.0
    while True:
        async for frame in held.frames():
            yield frame
            played += frame.duration
            await asyncio.sleep(max(0.0, begun + played - LEAD - loop.time()))


@asynccontextmanager
async def playing(session: AgentSession[Any], held: Sound) -> AsyncIterator[None]:
    """Play `held` to the caller meanwhile; nothing that the caller says interrupts it."""
    handle = session.say("", audio=endless(held), allow_interruptions=False, add_to_chat_ctx=False)
    try:
        yield
    finally:
        handle.interrupt(force=True)
        await asyncio.wait([asyncio.ensure_future(handle.wait_for_playout())], timeout=END)
