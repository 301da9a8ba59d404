"""Which of the topics that a persona knows about did the caller ask for? By weighted words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

STOP_WORDS = frozenset(
    """
    a about an and any are at be by can could did do does for from get give have how i i'd i'm if
    in is it it's just let may me much my of on or our please so some that that's the then there
    this to want we what what's when where which will with would you your like
    а бы в вам вас вы где да же за и из или как какой какая какие ко когда ли мне мой можно мы на
    не но о об от по пожалуйста с со скажите сколько то у уже хочу что это я
    """.split()
)
STOP_WEIGHT = 0.2
"""A stop word counts this much of its rarity: enough to tell "when is" from "where is"."""
COURTESIES = frozenset(
    """
    hello hi hey good morning afternoon evening thanks thank you very much okay ok
    здравствуйте привет алло добрый день вечер утро спасибо большое хорошо ладно
    """.split()
)
"""Words that are answered only if nothing is asked beside them."""

ASKED = 0.6
"""Share of a question's weight that must be heard for it to count as asked."""
HINTED = 0.3
"""Share from which the caller is asked what was meant."""

DIGITS = {
    word: str(digit)
    for names in (
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять"),
    )
    for digit, word in enumerate(names)
}
OH = frozenset({"oh", "o"})
"""Zero, if a digit is beside it."""
SLOT = "{digits}"
"""What an answer repeats the caller's digits with."""


@dataclass(frozen=True)
class Topic:
    """Something a caller may ask for.

    `asks` are ways to ask it, `answer` is what is said ("{digits}": the digits heard), and `tool`
    names the function to call, after the answer if there is one.
    """

    name: str
    asks: tuple[str, ...]
    answer: str
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One topic that was asked for, with the positions of the words that asked for it."""

    topic: Topic
    share: float
    weight: float
    places: frozenset[int]


class Topics:
    """All that a persona can be asked."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        self._asks = [(topic, words_of(ask)) for topic in topics for ask in topic.asks]
        frequency = Counter(word for _, words in self._asks for word in set(words))
        self._weights = {
            word: math.log(1 + len(self._asks) / n) * (STOP_WEIGHT if word in STOP_WORDS else 1)
            for word, n in frequency.items()
        }

    def asked(self, text: str) -> list[Topic]:
        """The topics asked for in `text`, in the order in which they were asked."""
        words = words_of(text)
        found = self._find(words)
        wanted = [match for match in found if not _is_courtesy(match, words)] or found[:1]
        return [match.topic for match in sorted(wanted, key=lambda match: min(match.places))]

    def hinted(self, text: str) -> bool:
        """Whether something that is known was nearly asked for."""
        words = words_of(text)
        return any(m.share >= HINTED and _has_content(m, words) for m in self._matches(words))

    def _find(self, words: list[str]) -> list[Match]:
        silent = not digits_of(" ".join(words))
        found: list[Match] = []
        free = list(words)
        while True:
            candidates = [
                match
                for match in self._matches(free)
                if match.share >= ASKED
                and not (silent and SLOT in match.topic.answer)
                and (_has_content(match, words) or not found)
                and all(match.topic is not other.topic for other in found)
            ]
            if not candidates:
                break
            best = max(candidates, key=lambda match: match.share * match.weight)
            found.append(best)
            for place in best.places:
                if free[place] not in STOP_WORDS:
                    free[place] = ""
        if not found and not silent and all(map(_is_digit, words)):
            found = list(self._spelling(words))[:1]
        return found

    def _spelling(self, words: list[str]) -> Iterable[Match]:
        for topic, _ in self._asks:
            if SLOT in topic.answer:
                yield Match(topic, 1.0, 1.0, frozenset(range(len(words))))

    def _matches(self, words: list[str]) -> Iterable[Match]:
        for topic, ask in self._asks:
            total = weight = 0.0
            places = set()
            for wanted in ask:
                total += self._weights[wanted]
                likeness, place = _nearest(wanted, words)
                if likeness:
                    weight += likeness * self._weights[wanted]
                    places.add(place)
            if places:
                yield Match(topic, weight / total, weight, frozenset(places))


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, numerals apart from words."""
    plain = text.lower().replace("\u2019", "'").replace("ё", "е")
    return re.findall(r"[^\W\d_]+(?:['-][^\W\d_]+)*|\d", plain)


def digits_of(text: str) -> str:
    """The digits in a text, words or numerals, one space between: "five oh 2" gives "5 0 2"."""
    words = words_of(text)
    digits = []
    for place, word in enumerate(words):
        beside = words[max(0, place - 1) : place] + words[place + 1 : place + 2]
        if word.isdecimal():
            digits.append(word)
        elif word in DIGITS:
            digits.append(DIGITS[word])
        elif word in OH and any(map(_is_digit, beside)):
            digits.append("0")
    return " ".join(digits)


def _is_digit(word: str) -> bool:
    return word.isdecimal() or word in DIGITS or word in OH


def _is_courtesy(match: Match, words: list[str]) -> bool:
    return match.topic.tool is None and all(words[place] in COURTESIES for place in match.places)


def _has_content(match: Match, words: list[str]) -> bool:
    return any(words[place] not in STOP_WORDS for place in match.places)


def _nearest(wanted: str, words: list[str]) -> tuple[float, int]:
    return max(
        ((likeness(wanted, word), place) for place, word in enumerate(words)), default=(0.0, 0)
    )


@lru_cache(maxsize=20_000)
def likeness(one: str, other: str) -> float:
    """How alike two words are: 1 the same, 0.9 one begins the other, 0.8 misheard, 0 different."""
    if one == other:
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) < 4:  # noqa: PLR2004 - "car" and "cat" are different words
        return 0.0
    if long.startswith(short.rstrip("eаеиоуыяь") if len(short) > 4 else short):  # noqa: PLR2004
        return 0.9
    if short[0] == long[0] and SequenceMatcher(None, one, other).ratio() >= 0.8:  # noqa: PLR2004
        return 0.8
    return 0.0
