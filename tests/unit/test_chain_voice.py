"""When a voice owes sound: what it has been given, and what of it was heard."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import tts

from agent.availability import Availability
from plugins.chain.members import Member
from plugins.chain.script import Progress, Script
from plugins.chain.tts import TTS, Patience

RATE = 16000
ONE, TWO, THREE = "We are open today. ", "We close at six. ", "Come by any time. "
LONG, NEXT = "This is the first of our sentences. ", "This is the one that comes after it. "
GAP, LEAD = 1.0, 0.5


def sound(seconds):
    count = round(seconds * RATE)
    return rtc.AudioFrame(np.zeros(count, np.int16).tobytes(), RATE, 1, count)


@pytest.fixture
def progress():
    """One attempt to speak, of which one sentence was given."""
    script = Script()
    for sentence in (ONE, TWO, "... ", THREE):
        script.add(sentence)
    progress = Progress(script)
    progress.give(ONE)
    return progress


def deadline(progress, now):
    return progress.deadline(now, GAP, LEAD)


def test_a_voice_that_has_said_all_it_was_given_may_wait_for_text(progress):
    progress.take(sound(1.2), 10.0)
    assert deadline(progress, 10.0) is None


def test_a_sentence_that_was_given_since_is_owed(progress):
    progress.take(sound(3.0), 10.0)
    progress.give(TWO)
    assert deadline(progress, 10.1) == pytest.approx(12.5)
    assert deadline(progress, 12.0) == pytest.approx(13.0)
    progress.take(sound(1.0), 12.0)
    assert deadline(progress, 12.0) is None


def test_a_sentence_that_breaks_off_is_owed_to_its_end(progress):
    progress.take(sound(0.4), 10.0)
    assert deadline(progress, 10.0) == pytest.approx(11.0)


def test_nothing_is_owed_for_what_cannot_be_spoken(progress):
    progress.give(TWO)
    progress.take(sound(2.2), 10.0)
    progress.give("... ")
    assert deadline(progress, 10.0) is None


class Voice(tts.TTS):
    """Speaks `lasts` sentences of two and a half seconds, and then hangs."""

    def __init__(self, lasts):
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True), sample_rate=RATE, num_channels=1
        )
        self.lasts, self.spoke = lasts, asyncio.Queue()

    def synthesize(self, text, **_):
        raise NotImplementedError

    def stream(self, **_):
        return Speaking(tts=self, conn_options=tts.tts.DEFAULT_API_CONNECT_OPTIONS)


class Speaking(tts.SynthesizeStream):
    """One reply of a `Voice`."""

    async def _run(self, output_emitter):
        output_emitter.initialize(
            request_id="x", sample_rate=RATE, num_channels=1, mime_type="audio/pcm", stream=True
        )
        output_emitter.start_segment(segment_id="s")
        async for piece in self._input_ch:
            if not isinstance(piece, str):
                continue
            if self._tts.spoke.qsize() >= self._tts.lasts:
                await asyncio.Event().wait()
            self._mark_started()
            self._tts.spoke.put_nowait(piece.strip())
            output_emitter.push(bytes(5 * RATE))
            output_emitter.flush()


async def test_a_voice_that_hangs_while_the_model_still_writes_is_followed_by_the_next():
    hanging, next_voice = Voice(1), Voice(9)
    chain = TTS(
        [Member("one", hanging), Member("two", next_voice)],
        standing=Availability(),
        patience=Patience(first=0.3, gap=0.2),
    )
    async with chain.stream() as stream:
        stream.push_text(LONG)
        await asyncio.wait_for(anext(stream), 5)
        loop = asyncio.get_running_loop()
        began = loop.time()
        stream.push_text(NEXT)  # and the model writes on
        assert await asyncio.wait_for(next_voice.spoke.get(), 5) == NEXT.strip()
        assert loop.time() - began < 2.5 + 1.0
    assert hanging.spoke.get_nowait() == LONG.strip()
    await chain.aclose()
