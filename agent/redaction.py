"""Card numbers, e-mail addresses, phone numbers and keys, taken out of a text before it is kept.

Pure. Written numbers and spoken ones ("five five five", "девятьсот шестнадцать") in English and
Russian, whatever the persona speaks. In doubt it redacts: a word too many can be asked again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.spoken import (
    AT,
    BEFORE_ADDRESS,
    BETWEEN,
    DOT,
    JOINT,
    digits_in,
    is_number_word,
)

CARD, EMAIL, PHONE, KEYS = "card", "email", "phone", "keys"
ALL = frozenset({CARD, EMAIL, PHONE, KEYS})

CARD_DIGITS = range(13, 20)
"""Digits of a card number (ISO/IEC 7812-1)."""
MISHEARD_CARD = 16
"""So many digits are a card although the check digit is wrong: recognisers mishear a digit."""
PHONE_DIGITS = range(7, 16)
"""Digits of a phone number: local ones to the longest of E.164."""
BESIDE_CARD = 3
"""So many digits in a text with a card are its date or its code."""
PRESSED = "i pressed "
"""How the caller's turn begins that tells of pressed keys."""
MENU_KEYS = 2
"""So many single keys of a call are choices in a menu; what is typed beyond may be a secret."""

_ADDRESS = re.compile(r"[\w.+-]+\s?@\s?[\w-]+(?:\s?\.\s?[\w-]+)+")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|\S")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d{2})")
_INSIDE = frozenset("+-–—().,/:·")
"""Signs that may stand between the digits of one number."""
MOST_BETWEEN = 3
"""So many signs and fillers stand between two digits of one number at most."""
MOST_OTHERS = 3
"""So many words stand beside the digits of a turn that goes on with a number."""
LONGEST_NAME = 5
"""Words before a spoken "at" that may belong to the address."""


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Digits that stand together in a text, from `start` to `end`."""

    digits: str
    start: int
    end: int


class Redactor:
    """What one call must not keep, and the keys that its caller has pressed."""

    def __init__(self, kinds: Collection[str] = ALL) -> None:
        self._kinds = frozenset(kinds)
        self._known: dict[str, str] = {}
        self._choices: list[str] = []
        self._spelled = 0

    def pressed(self, keys: str) -> str:
        """Return what may be kept of these keys; the rest is taken out of all texts from now on."""
        if KEYS not in self._kinds:
            return keys
        if len(keys) == 1 and len(self._choices) < MENU_KEYS:
            self._choices.append(keys)
            return keys
        digits = re.sub(r"[^0-9]", "", keys)
        if len(digits) > 1:
            self._known[digits] = KEYS
        return ""

    def said(self, text: str) -> str:
        """The caller's next turn, redacted: a number that is spelled over several turns is one.

        Its first piece is kept, when it is too short to be anything.
        """
        runs = list(_runs(text))
        digits = max((run.digits for run in runs), key=len, default="")
        others = len(text.split()) - len(text[runs[0].start : runs[-1].end].split()) if runs else 0
        if len(digits) < BESIDE_CARD or others > MOST_OTHERS:
            self._spelled = 0
            return self.text(text)
        before, self._spelled = self._spelled, self._spelled + len(digits)
        if before and self._spelled >= PHONE_DIGITS.start:
            card = CARD in self._kinds and self._spelled >= CARD_DIGITS.start
            kind = CARD if card or PHONE not in self._kinds else PHONE
            if kind in self._kinds:
                self._known[digits] = kind
        return self.text(text)

    def text(self, text: str) -> str:
        """The text with [card], [email], [phone] and [keys] in the place of such things."""
        if KEYS in self._kinds and text.startswith(PRESSED):
            keys = text.removeprefix(PRESSED)
            return text if keys in self._choices else f"{PRESSED}[{KEYS}]"
        if EMAIL in self._kinds:
            text = _without_spoken_addresses(_ADDRESS.sub(f"[{EMAIL}]", text))
        runs = list(_runs(text))
        named = [(run, self._name(run, text)) for run in runs]
        if any(name == CARD for _, name in named):
            named = [
                (run, name or (CARD if len(run.digits) >= BESIDE_CARD else ""))
                for run, name in named
            ]
        for run, name in reversed(named):
            if name:
                text = f"{text[: run.start]}[{name}]{text[run.end :]}"
        return text

    def value(self, value: Any) -> Any:
        """The value with every text in it redacted: lists and mappings all the way down."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {key: self.value(item) for key, item in value.items()}
            case list() | tuple():
                return type(value)(self.value(item) for item in value)
            case _:
                return value

    def _name(self, run: _Run, text: str) -> str:
        """What a run of digits is, "" when it may stay."""
        count = len(run.digits)
        if CARD in self._kinds and _may_be_card(run.digits):
            return CARD
        for known, kind in self._known.items():
            if _repeats(run.digits, known):
                return kind
        if PHONE in self._kinds and count >= PHONE_DIGITS.start:
            return "" if _DATE.fullmatch(text[run.start : run.end]) else PHONE
        return ""


