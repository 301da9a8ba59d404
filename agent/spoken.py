"""Digits as people say them, in English and Russian: a word becomes the digits that it stands for.

Callers give numbers digit by digit ("oh five"), in pairs ("forty one eleven"), with "double" and
"triple", and in Russian by hundreds ("девятьсот шестнадцать сто двадцать три"). Plain data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|\S")
_DIGITS = range(1, 10)
_LONGEST = 8
"""Words that can make one number together."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, a row of digits or a sign: lower case, Cyrillic е for ё."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """The words and signs of a text, each with its place there."""
    return [
        Word(found[0].lower().replace("ё", "е"), found.start(), found.end())
        for found in _TOKEN.finditer(text)
    ]


def _count(words: str, first: int, step: int = 1) -> dict[str, int]:
    """Words in counting order; forms of one number are joined with a slash."""
    return {
        form: first + position * step
        for position, forms in enumerate(words.split())
        for form in forms.split("/")
    }


UNITS = {
    **_count("zero/oh/o/nought/nil one two three four five six seven eight nine/niner", 0),
    **_count(
        "ноль/нуль/ноля/нуля один/одна/одно/одну/раз/единица/единицу/одного"
        " два/две/двойка/двойку/двух три/тройка/тройку/трех"
        " четыре/четверка/четверку/четырех пять/пятерка/пятерку/пяти"
        " шесть/шестерка/шестерку/шести семь/семерка/семерку/семи"
        " восемь/восьмерка/восьмерку/восьми девять/девятка/девятку/девяти",
        0,
    ),
}
"""One digit each."""

