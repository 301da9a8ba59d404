"""Pieces of text become sentences, and a script knows how much of it was said."""

from __future__ import annotations

import pytest
from livekit import rtc
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.voice.io import TimedString

from plugins.chain.script import Progress, Script
from plugins.chain.sentences import Sentences, same, split

ONE, TWO, THREE = (
    "We fix a flat tire for fifteen dollars. ",
    "The new tube is included in that. ",
    "Most repairs take a day.",
)
RU = ("Мы открыты с девяти до шести в будни. ", "В субботу мы работаем до четырёх.")


def test_a_sentence_is_known_when_the_next_begins():
    sentences = Sentences()
    assert sentences.push(ONE.rstrip()) == []
    assert sentences.push(" ") == []
    assert sentences.push("The new") == [ONE]
    assert sentences.rest == "The new"
    assert sentences.push(" tube is included in that.") == []
    assert sentences.flush() == [TWO.rstrip()]
    assert sentences.flush() == []


def test_a_piece_that_ends_its_sentence_is_a_sentence():
    sentences = Sentences()
    assert sentences.push_whole(ONE + TWO) == [ONE, TWO]
    assert sentences.push_whole("Most repairs") == []
    assert sentences.push_whole(" take a day.") == [THREE]


@pytest.mark.parametrize(
    "text", ["", " ", "Yes.", ONE + TWO + THREE, "  " + ONE, "".join(RU), "Dr. Smith is in.\n\nOk."]
)
def test_nothing_is_lost_by_splitting(text):
    assert "".join(split(text)) == text
    sentences = Sentences()
    pieces = [piece for letter in text for piece in sentences.push(letter)]
    assert "".join(pieces + sentences.flush()) == text


def test_sentences_of_the_same_words_are_the_same():
    assert same("We are open. ", "we are open!")
    assert not same("We are open.", "We are closed.")


def sounded(*texts, seconds=1.0):
    frame = rtc.AudioFrame(bytes(int(16000 * seconds)), 8000, 1, int(8000 * seconds))
    frame.userdata[USERDATA_TIMED_TRANSCRIPT] = list(texts)
    return frame


def words(text, began, each=0.25):
    return [
        TimedString(f"{word} ", start_time=began + n * each, end_time=began + (n + 1) * each)
        for n, word in enumerate(text.split())
    ]


@pytest.fixture
def progress():
    script = Script()
    for sentence in (ONE, TWO, THREE):
        script.add(sentence)
    script.end()
    return Progress(script, given=3)


def test_without_sound_nothing_was_said(progress):
    assert progress.sentences_said() == 0


def test_timed_words_tell_which_sentence_broke_off(progress):
    progress.take(sounded(*words(ONE, 0.0), seconds=2.0), 10.0)
    progress.take(sounded(*words("The new tube is", 2.0), seconds=1.0), 10.1)
    assert progress.sentences_said() == 1


def test_words_that_were_announced_and_not_sounded_do_not_count(progress):
    progress.take(sounded(*words(ONE + TWO, 0.0), seconds=1.0), 10.0)
    assert progress.sentences_said() == 0


def test_a_voice_that_speaks_by_sentence_breaks_off_in_the_last_one_it_began(progress):
    progress.is_by_sentence = True
    progress.take(sounded(TimedString(ONE, start_time=0.0)), 10.0)
    assert progress.sentences_said() == 0
    progress.take(sounded(TimedString(TWO, start_time=1.0)), 11.0)
    assert progress.sentences_said() == 1


def test_without_times_the_length_of_the_sound_tells(progress):
    progress.known_rate = 20.0  # the first sentence takes 2 s, the second 1.7 s
    progress.take(sounded(seconds=1.5), 10.0)
    assert progress.sentences_said() == 0
    progress.take(sounded(seconds=1.0), 10.1)
    assert progress.sentences_said() == 1
    progress.take(sounded(seconds=3.0), 10.2)
    assert progress.sentences_said() == 3


def test_sound_is_waited_for_when_all_text_is_there_and_what_came_is_nearly_heard(progress):
    progress.take(sounded(seconds=4.0), 10.0)
    assert progress.deadline(10.0, 1.0, 0.5) is None
    progress.is_all_given = True
    assert progress.deadline(10.0, 1.0, 0.5) == pytest.approx(13.5)
    assert progress.deadline(14.0, 1.0, 0.5) == pytest.approx(15.0)


async def test_the_next_attempt_begins_with_what_was_not_said(progress):
    script = progress.script
    script.said += 1
    assert [sentence async for sentence in script.left()] == [TWO, THREE]
    script.said += 2
    assert script.is_said
