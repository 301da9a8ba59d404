"""A circuit breaker: what keeps failing is left alone for a while, then tried by one request.

Closed: everything passes. Open, after so many failures in a row: nothing does. Half-open, once its
time is up: the next request passes, and by how it ends the breaker closes or opens again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class State(StrEnum):
    """What a breaker does with the next request."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Refused(Exception):
    """The breaker lets nothing pass now."""


class Breaker:
    """The breaker of one service."""

    def __init__(
        self,
        failures: int,
        open_seconds: float,
        is_failure: Callable[[Exception], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_failure` tells an outage from an answer that nobody likes. No failures: never open.

        `clock` counts seconds.
        """
        self._most = failures
        self._open_seconds = open_seconds
        self._is_failure = is_failure
        self._clock = clock
        self._failures = 0
        self._opened: float | None = None
        self._is_tried = False

    @property
    def state(self) -> State:
        """What happens to the next request."""
        if self._opened is None:
            return State.CLOSED
        waited = self._clock() - self._opened
        is_over = waited >= self._open_seconds and not self._is_tried
        return State.HALF_OPEN if is_over else State.OPEN

    @contextmanager
    def passing(self, *, always: bool = False) -> Iterator[None]:
        """Around one request. Raises Refused instead; `always` passes whatever the state is."""
        tries = self.state is State.HALF_OPEN and not always
        if not always and not tries and self.state is State.OPEN:
            raise Refused
        self._is_tried = self._is_tried or tries
        try:
            yield
        except Exception as error:  # nothing is swallowed: whatever was raised is raised again
            if self._is_failure(error):
                self._failed(tries=tries)
            else:
                self._succeeded()  # it answers
            raise
        else:
            self._succeeded()
        finally:
            if tries:
                self._is_tried = False

    def _succeeded(self) -> None:
        self._failures, self._opened = 0, None

    def _failed(self, *, tries: bool) -> None:
        self._failures += 1
        reached = self._opened is None and 0 < self._most <= self._failures
        if tries or reached:
            self._opened = self._clock()
