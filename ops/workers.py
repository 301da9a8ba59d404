"""Workers that write their calls through this control plane: their word, and their silence.

Who reports holds a lease in the database for as long as it is heard of. When a lease has run out,
the calls of that worker are closed by one `ops serve` of all. Whoever writes an event for the first
time counts it, so that a sum over several `ops serve` counts each call once; how many calls go on
is told by one of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from threading import Lock

from livekit import api

from agent import log, metrics, tasks
from agent.call import EndReason, now
from agent.errors import EventRefused, LiveKitError, NotFound, StoreError
from agent.events import CallEnded, Event, is_passing
from agent.livekit import LiveKit
from agent.store import CallLog
from agent.store.leases import Leases
from agent.store.projection import told_again
from agent.tally import Going, Silent, Tally, Without
from ops.front.database import Database
from ops.lease import Lease

logger = log.get(__name__)

HEARD = 30.0
"""Seconds after its last report in which a worker is taken to live: six heartbeats."""

LOOK = 5.0
"""Seconds between two looks for workers that have fallen silent."""

PREFIX = "worker/"
"""What the names of the workers' leases begin with."""

HOLDER = "worker"

FORGOTTEN = timedelta(days=1)
"""After its last report by so much, nothing is kept of a worker."""

SILENT = "its worker is not heard of any more"
GONE = "its worker ended without it"
"""The details of ends that are written, and counted, here."""

MOST_KNOWN = 1000
"""Calls of which is remembered how far they were counted; the call log knows it of all."""


@dataclass(slots=True)
class Written:
    """What became of the events of one report."""

    new: list[Event] = field(default_factory=list)
    refused: list[tuple[Event, str]] = field(default_factory=list)


def write(db: CallLog, entries: Sequence[tuple[str, Event]]) -> Written:
    """Write events, each with the id of its worker. Raises StoreError: then they are sent again."""
    written = Written()
    for worker_id, group in groupby(entries, key=lambda entry: entry[0]):
        events = [event for _, event in group]
        try:
            written.new += db.apply(worker_id, events)
        except EventRefused:
            for event in events:
                try:
                    written.new += db.apply(worker_id, [event])
                except EventRefused as error:
                    written.refused.append((event, str(error)))
    written.new = _with_passing(entries, written.new)
    return written


def _with_passing(entries: Sequence[tuple[str, Event]], new: Sequence[Event]) -> list[Event]:
    """The new events with the passing ones among them, which the call log knows nothing of.

    Reports are written whole: one is as new as the next of its call that is kept.
    """
    fresh = {id(event) for event in new}
    is_new: dict[str, bool] = {}
    found = []
    for _, event in reversed(entries):
        if not is_passing(event):
            is_new[event.call_id] = id(event) in fresh
        if is_new.get(event.call_id, True):
            found.append(event)
    return found[::-1]


def close(db: CallLog, call_ids: Iterable[str], detail: str, *, provisional: bool) -> list[str]:
    """Close calls whose worker is gone; those that nobody had closed."""
    return [
        call_id
        for call_id in call_ids
        if db.end_call(call_id, EndReason.WORKER_KILLED, detail=detail, provisional=provisional)
    ]


class Counting:
    """Counts each event once, whichever `ops serve` hears of the call before and after it."""

    def __init__(self) -> None:
        # How many calls go on is no matter of one process: see Workers.
        self._tally = Tally(Without(metrics, "CALLS_ACTIVE", "QUALITY"))
        self._counted: dict[str, int] = {}
        self._lock = Lock()

    def hear(self, db: CallLog, new: Sequence[Event]) -> None:
        """Count events that have just been written. Blocks. Raises StoreError."""
        with self._lock:
            new = [event for event in new if not self._has_passed(event)]
            self._recall(db, new)
            for event in new:
                self._tally.count(event)
                self._counted[event.call_id] = event.seq
                if isinstance(event, CallEnded):
                    del self._counted[event.call_id]

    def closed(self, db: CallLog, call_ids: Sequence[str]) -> None:
        """Count calls that were closed here. Blocks. Raises StoreError."""
        with self._lock:
            for call_id, events in _histories(db, call_ids).items():
                self._tally.recall(call_id, [e for e in events if not isinstance(e, CallEnded)])
                self._counted.pop(call_id, None)
                last = max(event.at for event in events)
                end = CallEnded(call_id=call_id, seq=0, at=last, reason=EndReason.WORKER_KILLED)
                self._tally.hear(end)

    def _has_passed(self, event: Event) -> bool:
        return is_passing(event) and event.seq <= self._counted.get(event.call_id, 0)

    def _recall(self, db: CallLog, new: Sequence[Event]) -> None:
        """Know what was counted of these calls by others, or before this process was there."""
        if len(self._counted) > MOST_KNOWN:
            self._counted.clear()
            self._tally.forget()
        firsts: dict[str, Event] = {}
        for event in new:
            firsts.setdefault(event.call_id, event)
        strange = [
            call_id
            for call_id, first in firsts.items()
            if first.seq != self._counted.get(call_id, 0) + 1
        ]
        fresh = {(event.call_id, event.seq) for event in new}
        for call_id, events in _histories(db, strange).items():
            before = [e for e in events if (call_id, e.seq) not in fresh and _was_counted(e)]
            self._tally.recall(call_id, before)


