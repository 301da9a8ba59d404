"""Digits as people say them, in English and Russian: a word becomes the digits that it stands for.

Callers give numbers digit by digit ("oh five"), in pairs ("forty one eleven"), with "double" and
"triple", and in Russian by hundreds ("девятьсот шестнадцать сто двадцать три"). Plain data.
"""

from __future__ import annotations


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

SCALES = {"hundred": "00", "thousand": "000", "тысяч": "000", "тысяча": "000", "тысячи": "000"}
"""Zeros behind the digits before them: "eight hundred" is 800."""

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
    пробел э ээ эм""".split()
)
"""Words that may stand inside a number."""

AT = frozenset("at эт собака собачка собаки".split())
DOT = frozenset("dot точка point".split())
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


def digits_in(words: list[str]) -> str:
    """The digits that `words` (lower case, Cyrillic е for ё) stand for, "" for other words."""
    digits = ""
    position = 0
    while position < len(words):
        made, used = _next(words[position:], digits)
        digits = made
        position += used
    return digits


def is_number_word(word: str) -> bool:
    """Whether the word alone may be part of a number."""
    return any(word in table for table in (UNITS, TEENS, TENS, HUNDREDS, SCALES, TIMES, PLURALS))


def _next(words: list[str], before: str) -> tuple[str, int]:
    """The digits so far with those of the next words, and how many words those were."""
    word = words[0]
    if word.isdigit():
        return before + word, 1
    if word in TIMES and len(words) > 1:
        digit = words[1] if words[1].isdigit() else str(UNITS.get(words[1], ""))
        return before + digit * TIMES[word], 2
    if len(words) > 1 and words[1] in PLURALS and UNITS.get(word, 0) > 1:
        return before + PLURALS[words[1]] * UNITS[word], 2
    if word in SCALES:
        return before + SCALES[word], 1
    if word in PLURALS:
        return before + PLURALS[word], 1
    value, used = _value(words)
    return before + (str(value) if used else ""), max(used, 1)


def _value(words: list[str]) -> tuple[int, int]:
    """The number that the first words make together, and how many they are."""
    value = used = 0
    for table in (HUNDREDS, TENS):
        if used < len(words) and words[used] in table:
            value += table[words[used]]
            used += 1
    if used < len(words):
        last = words[used]
        if last in TEENS and value % 100 == 0:
            return value + TEENS[last], used + 1
        if last in UNITS and (UNITS[last] or not used):
            return value + UNITS[last], used + 1
    return value, used
