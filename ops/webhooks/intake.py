"""Webhook events are kept before they are acknowledged: many in one transaction, else on disk.

One writer takes whatever waits and writes it together (group commit), so that hundreds of events a
second cost a few commits. While the database is away, or does not answer in time, events go to the
spool; when it is back, the spool is replayed first, so that the order stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from agent import log, metrics, tasks
from agent.errors import EventRefused, StoreError, StoreUnavailable, VoiceAgentError
from agent.store.webhooks import WebhookEvents, WebhookRow
from ops.front.database import Database
from ops.webhooks.spool import WebhookSpool

logger = log.get(__name__)

T = TypeVar("T")

BATCH = 500
"""Events in one transaction, at most."""

MOST_WAITING = 5000
"""Events that may wait to be written; LiveKit sends what is refused again."""

PATIENCE = 4.0
"""Seconds for a transaction; then the events go to the spool. The database knows them by their
ids, if it comes to that transaction later."""

RETRY = 1.0
"""Seconds between two attempts to give the spool back to the database."""

LOOK = 30.0
"""Seconds between two looks for a spool that another process has left."""


class NotKept(VoiceAgentError):
    """Neither the database nor the spool took the event."""


class Intake:
    """The one way in for the webhook events of one process."""

    def __init__(self, database: Database, spool: WebhookSpool, news: Callable[[], None]) -> None:
        """`news` is called when new events are in the database."""
        self._database = database
        self._spool = spool
        self._news = news
        self._queue: asyncio.Queue[tuple[WebhookRow, asyncio.Future[bool]]] = asyncio.Queue(
            MOST_WAITING
        )
        self._is_spooling = True
        """Until it is known that no spool waits."""
        self._due = 0.0
        self._slow: asyncio.Task[Any] | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def is_spooling(self) -> bool:
        """Whether the database is away, so that events wait in the spool."""
        return self._is_spooling

    def start(self) -> None:
        """Take events from now on."""
        self._running = tasks.spawn(self._run(), "webhook-intake")

    async def aclose(self) -> None:
        """Write what waits, and end."""
        if self._running and not self._running.done():
            await self._queue.join()
        await tasks.end(self._running)

    async def keep(self, row: WebhookRow) -> bool:
        """Return when the event survives a crash; False when it was known before.

        Raises NotKept.
        """
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((row, done))
        except asyncio.QueueFull:
            metrics.WEBHOOKS.labels("refused").inc()
            raise NotKept("too many events wait to be written") from None
        return await done

    async def _run(self) -> None:
        while True:
            batch: list[tuple[WebhookRow, asyncio.Future[bool]]] = []
            try:
                batch = await self._next()
                if self._is_spooling and time.monotonic() >= self._due:
                    await self._replay()
            except Exception:
                # The boundary of the spool: whatever it holds or is on, new events are written.
                logger.exception("the spool of webhooks cannot be looked after")
                self._due = time.monotonic() + RETRY
            if batch:
                await self._settle(batch)

    async def _next(self) -> list[tuple[WebhookRow, asyncio.Future[bool]]]:
        """What waits; nothing when it is time to look after the spool."""
        pause = max(0.0, self._due - time.monotonic()) if self._is_spooling else LOOK
        try:
            batch = [await asyncio.wait_for(self._queue.get(), pause)]
        except TimeoutError:
            if not self._is_spooling:
                self._is_spooling = await asyncio.to_thread(self._spool.size) > 0
            return []
        while len(batch) < BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    async def _settle(self, batch: Sequence[tuple[WebhookRow, asyncio.Future[bool]]]) -> None:
        rows = [row for row, _ in batch]
        new: set[str] | None = None
        error: NotKept | None = None
        try:
            new = await self._keep(rows)
        except OSError as refused:
            metrics.WEBHOOKS.labels("refused").inc(len(rows))
            logger.critical("webhooks cannot be kept", action="answer 503", error=str(refused))
            error = NotKept()
        except Exception:
            # The boundary of the writer: whatever broke, the next events are written.
            logger.exception("webhooks cannot be kept", action="answer 503")
            error = NotKept()
        for row, done in batch:
            self._queue.task_done()
            if done.done():
                continue  # whoever asked has gone
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(new is None or row.id in new)
                if new is not None:
                    new.discard(row.id)  # told twice at once: the second was known

    async def _keep(self, rows: list[WebhookRow]) -> set[str] | None:
        """The ids of the new ones; None: not known, they are in the spool. Raises OSError."""
        was_spooling = self._is_spooling
        if not was_spooling:
            try:
                return await self._write(rows)
            except EventRefused as error:
                return await self._one_by_one(rows, error)
            except StoreError as error:
                logger.error("webhooks go to the spool", error=str(error))
                self._is_spooling, self._due = True, time.monotonic() + RETRY
        try:
            await asyncio.to_thread(self._spool.append, rows)
        except OSError:
            if not was_spooling:
                raise
            # A spool that takes nothing may be one that cannot be replayed, before a good database.
            with contextlib.suppress(StoreError):
                return await self._write(rows)
            raise
        metrics.WEBHOOKS.labels("spooled").inc(len(rows))
        metrics.SPOOL_BYTES.labels("webhooks").set(await asyncio.to_thread(self._spool.size))
        return None

    async def _one_by_one(self, rows: list[WebhookRow], error: EventRefused) -> set[str] | None:
        if len(rows) == 1:
            await asyncio.to_thread(self._spool.bury_rows, rows, str(error))
            metrics.WEBHOOKS.labels("dead").inc()
            return {rows[0].id}
        found = [await self._keep([row]) for row in rows]
        return {row.id for row, new in zip(rows, found, strict=True) if new is None or new}

    async def _write(self, rows: list[WebhookRow]) -> set[str]:
        """The ids of the new ones, in the database. Raises StoreError."""
        new = await self._in_time(self._database.run(lambda db: WebhookEvents(db.engine).add(rows)))
        metrics.WEBHOOKS.labels("stored").inc(len(new))
        metrics.WEBHOOKS.labels("known").inc(len(rows) - len(new))
        self._news()
        return new

    async def _replay(self) -> None:
        try:
            more = await self._in_time(
                self._database.run(lambda db: self._spool.replay(WebhookEvents(db.engine).add))
            )
        except StoreError as error:
            logger.debug("the database is still away", error=str(error))
            self._due = time.monotonic() + RETRY
            return
        except OSError as error:
            logger.critical("the spool of webhooks cannot be replayed", error=str(error))
            self._due = time.monotonic() + RETRY
            return
        self._due = 0.0
        self._news()
        if not more:
            self._is_spooling = False
            logger.info("webhooks go to the database")
        metrics.SPOOL_BYTES.labels("webhooks").set(await asyncio.to_thread(self._spool.size))

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """What the database answers. Raises StoreUnavailable when it takes too long.

        A thread cannot be called back: until it has ended, nothing else is asked of the database.
        """
        if self._slow is not None and not self._slow.done():
            work.close()
            raise StoreUnavailable("the database is still at what it was asked before")
        task = asyncio.create_task(work, name="webhook-write")
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        if not done:
            self._slow = task
            task.add_done_callback(_forget)
            raise StoreUnavailable(f"the database did not answer within {PATIENCE:.0f} s")
        return task.result()


def _forget(task: asyncio.Task[Any]) -> None:
    """Nobody waits for this answer any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.debug("a late answer of the database", error=type(error).__name__)
