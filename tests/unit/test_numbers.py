"""Numbers in whatever notation become E.164; patterns match them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from config.numbers import Notation, NumberPattern, e164, in_digits, matches

RUSSIA = Notation(country_code="7", trunk_prefix="8", digits=10)
GERMANY = Notation(country_code="49", trunk_prefix="0", digits=11)


@pytest.mark.parametrize(
    ("number", "notation", "expected"),
    [
        ("+79001234567", None, "+79001234567"),
        ("79001234567", None, "+79001234567"),
        ("0079001234567", None, "+79001234567"),
        ("+7 (900) 123-45-67", None, "+79001234567"),
        ("tel:+79001234567", None, "+79001234567"),
        ("sip:+79001234567@provider.example;user=phone", None, "+79001234567"),
        ("89001234567", RUSSIA, "+79001234567"),
        ("9001234567", RUSSIA, "+79001234567"),
        ("79001234567", RUSSIA, "+79001234567"),
        ("821012345678", RUSSIA, "+821012345678"),  # Korea: not of the length of a national one
        ("+89001234567", RUSSIA, "+89001234567"),
        ("8001234567", RUSSIA, "+78001234567"),  # ten digits that begin as the prefix does
        ("015112345678", GERMANY, "+4915112345678"),
        ("", RUSSIA, ""),
        ("anonymous", RUSSIA, ""),
        ("sip:guest7@provider.example", None, ""),
    ],
)
def test_a_number_in_e164(number, notation, expected):
    assert e164(number, notation) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+7900x", "+7900"),
        ("8900123x4567", "+79001234567"),
        ("x+7 900 123-45-67", "+79001234567"),
        ("+7900x1@provider.example;user=phone", "+79001"),
        ("+79001234567", "+79001234567"),
        ("anonymous", ""),
        ("guest7", ""),
        ("", ""),
    ],
)
def test_the_digits_that_stand_between_letters(number, expected):
    assert in_digits(number, RUSSIA) == expected


@pytest.mark.parametrize(
    ("number", "patterns", "is_matched"),
    [
        ("+79001234567", ("+7900*",), True),
        ("+79001234567", ("+7901*", "+7900???4567"), True),
        ("+79001234567", ("+7900",), False),
        ("+79001234567", (), False),
        ("", ("withheld",), True),
        ("", ("+*",), False),
        ("+79001234567", ("withheld",), False),
    ],
)
def test_patterns(number, patterns, is_matched):
    assert matches(number, patterns) is is_matched


@pytest.mark.parametrize("pattern", ["7900*", "+7 900*", "+7[0-9]*", "hidden", "*", ""])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(ValidationError):
        TypeAdapter(NumberPattern).validate_python(pattern)
