"""The ledger of a worker without a lasting disk: `ops serve` writes its events into the call log.

An event is safe when it is in the outbox, a spool on the worker's own disk; from there events go
out in order, many in one report, and leave the outbox when they were acknowledged. An event that
is sent twice is known by its call and number. A report is a heartbeat, too: the calls of a worker
that sends none are closed by `ops serve`.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from agent import log, tasks
from agent.connection import delays
from agent.events import Event, encode
from agent.ledger import Presence
from agent.remote_client import NotTaken, Reporter, TooMuch
from agent.spool import Piece, Spool
from config.sections import Worker

logger = log.get(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PACE = 1.0
"""Seconds between two reports while nothing is overdue: `ops serve` counts requests."""

BEAT = 5.0
"""Seconds after which a report without events is sent."""

LONGEST = 10.0
"""Seconds at most between two reports, whatever the other side asks for: silence means death."""

MOST = 256 * 1024
"""Bytes of events in one report, about."""

FAREWELL = 8.0
"""Seconds for the last reports of a worker that ends."""


class RemoteLedger:
    """Has events written elsewhere: `add` returns when an event is in the outbox."""

    def __init__(
        self,
        section: Worker,
        folder: Path,
        abandoned: Callable[[Iterable[str]], Awaitable[None]],
        priced: Callable[[Iterable[Event]], list[Event]] = list,
    ) -> None:
        self._presence = Presence(folder / "run")
        key = section.report_key.get_secret_value()
        self._reporter = Reporter(section.report_to, key, self.worker_id)
        self._outboxes = folder / "outbox"
        self._own = self._outboxes / self.worker_id.rpartition("/")[2]
        self._outbox = Spool(self._own)
        self._left_by_jobs = Spool(folder / "spool")
        self._abandoned = abandoned
        self._priced = priced
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._taken: dict[Path, int] = {}
        self._bad: set[Path] = set()
        self._most = MOST
        self._gone: list[str] = []
        self._news = asyncio.Event()
        self._looked_at = time.monotonic()
        self._is_away = True
        self._reporting: asyncio.Task[None] | None = None

    @property
    def worker_id(self) -> str:
        """This worker among all, as the call log names it."""
        return self._presence.worker_id

    @property
    def is_degraded(self) -> bool:
        """Whether `ops serve` is away, so that events wait in the outbox."""
        return self._is_away

    async def open(self) -> None:
        """Take over what workers that are gone have left, and report from now on.

        An `ops serve` that does not answer is no obstacle. Raises OSError when the data folder
        cannot be written.
        """
        self._presence.announce()
        self._gone = await self._on_thread(self._inherit)
        try:
            await self._report(ends=False)
        except NotTaken as error:
            self._missed(error)
        self._reporting = tasks.spawn(self._keep_reporting(), "remote-report")

    async def add(self, event: Event) -> None:
        """Return when `event` is durable.

        Raises OSError when the outbox cannot be written, ValueError for what is no call's id.
        """
        await self._on_thread(self._outbox.append, event.call_id, [encode(event)], self.worker_id)
        self._news.set()

    async def aclose(self) -> None:
        """Send what waits, as far as it is taken in FAREWELL seconds; the rest stays on disk."""
        await tasks.end(self._reporting)
        if self._reporting is not None:
            await self._on_thread(self._left_by_jobs.replay, self._take_over)
            try:
                async with asyncio.timeout(FAREWELL):
                    while await self._report(ends=True):
                        pass
            except (NotTaken, TimeoutError) as error:
                waiting = self._outbox.pending()
                logger.error("a worker ends unheard", calls_unsent=waiting, error=str(error))
        await self._reporter.aclose()
        await self._on_thread(self._leave)
        self._thread.shutdown()

    async def _keep_reporting(self) -> None:
        pauses = delays(random.Random())
        more, beaten = True, time.monotonic()
        while True:
            if not more:
                await self._wait(beaten + BEAT - time.monotonic())
            self._news.clear()
            try:
                more = await self._report(ends=False)
            except NotTaken as error:
                self._missed(error)
                more = True
                await asyncio.sleep(min(error.retry_after or next(pauses), LONGEST))
            except Exception:
                # The boundary of a report: a worker that sends none is taken to be dead.
                logger.exception("events cannot be reported", action="again")
                await asyncio.sleep(next(pauses))
            else:
                pauses, beaten = delays(random.Random()), time.monotonic()
                if not more:
                    await asyncio.sleep(PACE)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), max(0.0, seconds))
        # By the clock: a busy worker is never without news.
        if time.monotonic() - self._looked_at >= BEAT:
            await self._on_thread(self._left_by_jobs.replay, self._take_over)
            self._looked_at = time.monotonic()

    async def _report(self, *, ends: bool) -> bool:
        """Send one report; whether more waits. Raises NotTaken."""
        pieces = await self._on_thread(self._outbox.pieces, self._taken, self._most)
        entries = [entry for piece in pieces for entry in piece.entries]
        events = self._priced([event for _, event in entries])
        workers = [worker for worker, _ in entries]
        size = sum(piece.end - self._taken.get(piece.path, 0) for piece in pieces)
        is_last = size < self._most and all(piece.is_last for piece in pieces)
        gone = self._gone if is_last else []
        try:
            receipt = await self._reporter.send(
                list(zip(workers, events, strict=True)), gone=gone, leaving=ends and is_last
            )
        except TooMuch as error:
            if len(entries) <= 1:
                if not entries:
                    raise
                logger.error("an event is not taken", action="put aside", error=str(error))
                await self._on_thread(self._settle, pieces, {0})
                return True
            self._most = max(1, min(self._most, size) // 2)
            return True
        self._heard()
        for index, why in receipt.refused.items():
            logger.error("an event was refused", call=events[index].call_id, why=why)
        await self._on_thread(self._settle, pieces, set(receipt.refused))
        self._most = min(MOST, 2 * self._most)
        if gone:
            self._gone = []
        if receipt.abandoned:
            logger.warning("calls of workers that are gone were closed")
            await self._abandoned(receipt.abandoned)
        return not is_last

    def _settle(self, pieces: Sequence[Piece], refused: set[int]) -> None:
        """Let go of what was acknowledged; a file with what was refused is kept aside."""
        begin = 0
        for piece in pieces:
            end = begin + len(piece.entries)
            if piece.is_bad or refused & set(range(begin, end)):
                self._bad.add(piece.path)
            begin = end
            self._taken[piece.path] = piece.end
            is_bad = piece.path in self._bad
            if piece.is_last and self._outbox.put_away(piece.path, piece.end, is_bad=is_bad):
                del self._taken[piece.path]
                self._bad.discard(piece.path)

    def _inherit(self) -> list[str]:
        """Take what is left of workers of this folder that are gone; their ids."""
        gone = sorted({*self._presence.gone(), *self._unheard()})
        self._left_by_jobs.replay(self._take_over)
        for worker_id in gone:
            left = self._outboxes / worker_id.rpartition("/")[2]
            if not Spool(left).replay(self._take_over).kept and not (left / "bad").exists():
                shutil.rmtree(left, ignore_errors=True)
        self._presence.sweep()
        return gone

    def _unheard(self) -> list[str]:
        """Those that ended in order, with nobody to take their events: they left no lock."""
        host = self.worker_id.rpartition("/")[0]
        left = (one.name for one in self._outboxes.glob("*") if Spool(one).pending())
        return [one for name in left if self._presence.is_gone(one := f"{host}/{name}")]

    def _take_over(self, worker_id: str, events: Sequence[Event]) -> None:
        for event in events:
            self._outbox.append(event.call_id, [encode(event)], worker_id)

    def _leave(self) -> None:
        if self._own.exists() and not any(self._own.iterdir()):
            self._own.rmdir()
        self._presence.leave()

    def _missed(self, error: NotTaken) -> None:
        if not self._is_away or self._reporting is None:
            logger.error("ops serve takes no events", action="keep them", error=str(error))
        self._is_away = True

    def _heard(self) -> None:
        if self._is_away:
            logger.info("events go to ops serve")
        self._is_away = False

    async def _on_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on the one thread that touches the outbox."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *args, **kwargs))
