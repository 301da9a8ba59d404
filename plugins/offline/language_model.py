"""A trigram language model of the sentences that callers say, in the ARPA format.

Absolute discounting with back-off: what was seen keeps almost all of its probability, and any
other order of known words stays possible. See Chen and Goodman, "An empirical study of smoothing
techniques for language modeling" (1998), section 2.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

START, END = "<s>", "</s>"
ORDER = 3

NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = frozenset((*NUMERALS, "oh"))
SAYINGS = (
    *("yes", "no", "hello", "goodbye", "thanks", "thank you", "okay", "stop", "wait", "um"),
    *("uh-huh", "mm-hmm", "my number is"),
)
"""What every caller may say, whatever the persona is about."""

PHRASE, SAYING, DIGIT = 1.0, 0.5, 0.1
"""How often each is counted: a phrase, a saying or a first digit, one digit after another."""
SPELLING = 150.0
"""How often a first digit is counted while a caller spells a number."""
DISCOUNT = 0.1
"""Taken from each count, for what was never seen."""
FLOOR = 0.3
"""Added to the count of each word, so that a rare one is not ruled out where it is unexpected."""

History = tuple[str, ...]


def words_of(sentence: str) -> list[str]:
    """The words of a sentence as a caller says them: lower case, digits as words."""
    spelled = re.sub(r"\d", lambda digit: f" {NUMERALS[int(digit[0])]} ", sentence.lower())
    return re.findall(r"[^\W\d_]+(?:['-][^\W\d_]+)*", spelled.replace("\u2019", "'"))


def vocabulary(phrases: Iterable[str]) -> list[str]:
    """Every word that the recogniser must know, each once."""
    sentences = (*phrases, *SAYINGS, " ".join(sorted(DIGITS)))
    return list(dict.fromkeys(word for line in sentences for word in words_of(line)))


class LanguageModel:
    """What follows what in `phrases`. Sentences are cut at words that are not `known`.

    With `spelling` it expects more digits, as after "my number is" or after a digit.
    """

    def __init__(
        self, phrases: Iterable[str], known: frozenset[str], *, spelling: bool = False
    ) -> None:
        counts = _count(_training(phrases, spelling=spelling), known | {START, END})
        words = Counter(dict.fromkeys((*sorted(known), END), FLOOR))
        for history, following in counts.items():
            if len(history) == 1:
                words.update(following)
        total = sum(words.values())
        self._words = {word: count / total for word, count in words.items()}
        self._seen = {history: _discount(following) for history, following in counts.items()}
        self._left: dict[History, float] = {}

    def probability(self, history: History, word: str) -> float:
        """The chance of `word` after the last words of `history`."""
        if not history:
            return self._words[word]
        if word in self._seen.get(history, ()):
            return self._seen[history][word]
        return self._left_over(history) * self.probability(history[1:], word)

    def arpa(self) -> str:
        """The model as PocketSphinx reads it from a file."""
        return "\n".join((*self._head(), *self._body(), "\\end\\", ""))

    def _left_over(self, history: History) -> float:
        if history not in self._seen:
            return 1.0
        if history not in self._left:
            seen = self._seen[history]
            elsewhere = 1.0 - sum(self.probability(history[1:], word) for word in seen)
            self._left[history] = (1.0 - sum(seen.values())) / max(elsewhere, 1e-6)
        return self._left[history]

    def _head(self) -> Iterator[str]:
        yield "\\data\\"
        yield f"ngram 1={len(self._words) + 1}"
        for order in range(2, ORDER + 1):
            yield f"ngram {order}={sum(1 for _ in self._grams(order))}"

    def _body(self) -> Iterator[str]:
        yield "\n\\1-grams:"
        yield f"-99 {START} {_log(self._left_over((START,)))}"
        for word, probability in self._words.items():
            yield f"{_log(probability)} {word} {_log(self._left_over((word,)))}"
        for order in range(2, ORDER + 1):
            yield f"\n\\{order}-grams:"
            for gram, probability in self._grams(order):
                weight = f" {_log(self._left_over(gram))}" if order < ORDER else ""
                yield f"{_log(probability)} {' '.join(gram)}{weight}"
        yield ""

    def _grams(self, order: int) -> Iterator[tuple[History, float]]:
        for history in sorted(h for h in self._seen if len(h) == order - 1):
            for word, probability in sorted(self._seen[history].items()):
                yield (*history, word), probability


def _count(
    sentences: Iterable[tuple[list[str], float]], speakable: frozenset[str]
) -> dict[History, Counter[str]]:
    counts: dict[History, Counter[str]] = defaultdict(Counter)
    for words, weight in sentences:
        for end, word in enumerate(words):
            for start in range(max(0, end - ORDER + 1), end):
                if speakable.issuperset(words[start : end + 1]):
                    counts[tuple(words[start:end])][word] += weight  # type: ignore[assignment]
    return counts


def _training(phrases: Iterable[str], *, spelling: bool) -> Iterator[tuple[list[str], float]]:
    for phrase in phrases:
        yield [START, *words_of(phrase), END], PHRASE
    for saying in SAYINGS:
        yield [START, *words_of(saying), END], SAYING
    for digit in DIGITS:
        yield [START, digit], SPELLING if spelling else SAYING
        yield ["number", "is", digit], SAYING
        yield [digit, END], SAYING
        for following in DIGITS:
            yield [digit, following], DIGIT


def expects_digit(words: Sequence[str]) -> bool:
    """Whether a digit is likely to follow these words after a pause."""
    return bool(words) and (words[-1] in DIGITS or tuple(words[-2:]) == ("number", "is"))


def _discount(following: Counter[str]) -> dict[str, float]:
    total = sum(following.values())
    return {word: (n - DISCOUNT * min(1.0, n)) / total for word, n in following.items()}


def _log(probability: float) -> str:
    return f"{math.log10(max(probability, 1e-10)):.4f}"
