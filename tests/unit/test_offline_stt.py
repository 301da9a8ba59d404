from collections.abc import AsyncIterator

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import stt

from plugins import offline
from plugins.offline import recognizer
from plugins.offline.espeak import Samples

PHRASES = (
    "what are your opening hours",
    "when are you open on saturday",
    "where are you located",
    "is there parking nearby",
    "can I talk to a human",
    "how much does it cost",
    "my number is five five one two",
    "thank you goodbye",
)


@pytest.fixture(scope="module")
def recogniser() -> offline.STT:
    return offline.STT(phrases=PHRASES)


async def events(
    recogniser: offline.STT, samples: Samples, *, rate: int = 16000
) -> AsyncIterator[stt.SpeechEvent]:
    async with recogniser.stream() as stream:
        step = rate // 50
        for start in range(0, len(samples), step):
            piece = samples[start : start + step]
            stream.push_frame(rtc.AudioFrame(piece.tobytes(), rate, 1, len(piece)))
        stream.end_input()
        async for event in stream:
            yield event


async def finals(recogniser: offline.STT, samples: Samples) -> list[stt.SpeechData]:
    return [
        event.alternatives[0]
        async for event in events(recogniser, samples)
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
    ]


def over_the_telephone(speech: Samples, rate: int = offline.SAMPLE_RATE) -> Samples:
    """8 kHz G.711 (mu-law) with noise of -60 dBFS, half a second of silence around, at 16 kHz."""
    narrow = resampled(np.pad(speech, rate // 2), rate, 8000).astype(np.float64)
    noise = np.random.default_rng(seed=7).normal(0, 32768 / 1000, len(narrow))
    loud = np.clip((narrow + noise) / 32768, -1, 1)
    code = np.round(np.log1p(255 * np.abs(loud)) / np.log(256) * 127) / 127
    decoded = np.sign(loud) * (np.power(256, code) - 1) / 255
    return resampled((decoded * 32767).astype(np.int16), 8000, 16000)


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    resampler = rtc.AudioResampler(rate, wanted)
    frames = resampler.push(rtc.AudioFrame(samples.tobytes(), rate, 1, len(samples)))
    pieces = [np.frombuffer(f.data, np.int16) for f in (*frames, *resampler.flush())]
    return np.concatenate(pieces)


@pytest.mark.parametrize("sentence", ["what are your opening hours", "can I talk to a human"])
async def test_a_sentence_over_the_telephone_is_understood(recogniser, sentence):
    heard = await finals(recogniser, over_the_telephone(offline.synthesize(sentence)))
    assert [data.text for data in heard] == [sentence.lower()]
    assert 0.5 < heard[0].confidence <= 1


async def test_words_of_two_phrases_can_be_combined(recogniser):
    speech = over_the_telephone(offline.synthesize("is there parking on saturday"))
    heard = await finals(recogniser, speech)
    assert [data.text for data in heard] == ["is there parking on saturday"]


async def test_each_piece_of_a_number_spelled_slowly_is_right(recogniser):
    pieces = ["my number is", "five", "five", "one", "two"]
    pause = np.zeros(int(0.7 * offline.SAMPLE_RATE), np.int16)
    spelled = np.concatenate([part for p in pieces for part in (offline.synthesize(p), pause)])
    heard = await finals(recogniser, over_the_telephone(spelled))
    assert [data.text for data in heard] == pieces


async def test_a_backchannel_stays_a_backchannel(recogniser):
    heard = await finals(recogniser, over_the_telephone(offline.synthesize("uh-huh")))
    assert [data.text for data in heard] == ["uh-huh"]


@pytest.mark.parametrize("level", [-55, -40, -25, -15])
async def test_noise_gives_no_transcript(recogniser, level):
    noise = np.random.default_rng(seed=3).normal(0, 32768 * 10 ** (level / 20), 3 * 16000)
    assert await finals(recogniser, noise.astype(np.int16)) == []


@pytest.mark.parametrize("frequencies", [(440,), (697, 1209)])
async def test_a_tone_gives_no_transcript(recogniser, frequencies):
    time = np.arange(16000) / 16000
    tone = sum(5000 * np.sin(2 * np.pi * frequency * time) for frequency in frequencies)
    heard = await finals(recogniser, over_the_telephone(tone.astype(np.int16), rate=16000))
    assert heard == []


async def test_speech_of_another_language_gives_no_confident_transcript(recogniser):
    speech = over_the_telephone(offline.synthesize("во сколько вы открываетесь", "ru"))
    assert all(data.confidence < 0.6 for data in await finals(recogniser, speech))


async def test_events_come_in_order_and_tell_when_the_speech_ended(recogniser):
    speech = over_the_telephone(offline.synthesize("where are you located"))
    seen = [event async for event in events(recogniser, speech)]
    kinds = [event.type.value for event in seen]
    assert kinds[0] == "start_of_speech"
    assert kinds[-3:] == ["final_transcript", "end_of_speech", "recognition_usage"]
    assert set(kinds[1:-3]) == {"interim_transcript"}
    final = seen[-3]
    assert final.speech_end_time is not None
    assert 0.1 < final.created_at - final.speech_end_time < 0.25
    assert seen[-1].recognition_usage is not None
    assert seen[-1].recognition_usage.audio_duration > 1


async def test_words_that_come_to_nothing_are_withdrawn(recogniser, monkeypatch):
    # Else a session keeps the last interim for a later turn.
    finish = recognizer.Recognizer.finish
    nothing = recognizer.Heard("", 0.0)
    monkeypatch.setattr(recognizer.Recognizer, "finish", lambda self: finish(self) and nothing)
    speech = over_the_telephone(offline.synthesize("where are you located"))
    seen = [e async for e in events(recogniser, speech)]
    assert [e.type.value for e in seen[-3:]] == [
        "interim_transcript",
        "end_of_speech",
        "recognition_usage",
    ]
    assert [e.alternatives[0].text for e in seen[-4:-2]] == ["where are you located", ""]


async def test_a_flush_gives_the_transcript_before_the_silence(recogniser):
    speech = over_the_telephone(offline.synthesize("goodbye"))[: int(16000 * 1.0)]
    async with recogniser.stream() as stream:
        stream.push_frame(rtc.AudioFrame(speech.tobytes(), 16000, 1, len(speech)))
        stream.flush()
        kinds = [(await anext(stream)).type.value]
        while kinds[-1] != "final_transcript":
            kinds.append((await anext(stream)).type.value)
        assert "start_of_speech" in kinds


async def test_a_whole_recording_can_be_recognised_at_once(recogniser):
    speech = over_the_telephone(offline.synthesize("how much does it cost"))
    event = await recogniser.recognize(rtc.AudioFrame(speech.tobytes(), 16000, 1, len(speech)))
    assert event.alternatives[0].text == "how much does it cost"


async def test_frames_of_another_rate_are_understood_too(recogniser):
    speech = resampled(over_the_telephone(offline.synthesize("thank you goodbye")), 16000, 48000)
    texts = [
        e.alternatives[0].text
        async for e in events(recogniser, speech, rate=48000)
        if e.alternatives
    ]
    assert texts[-1] == "thank you goodbye"


def test_only_english_is_offered():
    with pytest.raises(ValueError, match="English only"):
        offline.STT(phrases=PHRASES, language="ru")


async def test_a_stream_closed_in_mid_speech_leaves_its_decoder_to_the_next(recogniser):
    speech = over_the_telephone(offline.synthesize("where are you located"))
    offline.preload()
    spare = list(recognizer._spare)
    async with recogniser.stream() as stream:
        stream.push_frame(rtc.AudioFrame(speech[:16000].tobytes(), 16000, 1, 16000))
        assert (await anext(stream)).type == stt.SpeechEventType.START_OF_SPEECH
        assert len(recognizer._spare) == len(spare) - 1
    assert recognizer._spare == spare
    assert [data.text for data in await finals(recogniser, speech)] == ["where are you located"]


def test_a_preloaded_decoder_understands_the_words_of_the_persona(recogniser):
    offline.preload()
    offline.preload()
    decoders = [recogniser._grammar.decoder() for _ in range(2)]
    assert all(decoder.lookup_word("saturday") for decoder in decoders)
