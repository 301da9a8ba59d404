"""Was a canary call answered as it should be? Judged by what was heard, and by the words (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the caller heard: seconds, or None where nothing came."""

    greeted_after: float | None
    """From the join, or from the answer of a telephone, to the first sound."""
    answered_after: float | None
    """From the caller's last sound to the first of the answer."""


def failing(heard: Heard, greeting_within: float, answer_within: float) -> str:
    """What was wrong with a call; nothing when it was answered as it should be."""
    greeted, answered = heard.greeted_after, heard.answered_after
    if greeted is None:
        return "no greeting was heard"
    if greeted > greeting_within:
        return f"greeted after {greeted:.2f} s, more than {greeting_within:g} s"
    if answered is None:
        return "no answer was heard"
    if answered > answer_within:
        return f"answered after {answered:.2f} s, more than {answer_within:g} s"
    return ""


def word_accuracy(said: str, understood: str) -> float:
    """1 less the word error rate: (substituted + deleted + inserted) / words said, from 0 to 1.

    The fewest edits are the Levenshtein distance over words; case and punctuation do not count.
    """
    reference, found = words(said), words(understood)
    if not reference:
        return 1.0
    return max(0.0, 1.0 - _distance(reference, found) / len(reference))


def words(text: str) -> list[str]:
    """The words of a text, for comparison."""
    return WORD.findall(text.lower().replace("’", "'"))


def _distance(reference: Sequence[str], found: Sequence[str]) -> int:
    above = list(range(len(found) + 1))
    for row, wanted in enumerate(reference, 1):
        left = [row]
        for column, word in enumerate(found, 1):
            swapped = above[column - 1] + (wanted != word)
            left.append(min(swapped, above[column] + 1, left[-1] + 1))
        above = left
    return above[-1]
