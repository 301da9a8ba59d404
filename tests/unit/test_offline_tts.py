import asyncio
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pytest
from livekit.agents import APIError
from livekit.agents.types import APIConnectOptions

from plugins import offline
from plugins.offline import espeak

AUDIBLE = 32768 * 10 ** (-45 / 20)


@pytest.mark.parametrize(
    ("voice", "text"),
    [("en-us", "Hello, how can I help you?"), ("ru", "Здравствуйте, чем могу помочь?")],
)
async def test_speech_is_audible_at_once_and_neither_quiet_nor_clipped(voice, text):
    async with offline.TTS(voice=voice) as voice_out:
        frames = [audio.frame async for audio in voice_out.synthesize(text)]
    assert max(frame.duration for frame in frames) <= 0.02
    samples = np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])
    assert 1 < len(samples) / offline.SAMPLE_RATE < 4
    assert np.flatnonzero(np.abs(samples) > AUDIBLE)[0] < 0.01 * offline.SAMPLE_RATE
    assert 10 ** (-6 / 20) < np.abs(samples.astype(float)).max() / 32768 < 10 ** (-3 / 20)


def test_a_faster_voice_is_shorter_and_another_voice_sounds_different():
    slow, fast = (offline.synthesize("see you tomorrow", speed=speed) for speed in (120, 240))
    assert len(fast) < 0.7 * len(slow)
    voices = [offline.synthesize("see you", voice) for voice in ("en-us", "en-us+f3", "en-gb")]
    assert len({samples.tobytes() for samples in voices}) == 3


async def test_a_text_without_words_is_a_short_silence():
    async with offline.TTS() as voice:
        frame = await voice.synthesize("...").collect()
    assert frame.duration < 0.1
    assert offline.synthesize("").size == 0


async def test_an_unknown_voice_is_an_error_that_is_not_tried_again():
    errors = []
    async with offline.TTS(voice="klingon-7") as voice:
        voice.on("error", errors.append)
        with pytest.raises(APIError, match='no voice "klingon-7"') as caught:
            await voice.synthesize("hello", conn_options=APIConnectOptions(max_retry=3)).collect()
    assert not caught.value.retryable
    assert [error.recoverable for error in errors] == [False]


async def test_sentences_spoken_at_the_same_time_do_not_mix():
    texts = ["one", "two hundred", "three thousand and four", "five"]
    alone = [offline.synthesize(text).size for text in texts]
    together = await asyncio.gather(
        *(asyncio.to_thread(offline.synthesize, text) for text in texts * 3)
    )
    assert [samples.size for samples in together] == pytest.approx(alone * 3, rel=0.05)


def test_the_library_starts_no_thread_that_a_fork_would_lose():
    before = threading.active_count()
    offline.preload()
    assert threading.active_count() == before


def test_threads_that_speak_first_at_once_share_one_library():
    made = []

    class Slow:
        def __init__(self):
            made.append(self)
            threading.Event().wait(0.05)  # long enough for the others to come

    with patch.object(espeak, "_only_engine", functools.cache(Slow)), ThreadPoolExecutor(8) as pool:
        engines = {id(each.result()) for each in [pool.submit(espeak._engine) for _ in range(8)]}
    assert (len(made), len(engines)) == (1, 1)
