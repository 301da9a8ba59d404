"""One 20 ms clock for all the phones of a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from plugins.line.g711 import FRAME_SECONDS

_GIVE_UP = 1.0
"""Seconds of lateness beyond which ticks are skipped (a suspended machine), not caught up."""


class Clock:
    """Calls every ticker once each 20 ms, against absolute deadlines so that nothing drifts.

    A late clock catches up tick by tick and lets other tasks run between two ticks. `lateness`
    is the largest seen, `skipped` the time given up on, both in seconds.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self.lateness = 0.0
        self.skipped = 0.0
        self._tickers: dict[Callable[[], None], None] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="line-clock")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def add(self, ticker: Callable[[], None]) -> None:
        """From the next tick on, call `ticker`. It must be quick and must not raise."""
        self._tickers[ticker] = None

    def remove(self, ticker: Callable[[], None]) -> None:
        """Stop calling `ticker`; nothing happens if it is not there."""
        self._tickers.pop(ticker, None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        while True:
            deadline += FRAME_SECONDS
            await asyncio.sleep(max(0.0, deadline - loop.time()))
            late = loop.time() - deadline
            self.lateness = max(self.lateness, late)
            if late > _GIVE_UP:
                self.skipped += late
                deadline += late
            self.ticks += 1
            for ticker in tuple(self._tickers):
                ticker()
