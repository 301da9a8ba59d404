"""What a model says again when it goes on for another one is left out."""

from __future__ import annotations

import pytest

from plugins.chain.llm import _Draft

ONE, TWO, THREE = "We are open today. ", "We close at six. ", "Come by any time."


@pytest.fixture
def draft():
    draft = _Draft()
    assert draft.fresh([ONE, TWO]) == ONE + TWO
    draft.begin_again()
    return draft


@pytest.mark.parametrize(
    "again", [[THREE], [ONE, TWO, THREE], [TWO, THREE], ["we are open today!", TWO, THREE]]
)
def test_only_what_is_new_is_said(draft, again):
    assert "".join(draft.fresh([sentence]) for sentence in again) == THREE
    assert draft.text == ONE + TWO + THREE


def test_what_is_new_may_repeat_itself(draft):
    assert draft.fresh([THREE, ONE]) == THREE + ONE


def test_a_sentence_that_was_not_whole_is_forgotten():
    draft = _Draft()
    draft.sentences.push("We are")
    draft.begin_again()
    assert draft.fresh([*draft.sentences.push(ONE), *draft.sentences.flush()]) == ONE
