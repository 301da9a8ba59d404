import logging

import numpy as np
import pytest

from plugins import offline
from plugins.offline.endpoint import Edge, Endpointer
from plugins.offline.language_model import END, START, LanguageModel, expects_digit, words_of
from plugins.offline.pronunciation import look_up, pronounce
from plugins.offline.recognizer import Grammar


def test_the_dictionary_knows_every_way_to_say_a_word():
    assert look_up("hello") == ("HH AH L OW", "HH EH L OW")
    assert look_up("'bout") == ("B AW T",)
    assert look_up("zywicki") == ("Z IH W IH K IY",)
    assert look_up("nosuchword") == look_up("") == ()


def test_a_word_that_the_dictionary_lacks_is_put_together_or_sounded_out():
    assert pronounce("check-in") == ("CH EH K IH N",)
    assert pronounce("novofon") == ("N AA V AA F AH N",)
    assert pronounce("привет") == ()


def test_gaps_are_the_words_whose_sound_is_guessed():
    assert offline.vocabulary_gaps(["call Novofon please", "uh-huh", "Novofon 24"]) == ["novofon"]


def test_a_word_without_a_sound_is_told_and_left_out(caplog):
    with caplog.at_level(logging.WARNING):
        grammar = Grammar(["hello привет"])
    assert "привет" in caplog.text
    assert "привет" not in grammar.dictionary


def test_sentences_become_words_as_they_are_said():
    assert words_of("What\u2019s your No. 42?") == ["what's", "your", "no", "four", "two"]


def test_probabilities_of_a_language_model_add_up_to_one():
    known = frozenset(words_of("when are you open where is it")) | {"one"}
    model = LanguageModel(["when are you open", "where is it"], known)
    for history in ((), ("are",), (START,), (START, "when"), ("is", "when"), ("one",)):
        total = sum(model.probability(history, word) for word in (*known, END))
        assert total == pytest.approx(1, abs=1e-6)
    assert model.probability(("are",), "you") > 50 * model.probability(("are",), "it") > 0


def test_a_digit_is_expected_while_a_number_is_spelled():
    assert expects_digit(["my", "number", "is"])
    assert expects_digit(["five"])
    assert not expects_digit(["where", "is"])
    assert not expects_digit([])


def test_speech_starts_and_ends_by_its_level():
    ears = Endpointer()
    quiet, loud = np.full(320, 20, np.int16), np.full(320, 3000, np.int16)
    blocks = [quiet] * 10 + [loud] * 20 + [quiet] * 20
    edges = [ears.push(block) for block in blocks]
    assert edges.index(Edge.START) == 11
    assert edges.index(Edge.END) == 37
    assert len(edges) - edges.count(Edge.NONE) == 2


def test_a_steady_noise_becomes_the_silence_of_the_line():
    ears = Endpointer()
    rng = np.random.default_rng(seed=2)
    hiss = [rng.normal(0, 150, 320).astype(np.int16) for _ in range(1500)]  # -47 dBFS
    edges = [ears.push(block) for block in hiss]
    assert set(edges[600:]) == {Edge.NONE}
    assert not ears.speaking
