"""The worker's one writer of the call log: events in, rows out, a spool while the database is away.

All database work runs on one thread of its own, so that neither the loop nor another writer waits.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

from agent import log, tasks
from agent.call import EndReason
from agent.errors import EventRefused, StoreError, StoreUnavailable
from agent.events import Event, encode
from agent.spool import Spool
from agent.store import CallLog

logger = log.get(__name__)

P = ParamSpec("P")
T = TypeVar("T")

RETRY = 2.0
"""Seconds between two attempts to reach a database that is away."""

LOCK_AGE = 60.0
"""Seconds after which a lock that nobody holds is that of a worker that is gone."""


class Ledger:
    """Writes events for good: `add` returns when an event is in the database or in the spool."""

    def __init__(
        self,
        url: str,
        folder: Path,
        abandoned: Callable[[Iterable[str]], Awaitable[None]],
        priced: Callable[[Iterable[Event]], list[Event]] = list,
    ) -> None:
        self._url = url
        self._abandoned = abandoned
        self._priced = priced
        self._spool = Spool(folder / "spool")
        self._presence = Presence(folder / "run")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="call-log")
        self._log: CallLog | None = None
        self._queue: asyncio.Queue[tuple[Event, asyncio.Future[None]]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def worker_id(self) -> str:
        """This worker among all, as the call log names it."""
        return self._presence.worker_id

    @property
    def is_degraded(self) -> bool:
        """Whether the database is away, so that events wait in the spool."""
        return self._log is None

    async def open(self) -> None:
        """Migrate the database, replay the spool, close the calls of workers that are gone.

        A database that does not answer is no obstacle: the ledger spools and tries again.
        Raises StoreTooNew when this code is too old for the database, StoreError for a bad URL,
        OSError when the data folder cannot be written.
        """
        self._presence.announce()
        rooms: list[str] = []
        try:
            rooms = await self._on_thread(self._recover)
        except StoreUnavailable as error:
            logger.error("the call log is away", action="spool", error=str(error))
        self._tasks = [
            tasks.spawn(self._write(), "ledger-write"),
            tasks.spawn(self._reconnect(rooms), "ledger-reconnect"),
        ]

    async def add(self, event: Event) -> None:
        """Return when `event` is durable.

        Raises OSError when neither place can be written, ValueError for what is no call's id.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._queue.put((event, done))
        await done

    async def run(self, work: Callable[[CallLog], T]) -> T:
        """What `work` makes of the database, on its thread. Raises StoreError, also while away."""
        return await self._on_thread(self._with_log, work)

    async def aclose(self) -> None:
        """Write what waits, then close the database."""
        if self._tasks:
            await self._queue.join()
        await tasks.end(*self._tasks)
        await self._on_thread(self._close)
        self._thread.shutdown()

    async def _write(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._on_thread(self._apply, [event for event, _ in batch])
            except (OSError, ValueError) as error:
                logger.critical("events could not be kept", error=str(error))
                _settle(batch, error)
            else:
                _settle(batch, None)
            for _ in batch:
                self._queue.task_done()

    async def _reconnect(self, rooms: list[str]) -> None:
        await self._abandoned(rooms)
        while True:
            await asyncio.sleep(RETRY)
            if self._log is None:
                try:
                    await self._abandoned(await self._on_thread(self._recover))
                    logger.info("the call log is back", action="replayed the spool")
                except (StoreError, OSError) as error:
                    logger.debug("the call log is still away", error=str(error))

    def _recover(self) -> list[str]:
        """Reach the database and put it in order; the rooms of calls that workers left behind."""
        call_log = CallLog.open(self._url)
        try:
            self._spool.replay(
                lambda worker_id, events: call_log.apply(worker_id, self._priced(events))
            )
            closed = call_log.close_orphans(self._presence.is_gone, EndReason.WORKER_KILLED)
            rooms = [call_log.get_call(call_id).call.room for call_id in closed]
        except BaseException:
            call_log.close()
            raise
        if closed:
            logger.warning("calls of workers that are gone were closed", calls=len(closed))
        self._presence.sweep()
        self._log = call_log
        return rooms

    def _apply(self, events: list[Event]) -> None:
        if self._log is not None:
            try:
                self._log.apply(self._presence.worker_id, self._priced(events))
            except StoreUnavailable as error:
                logger.error("the call log is away", action="spool", error=str(error))
                self._log.close()
                self._log = None
            except StoreError as error:
                if isinstance(error, EventRefused) and len(events) > 1:
                    for event in events:
                        self._apply([event])
                    return
                logger.error("events were not written", action="spool", error=str(error))
            else:
                return
        for event in events:
            self._spool.append(event.call_id, [encode(event)], self._presence.worker_id)

    def _with_log(self, work: Callable[[CallLog], T]) -> T:
        if self._log is None:
            raise StoreUnavailable("the call log is away")
        return work(self._log)

    def _close(self) -> None:
        if self._log is not None:
            self._log.close()
        self._presence.leave()

    async def _on_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on the one thread that touches the database."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *args, **kwargs))


def _settle(batch: list[tuple[Event, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, done in batch:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def residents(folder: Path) -> int:
    """How many processes hold a lock in `folder`: those that live by this data folder now."""
    return sum(not Presence.is_free(path) for path in folder.glob("*.lock"))


class Presence:
    """That this worker is alive, told to later ones by a lock that dies with the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Two workers of one host may keep their data apart: neither can tell if the other lives.
        place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
        self._host = f"{socket.gethostname()}-{place}"
        self._name = uuid4().hex[:12]
        self._file: int | None = None

    @property
    def worker_id(self) -> str:
        """This worker among all: host and folder, and a name of its own."""
        return f"{self._host}/{self._name}"

    def announce(self) -> None:
        """Take the lock. Raises OSError when the folder cannot be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path(self._name), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def is_gone(self, worker_id: str) -> bool:
        """Whether `worker_id` was a worker of this host and folder that has ended."""
        host, _, name = worker_id.partition("/")
        if host != self._host or name == self._name or not name:
            return False
        return self.is_free(self._path(name))

    def gone(self) -> list[str]:
        """The workers of this host and folder that left their locks behind when they ended."""
        names = (path.stem for path in self._folder.glob("*.lock"))
        return [one for name in names if self.is_gone(one := f"{self._host}/{name}")]

    def sweep(self) -> None:
        """Remove the locks of workers that are gone: nothing is asked about them any more."""
        for path in self._folder.glob("*.lock"):
            try:
                # A lock is younger than this while its worker is about to take it.
                if time.time() - path.stat().st_mtime > LOCK_AGE and self.is_free(path):
                    path.unlink()
            except FileNotFoundError:
                continue  # its worker left just now

    def leave(self) -> None:
        """Release the lock."""
        if self._file is not None:
            self._path(self._name).unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    @staticmethod
    def is_free(path: Path) -> bool:
        """Whether nobody holds the lock, or there is none."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"
