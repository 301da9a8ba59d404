"""Known sounds found in recordings: whole, in part, late, twice, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.line import g711
from plugins.line.g711 import RATE
from plugins.line.known import KnownSounds
from plugins.line.scenario import CallerProfile
from plugins.line.speech import offline_voice, speak

HOURS = "i would like to know what your opening hours are"
PARKING = "where can i park"
RUSSIAN = "я хотел бы узнать сколько стоит обслуживание"


def say(text, voice="en-us"):
    return speak(text, CallerProfile(voice=voice), offline_voice)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.int16)


def line(*parts):
    """What arrives over a telephone line with some noise."""
    sound = np.concatenate((silence(0.31), *parts, silence(0.5)))
    noise = np.random.default_rng(seed=1).normal(0, 32, len(sound))
    noisy = np.clip(sound + noise, -32768, 32767).astype(np.int16)
    return g711.decode(g711.encode(noisy, "ulaw"), "ulaw")


@pytest.fixture(scope="module")
def known():
    voices = {HOURS: "en-us", PARKING: "en-us", RUSSIAN: "ru"}
    return KnownSounds((text, say(text, voice)) for text, voice in voices.items())


@pytest.mark.parametrize(("text", "voice"), [(HOURS, "en-us"), (RUSSIAN, "ru")])
def test_a_sentence_that_arrived_is_told_as_a_whole(known, text, voice):
    told = known.utterance(line(say(text, voice)))
    assert (told.text, told.words, told.share) == (text, text, pytest.approx(1))
    assert told.start == pytest.approx(0.31, abs=0.05)


def test_what_did_not_arrive_is_not_told(known):
    sound = say(RUSSIAN, "ru")
    first, last = sound[: len(sound) // 2], sound[len(sound) // 2 :]
    told = known.utterance(line(first))
    assert RUSSIAN.startswith(told.words)
    assert "обслуживание" not in told.words
    told = known.utterance(line(last))
    assert RUSSIAN.endswith(told.words)
    assert "хотел" not in told.words


@pytest.mark.parametrize("seed", range(4))
def test_the_second_half_of_a_short_sentence_is_told(seed):
    text = "у вас есть парковка"
    sound = say(text, "ru")
    known = KnownSounds([(text, sound), (RUSSIAN, say(RUSSIAN, "ru"))])
    cut = round(len(sound) * (0.12 + 0.05 * seed))
    told = known.utterance(line(sound[cut:]))
    assert told.words.endswith("есть парковка")
    assert told.text == text


def test_a_pause_within_a_sentence_does_not_part_it(known):
    sound = say(RUSSIAN, "ru")
    half = len(sound) // 2
    told = known.utterance(line(sound[:half], silence(0.4), sound[half:]))
    assert told.words == RUSSIAN


def test_noise_and_other_words_are_nothing(known):
    noise = np.random.default_rng(seed=2).normal(0, 3000, 2 * RATE).astype(np.int16)
    assert known.utterance(noise) is None
    assert known.all_in(line(say("seven brown foxes eat honey", "en-us"))) == []


def test_every_time_is_found_in_order(known):
    recording = line(say(HOURS), silence(1), say(PARKING), silence(1), say(HOURS))
    told = known.all_in(recording)
    assert [one.text for one in told] == [HOURS, PARKING, HOURS]
    assert told[1].start == pytest.approx(0.31 + len(say(HOURS)) / RATE + 1, abs=0.1)
    assert all(one.share > 0.7 for one in told)
