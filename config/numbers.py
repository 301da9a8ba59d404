"""Telephone numbers as settings name them: E.164, patterns with wildcards, national notations."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field

from config.fields import Section, Whole

WITHHELD = "withheld"
"""Stands in a list for callers whose network hides their number."""

NUMBER = 4
"""Digits from which on a caller id that has letters, too, is a number that somebody disguised."""

_LETTER = re.compile(r"[^\W\d_]")


def _pattern(text: str) -> str:
    if text != WITHHELD and not re.fullmatch(r"\+[0-9*?]{1,16}", text):
        raise ValueError(
            f"expected a number such as +15555550100, with * or ? as wildcards, or {WITHHELD}"
        )
    return text


NumberPattern = Annotated[str, AfterValidator(_pattern)]


class Notation(Section):
    """How a network writes numbers of its own country. Without it, they have a country code."""

    country_code: Annotated[str, Field(pattern=r"[1-9][0-9]{0,2}")] = Field(
        description="Of the country: 7 of Russia, 49 of Germany."
    )
    trunk_prefix: Annotated[str, Field(pattern=r"[0-9]{0,3}")] = Field(
        "", description="Dialled before a number within the country: 8 in Russia, 0 in Germany."
    )
    digits: Whole = Field(
        ge=4, le=14, description="Of a number without prefix and country code: 10 in Russia."
    )


def e164(number: str, notation: Notation | None = None) -> str:
    """The number as +COUNTRY..., whatever signs it was written with; empty when it has none.

    A number of the notation's length is national; any other without a plus sign is taken to
    begin with its country code, as providers send it. What has letters is a name.
    """
    text = _user(number)
    return "" if _LETTER.search(text) else _international(text, notation)


def in_digits(number: str, notation: Notation | None = None) -> str:
    """The same, whatever letters stand between the digits: for what keeps callers out.

    A name without a plus sign and with less than NUMBER digits, such as guest7, is a name still.
    """
    text = _user(number)
    is_name = _LETTER.search(text) and not text.startswith("+") and len(_digits(text)) < NUMBER
    return "" if is_name else _international(text, notation)


def _international(text: str, notation: Notation | None) -> str:
    digits = _digits(text)
    if not digits:
        return ""
    if text.startswith("+"):
        return f"+{digits}"
    if notation:
        national = digits.removeprefix(notation.trunk_prefix)
        for written in (digits, national):
            if len(written) == notation.digits:
                return f"+{notation.country_code}{written}"
    return f"+{digits.removeprefix('00')}"


def _user(number: str) -> str:
    """What stands before the host and the parameters of an address."""
    text = re.sub(r"^(sips?|tel):", "", number.strip(), flags=re.IGNORECASE)
    return re.sub(r"[@;].*", "", text)


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def matches(number: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern matches `number` (E.164, or empty for a caller who withholds it)."""
    return any(fnmatchcase(number or WITHHELD, pattern) for pattern in patterns)
