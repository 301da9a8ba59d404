"""The caller's keys: collected for a tool that waits for them, else told as a turn of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agent.record import Record

PAUSE = 1.5
"""Seconds without a key after which the keys pressed so far are one input."""

MOST = 32
"""Keys that one question takes, at most: whoever presses more leans on the keypad."""


@dataclass(slots=True)
class Digits:
    """The keys of one answer: complete by their count or by the terminator. Pure."""

    count: int | None = None
    """How many keys make the answer; None: as many as come before the terminator."""
    terminator: str = "#"
    """The key that ends the answer and is no part of it; empty: none does."""
    keys: str = ""
    is_complete: bool = False

    def press(self, key: str) -> None:
        """Take one key; nothing is taken any more when the answer is complete."""
        if self.is_complete:
            return
        if key == self.terminator:
            self.is_complete = True
            return
        self.keys += key
        self.is_complete = len(self.keys) == (self.count or MOST)


class Keypad:
    """The keypad of one call. `told` hears of keys that no tool waits for, after a pause.

    What is typed into a tool's question may be a card's number: the record keeps how many keys it
    was, and takes the keys out of what is said from then on.
    """

    def __init__(self, record: Record, told: Callable[[str], None]) -> None:
        self._record = record
        self._told = told
        self._keys = ""
        self._pause: asyncio.TimerHandle | None = None
        self._digits: Digits | None = None
        self._pressed = asyncio.Event()

    def pressed(self, key: str) -> None:
        """One key of the caller's."""
        if self._digits is not None:
            self._digits.press(key)
            self._pressed.set()
            return
        self._keys += key
        self._stop()
        self._pause = asyncio.get_running_loop().call_later(PAUSE, self._tell)

    async def collect(self, digits: Digits, *, first: float, between: float) -> Digits:
        """Fill `digits`: what was just pressed, then what comes.

        Ends when they are complete, or `first` seconds before any key, `between` after one.
        A second question takes the keypad from the first, which then has what it has.
        """
        self._stop()
        waiting, self._keys = self._keys, ""
        self._digits = digits
        for key in waiting:
            digits.press(key)
        try:
            while not digits.is_complete and self._digits is digits:
                self._pressed.clear()
                patience = between if digits.keys else first
                await asyncio.wait_for(self._pressed.wait(), patience)
        except TimeoutError:
            pass  # what has come is the answer, and `is_complete` says that more was expected
        finally:
            if self._digits is digits:
                self._digits = None
            self._record.keys_collected(digits.keys, is_complete=digits.is_complete)
        return digits

    async def aclose(self) -> None:
        """Tell nothing any more; what was pressed is in the record all the same."""
        self._stop()
        if self._keys:
            self._record.keys_pressed(self._keys)

    def _stop(self) -> None:
        if self._pause:
            self._pause.cancel()

    def _tell(self) -> None:
        keys, self._keys = self._keys, ""
        self._record.keys_pressed(keys)
        self._told(keys)