def luhn(digits: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(int(digit) * 2, 10)) for digit in digits[-2::-2])
    plain = (int(digit) for digit in digits[-1::-2])
    return (sum(doubled) + sum(plain)) % 10 == 0


def _may_be_card(digits: str) -> bool:
    """A card number, or one with more digits around it, or with one that was misheard."""
    if len(digits) >= MISHEARD_CARD:
        return True
    return len(digits) in CARD_DIGITS and luhn(digits)


def _repeats(digits: str, known: str) -> bool:
    """Whether the digits are known ones, once or more; many may stand among other digits."""
    return not digits.replace(known, "") or (len(known) > BESIDE_CARD and known in digits)


def _words(text: str) -> list[_Word]:
    return [
        _Word(found[0].lower().replace("ё", "е"), found.start(), found.end())
        for found in _TOKEN.finditer(text)
    ]


def _runs(text: str) -> Iterator[_Run]:
    """Every number in the text: digits and number words with no other words between them."""
    run: list[_Word] = []
    between = 0
    for word in [*_words(text), _Word("", len(text), len(text))]:
        if word.text.isdecimal() or is_number_word(word.text):
            run.append(word)
            between = 0
        elif run and between < MOST_BETWEEN and (word.text in _INSIDE or word.text in BETWEEN):
            between += 1
        else:
            if run:
                yield _run(run, text)
            run, between = [], 0


def _run(words: Sequence[_Word], text: str) -> _Run:
    plus = text[: words[0].start].endswith("+")
    return _Run(digits_in([word.text for word in words]), words[0].start - plus, words[-1].end)


def _without_spoken_addresses(text: str) -> str:
    """Replace "anna dot smith at example dot com" and "анна собака пример точка ру"."""
    words = _words(text)
    for position in range(len(words) - 2, 0, -1):
        if words[position].text not in AT:
            continue
        last = _domain_end(words, position + 1)
        if last is None:
            continue
        first = _name_begin(words, position, text)
        text = f"{text[: words[first].start]}[{EMAIL}]{text[words[last].end :]}"
    return text


def _domain_end(words: Sequence[_Word], first: int) -> int | None:
    """The last word of "example dot com"; None when this is no domain."""
    last = None
    position = first
    while position + 2 < len(words) and _is_part(words[position]):
        sign, follower = words[position + 1], words[position + 2]
        is_dot = sign.text in DOT or (sign.text == "." and sign.end == follower.start)
        if not (is_dot or sign.text in JOINT or sign.text == "-") or not _is_part(follower):
            break
        if is_dot:
            last = position + 2
        position += 2
    return last


def _name_begin(words: Sequence[_Word], at: int, text: str) -> int:
    """The first word of the name before "at": what is spelled and joined, up to other words."""
    first = at - 1
    while first > 0 and at - first < LONGEST_NAME * 2:
        before = words[first - 1]
        gap = text[before.end : words[first].start]
        if before.text in BEFORE_ADDRESS or not (_is_part(before) or before.text in "._-+"):
            break
        if before.text == "." and gap.isspace():  # the end of a sentence
            break
        first -= 1
    return first


def _is_part(word: _Word) -> bool:
    return word.text.isalnum() or "'" in word.text
