"""The database as a server uses it: opened when it answers, asked on threads of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from agent.errors import StoreError
from agent.store import CallLog
from agent.store.trial import Connections, connections

T = TypeVar("T")

THREADS = 8
AWAY = 1.0
"""Seconds for which a database that could not be opened is not tried again: each try may take
seconds of a thread, and there are few of them."""


class Database:
    """One database for all sidecars. It may be away when the process starts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._opening = Lock()
        self._log: CallLog | None = None
        self._failed: tuple[float, StoreError] | None = None

    async def run(self, work: Callable[[CallLog], T]) -> T:
        """What `work` returns, done on a thread. Raises StoreUnavailable and what `work` raises."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: work(self._opened())
        )

    @property
    def connections(self) -> Connections | None:
        """How busy its connections are; None until it was opened."""
        return connections(self._log.engine) if self._log is not None else None

    async def aclose(self) -> None:
        """Let go of the database, after what runs has ended."""
        self._threads.shutdown()
        if self._log is not None:
            self._log.close()

    def _opened(self) -> CallLog:
        with self._opening:
            if self._log is not None:
                return self._log
            if self._failed and time.monotonic() - self._failed[0] < AWAY:
                raise self._failed[1]
            try:
                self._log = CallLog.open(self._url)
            except StoreError as error:
                self._failed = time.monotonic(), error
                raise
            return self._log
