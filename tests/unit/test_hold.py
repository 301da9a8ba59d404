"""What a caller hears who waits."""

from __future__ import annotations

import asyncio
import wave

import numpy as np
import pytest

from agent import hold
from agent.phrases import Sound
from plugins.line.hearing import spans


def test_the_tone_is_heard_and_leaves_room_for_a_voice():
    tone = hold.tone()
    samples = np.frombuffer(tone.samples, "<i2")
    assert tone.duration == pytest.approx(hold.ROUND)
    assert np.abs(samples).max() < 0.3 * 32767
    heard = sum(end - start for start, end in spans(samples.astype(np.int16)))
    assert 1.0 < heard < 3.0
    assert abs(samples[-1]) < 50  # it begins anew without a click


def test_a_persona_may_bring_its_own(tmp_path):
    path = tmp_path / "hold.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"\1\0" * 320)
    assert hold.sound(path) == Sound(b"\1\0" * 320, 16000)
    assert hold.sound(None) is hold.tone()


async def test_it_goes_on_without_end_and_in_real_time():
    begun = asyncio.get_running_loop().time()
    played, frames = 0.0, hold.endless(Sound(b"\1\0" * 160, 8000))
    async for frame in frames:
        played += frame.duration
        if played > hold.LEAD + 0.2:
            break
    await frames.aclose()
    assert asyncio.get_running_loop().time() - begun >= 0.15


class Session:
    """Says one thing until it is interrupted."""

    def __init__(self):
        self.said, self.over = {}, asyncio.Event()

    def say(self, text, **options):
        self.said = {"text": text, **options}
        return self

    def interrupt(self, *, force):
        assert force
        self.over.set()

    async def wait_for_playout(self):
        await self.over.wait()


async def test_the_caller_hears_it_for_as_long_as_the_wait_lasts():
    session = Session()
    async with hold.playing(session, hold.tone()):
        assert session.said["allow_interruptions"] is False
        assert session.said["add_to_chat_ctx"] is False
        assert not session.over.is_set()
    assert session.over.is_set()
    await session.said["audio"].aclose()
