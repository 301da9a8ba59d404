"""Card numbers, e-mail addresses, phone numbers and keys, taken out of a text before it is kept.

Pure. Written numbers and spoken ones ("five five five", "девятьсот шестнадцать") in English and
Russian, whatever the persona speaks. In doubt it redacts: a word too many can be asked again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from agent.addresses import without_addresses
from agent.digit_runs import CARD_DIGITS, Run, may_be_card, runs

CARD, EMAIL, PHONE, KEYS = "card", "email", "phone", "keys"
ALL = frozenset({CARD, EMAIL, PHONE, KEYS})

PHONE_DIGITS = range(7, 16)
"""Digits of a phone number: local ones to the longest of E.164."""
BESIDE_CARD = 3
"""So many digits in a text with a card are its date or its code."""
PRESSED = "i pressed "
"""How the caller's turn begins that tells of pressed keys."""
MENU_KEYS = 2
"""So many single keys of a call are choices in a menu; what is typed beyond may be a secret."""

MOST_OTHERS = 3
"""So many words stand beside the digits of a turn that goes on with a number."""
SHORT_TURN = 2
"""So many words without digits ("okay", "yes, right") do not end a number over several turns."""


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
        self.typed(keys)
        return ""

    def typed(self, keys: str) -> None:
        """Take these keys out of all texts from now on: they answer a question that asked for them.

        They are no choice in a menu, however few they are.
        """
        digits = re.sub(r"[^0-9]", "", keys)
        if KEYS in self._kinds and len(digits) > 1:
            self._known[digits] = KEYS

    def said(self, text: str) -> str:
        """The caller's next turn, redacted: a number that is spelled over several turns is one.

        Its first piece is kept, when it is too short to be anything.
        """
        found = list(runs(text, self._known))
        if not found and len(text.split()) <= SHORT_TURN:
            return self.text(text)
        digits = max((run.digits for run in found if not run.is_harmless), key=len, default="")
        inside = text[found[0].start : found[-1].end] if found else ""
        others = len(text.split()) - len(inside.split())
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
            text = without_addresses(text, f"[{EMAIL}]")
        named = [(run, self._name(run)) for run in runs(text, self._known)]
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

    def _name(self, run: Run) -> str:
        """What a run of digits is, "" when it may stay."""
        if CARD in self._kinds and any(may_be_card(reading) for reading in run.readings):
            return CARD
        for known, kind in self._known.items():
            if any(_repeats(reading, known) for reading in run.readings):
                return kind
        if PHONE in self._kinds and len(run.digits) >= PHONE_DIGITS.start and not run.is_harmless:
            return PHONE
        return ""


def _repeats(digits: str, known: str) -> bool:
    """Whether the digits are known ones, once or more; many may stand among other digits."""
    return not digits.replace(known, "") or (len(known) > BESIDE_CARD and known in digits)
