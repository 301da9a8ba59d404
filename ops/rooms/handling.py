"""Handling kept webhook events: each once, whoever of several `ops serve` it is.

An event is claimed, given to the sidecars that asked for it, and then its facts are written and it
is marked as handled in one transaction. A process that dies in between loses its claim in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from uuid import uuid4

from google.protobuf.json_format import ParseError

from agent import log, metrics, tasks
from agent.errors import EventRefused, StoreError
from agent.store.room_rows import Applied, Change
from agent.store.rooms import Rooms
from agent.store.webhooks import MOST_ATTEMPTS, WebhookEvents, WebhookRow
from ops.front.database import Database
from ops.front.events import Events, Told
from ops.rooms.changes import change
from ops.rooms.ended import judge
from ops.webhooks.reading import parse

logger = log.get(__name__)

BATCH = 200
"""Events that are handled in one transaction, at most."""

GATHER = 0.1
"""Seconds that news are gathered for: events that come together are handled together."""

CLAIM = 30.0
"""Seconds for a claimed batch; then the events of a process that died are somebody else's."""

PATIENCE = 20.0
"""Seconds that all sidecars together may take with one event: less than a claim lasts."""

LOOK = 2.0
"""Seconds between two looks for events that another process kept, or that are due again."""

AGAIN = 5.0
"""Seconds until an event is tried again that could not be handled; doubled each time."""


class Handling:
    """The handler of one process."""

    def __init__(self, database: Database, events: Events, prefix: str) -> None:
        """A call is opened only in rooms whose name begins with `prefix`."""
        self._database = database
        self._events = events
        self._prefix = prefix
        self._who = uuid4().hex
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Handle what waits, and what comes."""
        self._running = tasks.spawn(self._run(), "webhook-handling")

    def tell(self) -> None:
        """There is something new."""
        self._news.set()

    async def aclose(self) -> None:
        """Leave what is claimed to be claimed again."""
        await tasks.end(self._running)

    async def _run(self) -> None:
        took = 0.0
        while True:
            self._news.clear()
            await asyncio.sleep(max(GATHER, took))  # what comes in goes before what is in
            begun = time.monotonic()
            try:
                found = await self._database.run(
                    lambda db: WebhookEvents(db.engine).claim(self._who, BATCH, CLAIM)
                )
                await self._handle(found)
            except StoreError as error:
                found = []
                logger.warning("webhooks wait", reason="the database is away", error=str(error))
            except Exception:
                # The boundary of handling: what is broken is claimed again, and given up in time.
                found = []
                logger.exception("webhooks could not be handled", action="try again")
            took = time.monotonic() - begun
            if not found:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), LOOK)

    async def _handle(self, rows: Sequence[WebhookRow]) -> None:
        told = await asyncio.gather(*(self._tell(row) for row in rows))
        changes = [change for change in told if change is not None]
        if not changes:
            return
        try:
            await self._apply(changes)
        except EventRefused:
            by_id = {row.id: row for row in rows}
            for one in changes:
                try:
                    await self._apply([one])
                except EventRefused as error:
                    await self._release(by_id[one.event_id], str(error))

    async def _apply(self, changes: Sequence[Change]) -> None:
        applied: Applied = await self._database.run(
            lambda db: Rooms(db.engine).apply(self._who, changes, judge)
        )
        metrics.CONNECTIONS.inc(applied.new_callers)
        metrics.CONNECTION_ERRORS.inc(applied.aborted)
        metrics.WEBHOOKS_HANDLED.inc(len(applied.events))
        for call_id in applied.closed:
            logger.info("a call is closed by its room", call=call_id)

    async def _tell(self, row: WebhookRow) -> Change | None:
        """What the event changes, after everybody has heard of it; None: not handled yet."""
        try:
            told = Told(
                id=row.id,
                event=row.event,
                room=row.room,
                room_sid=row.room_sid,
                at=row.created_at,
                body=parse(row.body),
            )
        except ParseError as error:  # it was read once: a release that knew more kept it
            logger.warning("an event cannot be read", event_id=row.id, error=str(error))
            return Change(event_id=row.id)
        try:
            async with asyncio.timeout(PATIENCE):
                for handler in self._events.handlers(row.event):
                    await handler(told)
        except Exception as error:
            # The boundary of a sidecar: whatever it failed of, the event is tried again.
            logger.exception("an event could not be handled", kind=row.event, event_id=row.id)
            await self._release(row, f"{type(error).__name__}: {error}")
            return None
        return change(told, self._prefix)

    async def _release(self, row: WebhookRow, error: str) -> None:
        if row.attempts >= MOST_ATTEMPTS:
            logger.critical("an event is given up", kind=row.event, event_id=row.id)
        pause = AGAIN * 2 ** (row.attempts - 1)
        await self._database.run(
            lambda db: WebhookEvents(db.engine).release(self._who, row.id, log_safe(error), pause)
        )


def log_safe(error: str) -> str:
    """The error without numbers and without what providers answered, short enough to keep."""
    return log.clean(error)[:500]