TEENS = {
    **_count("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 10),
    **_count(
        "десять/десяти одиннадцать/одиннадцати двенадцать/двенадцати тринадцать/тринадцати"
        " четырнадцать/четырнадцати пятнадцать/пятнадцати шестнадцать/шестнадцати"
        " семнадцать/семнадцати восемнадцать/восемнадцати девятнадцать/девятнадцати",
        10,
    ),
}
"""Two digits each, and nothing follows them inside the number."""

TENS = {
    **_count("twenty thirty forty/fourty fifty sixty seventy eighty ninety", 20, 10),
    **_count(
        "двадцать/двадцати тридцать/тридцати сорок/сорока пятьдесят/пятидесяти"
        " шестьдесят/шестидесяти семьдесят/семидесяти восемьдесят/восьмидесяти"
        " девяносто/девяноста",
        20,
        10,
    ),
}
"""Two digits each; a unit may take the place of the zero."""

HUNDREDS = _count(
    "сто/ста двести/двухсот триста/трехсот четыреста/четырехсот пятьсот/пятисот шестьсот/шестисот"
    " семьсот/семисот восемьсот/восьмисот девятьсот/девятисот",
    100,
    100,
)
"""Three digits each; what follows takes the place of the zeros."""

THOUSANDS = frozenset("thousand тысяч тысяча тысячи тысячу тыс".split())
SCALES = {"hundred": "00", **dict.fromkeys(THOUSANDS, "000")}
"""Zeros behind the digits before them; what follows takes the place of the zeros: "two thousand
five hundred" is 2500."""

TIMES = {"double": 2, "triple": 3, "treble": 3, "дважды": 2, "трижды": 3}
"""The next digit is meant so many times."""

PLURALS = {
    **dict.fromkeys(("нуля", "нулей", "ноля", "нолей", "zeros", "zeroes", "ohs"), "0"),
    **dict.fromkeys(("единицы", "единиц", "ones"), "1"),
    **dict.fromkeys(("двойки", "двоек", "twos"), "2"),
    **dict.fromkeys(("тройки", "троек", "threes"), "3"),
    **dict.fromkeys(("четверки", "четверок", "fours"), "4"),
    **dict.fromkeys(("пятерки", "пятерок", "fives"), "5"),
    **dict.fromkeys(("шестерки", "шестерок", "sixes"), "6"),
    **dict.fromkeys(("семерки", "семерок", "sevens"), "7"),
    **dict.fromkeys(("восьмерки", "восьмерок", "eights"), "8"),
    **dict.fromkeys(("девятки", "девяток", "nines"), "9"),
}
"""After a count: "three sevens" is 777."""

BETWEEN = frozenset(
    """plus and then dash hyphen space comma um uh er плюс и потом затем дальше далее тире дефис
    пробел э ээ эм hm hmm mm huh okay ok yes yeah yep right so well так да ага ну угу вот хорошо
    окей""".split()
)
"""Words that may stand inside a number: its signs, hesitation, and the answer to each group."""

AT = frozenset("at эт собака собачка собаки".split())
DOT = frozenset("dot точка point".split())
ABSTRACT_DOT = "point"
"""A dot only before a known top level: "at this point in time"."""
TOP = frozenset("com ru ком ру".split())
"""Top levels that people say without the dot: "ivan at gmail com"."""
TOP_OF_POST = TOP | frozenset("org net edu gov uk de io орг нет рф уа бай".split())
"""The same behind a post office that everybody knows, where they are no other words."""
POSTS = frozenset(
    """gmail googlemail yahoo hotmail outlook icloud mail protonmail proton yandex rambler bk inbox
    list gmx live джимейл джимэйл гмейл гмэйл мейл мэйл майл яндекс рамблер инбокс аутлук""".split()
)
JOINT = DOT | frozenset(
    """underscore dash hyphen minus plus подчеркивание подчерк нижнее тире дефис минус
    плюс""".split()
)
"""Words inside an address that stand for one sign."""

BEFORE_ADDRESS = frozenset(
    """an the my me is it its it's this that on to at by use email e-mail mail address write send
    and or you can reach contact моя мой мое это на почта почту почте адрес имейл емейл мейл
    электронная электронный пишите напишите отправьте запишите и мне по""".split()
)
"""Words that an address begins after."""


def digits_in(words: Sequence[str], *, spelled: bool = False) -> str:
    """The digits that `words` (lower case, Cyrillic е for ё) stand for, "" for other words.

    `spelled` is the second reading of "eight hundred five five": 80055, not 8055.
    """
    digits = ""
    position = 0
    while position < len(words):
        ahead = words[position : position + _LONGEST]
        if ahead[0] in SCALES:
            zeros = SCALES[ahead[0]]
            last, used = _last_places(ahead[1:], zeros, spelled=spelled)
            digits = (digits or "1") + (f"{last:0{len(zeros)}}")
            position += 1 + used
            continue
        made, used = _next(ahead, spelled=spelled)
        digits += made
        position += used
    return digits


def is_number_word(word: str) -> bool:
    """Whether the word alone may be part of a number."""
    return any(word in table for table in (UNITS, TEENS, TENS, HUNDREDS, SCALES, TIMES, PLURALS))


def _next(words: Sequence[str], *, spelled: bool) -> tuple[str, int]:
    """The digits of the next words, and how many words those were."""
    word = words[0]
    if word.isdigit():
        return word, 1
    if word in TIMES and len(words) > 1:
        digit = words[1] if words[1].isdigit() else str(UNITS.get(words[1], ""))
        return digit * TIMES[word], 2
    if len(words) > 1 and words[1] in PLURALS and UNITS.get(word, 0) > 1:
        return PLURALS[words[1]] * UNITS[word], 2
    if word in PLURALS:
        return PLURALS[word], 1
    value, used = _value(words, spelled=spelled)
    return (str(value) if used else ""), max(used, 1)


def _last_places(words: Sequence[str], zeros: str, *, spelled: bool) -> tuple[int, int]:
    """What takes the place of a scale's zeros, and how many words that is."""
    if spelled and zeros == "00" and _is_spelled(words):
        return 0, 0
    value, used = _written_or_said(words, spelled=spelled)
    rest = words[used:]
    if used and rest and rest[0] == "hundred" and zeros == "000" and value in _DIGITS:
        last, more = _last_places(rest[1:], "00", spelled=spelled)
        value, used = value * 100 + last, used + 1 + more
        rest = words[used:]
    if not value or len(str(value)) > len(zeros) or (rest and rest[0] in SCALES):
        return 0, 0
    return value, used


def _written_or_said(words: Sequence[str], *, spelled: bool) -> tuple[int, int]:
    if words and words[0].isdecimal():
        # A zero in front: digits of their own, not a value.
        return (0, 0) if words[0].startswith("0") else (int(words[0]), 1)
    return _value(words, spelled=spelled)


def _is_spelled(words: Sequence[str]) -> bool:
    """Whether single digits follow, two at least: they take no place of zeros before them."""
    return len(words) > 1 and all(word in UNITS or word in TIMES for word in words[:2])


def _value(words: Sequence[str], *, spelled: bool) -> tuple[int, int]:
    """The number that the first words make together, and how many they are."""
    value = used = 0
    for table in (HUNDREDS, TENS):
        if used < len(words) and words[used] in table:
            value += table[words[used]]
            used += 1
    if spelled and value in HUNDREDS.values() and _is_spelled(words[used:]):
        return value, used
    if used < len(words):
        last = words[used]
        if last in TEENS and value % 100 == 0:
            return value + TEENS[last], used + 1
        if last in UNITS and (UNITS[last] or not used):
            return value + UNITS[last], used + 1
    return value, used
