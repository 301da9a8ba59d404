"""Numbers in a text, written or spoken: digits that stand together, and what they cannot be.

Pure. Times, dates and sums of money are told from numbers that a person can be found by.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.spoken import BETWEEN, THOUSANDS, Word, digits_in, is_number_word, words_of

CARD_DIGITS = range(13, 20)
"""Digits of a card number (ISO/IEC 7812-1)."""
MISHEARD_CARD = 16
"""So many digits are a card although the check digit is wrong: recognisers mishear a digit."""
FEW = 3
"""So many digits before a comma are a group of a number; more may be a number of their own."""
MOST_BETWEEN = 5
"""So many signs and fillers stand between two digits of one number at most."""
MOST_MONEY = 9
"""Digits of a sum of money, at most."""
AND = frozenset({"and", "и"})
POSTCODE = range(5, 7)
POSTCODE_AND_HOUSE = 9
"""Digits of a postcode behind a comma, and with the number of the house before it, at most."""

_SIGNS = frozenset("+().,/:·\N{MINUS SIGN}")
_SIGN_KINDS = frozenset({"Pd", "Pc", "Cf"})
"""What may stand between the digits of one number: these signs, every dash (Unicode Pd), every
underscore (Pc) and what nobody sees (Cf)."""

_CLOCK = r"(?:[01]?\d|2[0-4])"
_TIME = re.compile(
    rf"(?<![\d:.]){_CLOCK}:[0-5]\d(?::[0-5]\d)?(?![\d:])"
    rf"|(?<![\d:.-])(?<!\d ){_CLOCK}\.[0-5]\d\s?[-–—]\s?{_CLOCK}\.[0-5]\d(?![\d:]|[.-]\d)"
)
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d\d"
_DATE = re.compile(
    rf"(?<![\d+./-])(?<!\d )(?:{_YEAR}-{_MONTH}-{_DAY}"
    rf"|(?:{_DAY}[./]{_MONTH}|{_MONTH}/{_DAY})[./](?:{_YEAR}|\d\d))(?![\d/-]|\.\d)"
)
_ANY_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d{2})")
_SUM = re.compile(r"\d{1,7}[.,]\d\d|\d{1,3}(?:,\d{3})*,000")
_ROUND = re.compile(r"\d{1,3}(?:[ \xa0]\d{3})*[ \xa0]\d00")
_MONEY_BEFORE = re.compile(r"[$€£₽]\s?$")
_MONEY_AFTER = re.compile(
    r"\s?(?:[$€£₽%]|(?:dollars?|euros?|pounds|cents|bucks|rubles?|roubles?|percent|usd|eur|rub"
    r"|руб|рубл\w+|доллар\w*|евро|цент|цент(?:а|ов)|копе\w+|тысяч\w*|млн|процент\w*)\b)",
    re.IGNORECASE,
)
_HIDDEN = "\0"
"""Stands in the place of each character of a time: no part of a number."""


@dataclass(frozen=True, slots=True)
class Run:
    """Digits that stand together in a text, from `start` to `end`."""

    readings: tuple[str, ...]
    """The ways to read them, the one that tells how many they are first."""
    start: int
    end: int
    is_harmless: bool
    """A date or a sum of money: no number that somebody can be called by."""

    @property
    def digits(self) -> str:
        """The reading that tells how many they are."""
        return self.readings[0]


def runs(text: str, known: Collection[str] = ()) -> Iterator[Run]:
    """Every number in the text: digits and number words with no other words between them.

    Times and dates are none, unless they repeat `known` digits.
    """
    plain = _without_times(text, known)
    for pieces in _chains(plain):
        for together in _apart(pieces, plain, known):
            yield _run(together, plain)


def luhn(digits: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(int(digit) * 2, 10)) for digit in digits[-2::-2])
    plain = (int(digit) for digit in digits[-1::-2])
    return (sum(doubled) + sum(plain)) % 10 == 0


def may_be_card(digits: str) -> bool:
    """A card number, or one with more digits around it, or with one that was misheard."""
    if len(digits) >= MISHEARD_CARD:
        return True
    return len(digits) in CARD_DIGITS and luhn(digits)


def _without_times(text: str, known: Collection[str]) -> str:
    def hidden(found: re.Match[str]) -> str:
        is_known = re.sub(r"\D", "", found[0]) in known
        return found[0] if is_known else _HIDDEN * len(found[0])

    return _DATE.sub(hidden, _TIME.sub(hidden, text))


def _chains(text: str) -> Iterator[list[list[Word]]]:
    """Numbers as long as they could be, each in the pieces that commas make of it."""
    pieces: list[list[Word]] = []
    between, is_next = 0, False
    for word in [*words_of(text), Word("", len(text), len(text))]:
        if word.text.isdecimal() or is_number_word(word.text):
            if is_next or not pieces:
                pieces.append([])
            pieces[-1].append(word)
            between, is_next = 0, False
        elif pieces and between < MOST_BETWEEN and _is_inside(word.text):
            if is_next and word.text == "+":  # a second number begins
                yield pieces
                pieces = []
            between += 1
            is_next = is_next or _is_pause(word, pieces, text)
        else:
            if pieces:
                yield pieces
            pieces, between, is_next = [], 0, False


def _is_pause(word: Word, pieces: Sequence[Sequence[Word]], text: str) -> bool:
    """Whether a list may go on after this: a comma before a space, "1500 and 2000"."""
    if word.text == ",":
        return text[word.end : word.end + 1].isspace()
    return word.text in AND and bool(pieces) and _is_long(pieces[-1][-1])


def _is_long(word: Word) -> bool:
    return word.text.isdecimal() and len(word.text) > FEW


def _is_inside(sign: str) -> bool:
    if sign in _SIGNS or sign in BETWEEN:
        return True
    return len(sign) == 1 and unicodedata.category(sign) in _SIGN_KINDS


def _apart(
    pieces: Sequence[list[Word]], text: str, known: Collection[str]
) -> Iterator[Sequence[Sequence[Word]]]:
    """The pieces that are numbers of their own, the others together."""
    together = [word for piece in pieces for word in piece]
    if len(pieces) == 1 or _is_one(together, text, known):
        yield pieces
        return
    current = [pieces[0]]
    for before, piece in pairwise(pieces):
        if _is_list(before, len(current), piece, text):
            yield current
            current = []
        current.append(piece)
    yield current


def _is_one(words: Sequence[Word], text: str, known: Collection[str]) -> bool:
    """Whether the pieces are one number, wherever commas stand: a card, or one that is known."""
    if text[: words[0].start].endswith("+"):
        return True
    digits = digits_in(_texts(words))
    if any(each in digits for each in known if len(each) > FEW):
        return True
    if len(digits) in CARD_DIGITS and luhn(digits):
        return True
    groups = [word.text for word in words if word.text.isdecimal()]
    sizes = [len(group) for group in groups]
    if sizes == [4, 6, 5]:
        return True
    if sizes[:4] != [4, 4, 4, 4]:
        return False
    is_list = all(group.endswith("00") for group in groups) or groups[0][:2] in {"19", "20"}
    return luhn("".join(groups[:4])) or not (is_list or groups[0].startswith(("0", "1")))


def _is_list(before: Sequence[Word], so_far: int, after: Sequence[Word], text: str) -> bool:
    """Whether the comma between two pieces ends a number."""
    if len(digits_in(_texts(before))) <= FEW:
        return so_far == 1 and _is_postcode(before, after)
    if any(_is_long(word) or word.text in THOUSANDS for word in before):
        return True
    return _ROUND.fullmatch(text[before[0].start : before[-1].end]) is not None


def _is_postcode(house: Sequence[Word], after: Sequence[Word]) -> bool:
    """Whether "12, 105066" is a house and its postcode."""
    last = after[0].text
    if len(after) > 1 or not (last.isdecimal() and len(last) in POSTCODE):
        return False
    return len(digits_in(_texts(house))) + len(last) <= POSTCODE_AND_HOUSE


def _run(pieces: Sequence[Sequence[Word]], text: str) -> Run:
    words = [word for piece in pieces for word in piece]
    plain = "".join(digits_in(_texts(piece)) for piece in pieces)
    spelled = "".join(digits_in(_texts(piece), spelled=True) for piece in pieces)
    digits = max(plain, spelled, key=len)
    others = {plain, spelled, digits_in(_texts(words))} - {digits}
    plus = text[: words[0].start].endswith("+")
    start, end = words[0].start - plus, words[-1].end
    return Run((digits, *sorted(others)), start, end, _is_harmless(digits, start, end, text))


def _texts(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]


def _is_harmless(digits: str, start: int, end: int, text: str) -> bool:
    if _ANY_DATE.fullmatch(text, start, end):
        return True
    if len(digits) > MOST_MONEY or text[start] == "+":
        return False
    is_sum = _SUM.fullmatch(text, start, end) or _MONEY_AFTER.match(text, end)
    return bool(is_sum or _MONEY_BEFORE.search(text, max(0, start - 2), start))