class Workers:
    """Closes the calls of workers that have fallen silent, and tells how many calls go on."""

    def __init__(
        self, database: Database, livekit: LiveKit | None, lease: Lease, counting: Counting
    ) -> None:
        """It acts only while it has `lease`. Without `livekit` silence alone is believed."""
        self._database = database
        self._livekit = livekit
        self._lease = lease
        self._counting = counting
        self._steady_since = 0.0
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._steady_since = time.monotonic()
        self._looking = tasks.spawn(self._keep_looking(), "silent-workers")

    async def aclose(self) -> None:
        """Look no more."""
        await tasks.end(self._looking)
        await self._lease.aclose()

    async def look(self) -> list[str]:
        """Look once; the ids of calls that were closed. Raises StoreError."""
        known = await self._database.run(lambda db: Leases(db.engine).beginning(PREFIX))
        calls = await self._database.run(lambda db: db.open_calls())
        at = now()
        theirs = {
            call_id: known[name] for call_id, one in calls if (name := lease_of(one)) in known
        }
        metrics.WORKERS.set(sum(until > at for until in known.values()))
        closed: list[str] = []
        # While nobody could report, nobody did: all are given the time to be heard of again.
        if time.monotonic() - self._steady_since >= HEARD:
            silent = [call_id for call_id, until in theirs.items() if until <= at]
            alone = [call_id for call_id in silent if not await self._has_agent(call_id)]
            closed = await self._database.run(lambda db: close(db, alone, SILENT, provisional=True))
            await self._database.run(lambda db: self._counting.closed(db, closed))
            if closed:
                logger.warning("calls of silent workers were closed", calls=len(closed))
            await self._forget(name for name, until in known.items() if at - until > FORGOTTEN)
        going = await self._database.run(lambda db: _going(db, theirs.keys() - {*closed}))
        _tell(going)
        return closed

    async def _has_agent(self, call_id: str) -> bool:
        """Whether the call seems to go on: then its worker is only cut off from here."""
        if self._livekit is None:
            return False
        call = (await self._database.run(lambda db: db.get_call(call_id))).call
        try:
            found = await self._livekit.room.list_participants(
                api.ListParticipantsRequest(room=call.room)
            )
        except NotFound:
            return False
        except LiveKitError as error:
            logger.debug("a silent worker's call is left alone", call=call_id, error=str(error))
            return True
        return any(one.kind == api.ParticipantInfo.Kind.AGENT for one in found.participants)

    async def _forget(self, names: Iterable[str]) -> None:
        old = list(names)

        def work(db: CallLog) -> None:
            for name in old:
                Leases(db.engine).leave(name, HOLDER)

        if old:
            await self._database.run(work)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                if await self._lease.is_held():
                    await self.look()
                else:
                    metrics.WORKERS.set(0)
                    _tell(())
            except StoreError as error:
                logger.debug("workers cannot be looked after", error=str(error))
                self._steady_since = time.monotonic()
            except Exception:
                # The boundary of a look: the next one may find things in order.
                logger.exception("workers cannot be looked after")


def lease_of(worker_id: str) -> str:
    """The name of the lease of a worker, whose id may be long."""
    return PREFIX + hashlib.sha256(worker_id.encode()).hexdigest()[:32]


def _histories(db: CallLog, call_ids: Collection[str]) -> dict[str, list[Event]]:
    """What is known of these calls, the ends last, as far as this release can read it."""
    found: dict[str, list[Event]] = {}
    for call_id, rows in (db.histories(call_ids) if call_ids else {}).items():
        events = found.setdefault(call_id, [])
        for row in rows:
            try:
                events.append(told_again(call_id, row))
            except ValueError:
                continue
        events.sort(key=lambda event: isinstance(event, CallEnded))
    return found


def _was_counted(event: Event) -> bool:
    """All were, but ends that were told by the room and not by the call."""
    return not isinstance(event, CallEnded) or event.seq > 0 or event.detail in {SILENT, GONE}


def _going(db: CallLog, call_ids: Collection[str]) -> list[Going]:
    tally = Tally(Silent())
    for events in _histories(db, call_ids).values():
        for event in events:
            tally.hear(event)
    return [call for call in tally.going if call.joined_at is not None]


def _tell(going: Collection[Going]) -> None:
    for kind in metrics.KINDS:
        metrics.CALLS_ACTIVE.labels(kind).set(sum(call.kind == kind for call in going))
    scores = [
        call.score for call in going if call.score is not None and call.kind in metrics.BUSINESS
    ]
    metrics.QUALITY.set(sum(scores) / len(scores) if scores else 0)
