"""What is said over the agent: listening, answering, or interrupting."""

import pytest

from agent.overlap import ANSWER_WINDOW, Overlap


@pytest.fixture
def overlap():
    return Overlap(["yeah", "i see", "да"])


@pytest.mark.parametrize(
    "said", ["uh-huh", "Mm-hmm.", "yeah", "Yeah, yeah.", "I see", "угу", "Да."]
)
def test_sounds_of_listening_do_not_take_the_turn(overlap, said):
    assert overlap.is_listening(said, 0.0)


@pytest.mark.parametrize(
    "said", ["", "stop", "yeah but how much is it", "what about saturday", "нет"]
)
def test_everything_else_does(overlap, said):
    assert not overlap.is_listening(said, 0.0)


def test_a_yes_into_the_last_words_is_an_answer_once(overlap):
    assert overlap.is_listening("Да", 10.0)
    assert overlap.answer(10.0 + ANSWER_WINDOW / 2) == "да"
    assert overlap.answer(10.0 + ANSWER_WINDOW / 2) == ""


def test_a_yes_long_before_the_end_is_no_answer(overlap):
    assert overlap.is_listening("yeah", 10.0)
    assert overlap.answer(10.1 + ANSWER_WINDOW) == ""


def test_a_noise_is_never_an_answer(overlap):
    assert overlap.is_listening("uh-huh", 10.0)
    assert overlap.answer(10.1) == ""


def test_a_yes_that_was_only_the_beginning_is_no_answer(overlap):
    assert overlap.is_listening("yeah", 10.0)
    assert not overlap.is_listening("yeah what about saturday", 10.3)
    assert overlap.answer(10.5) == ""
