"""Records that nobody closes: every while, what is open is compared with the rooms there are.

So nothing depends on a webhook that arrives. A room must be missing from two lists, and the end
that is written gives way to the job's own word, should it come.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from livekit import api

from agent import log, metrics, tasks
from agent.call import EndReason, now
from agent.errors import CallUnknown, LiveKitError, StoreError
from agent.livekit import LiveKit
from agent.store.call_log import CallLog
from agent.store.recordings import Recordings
from agent.store.room_rows import RoomCall
from agent.store.rooms import Rooms
from agent.store.webhooks import WebhookEvents
from config.settings import Settings
from ops.front.database import Database
from ops.lease import Lease
from ops.rooms.ended import judge
from ops.rooms.silent import SIMULATED, Silent

logger = log.get(__name__)

COUNTED = 2.0
"""Seconds between two counts of rooms and participants."""

OF_ALL = (
    metrics.ROOMS,
    metrics.PARTICIPANTS,
    metrics.WEBHOOK_LAG,
    metrics.WEBHOOKS_GIVEN_UP,
    metrics.RECORDINGS_ACTIVE,
)
"""Gauges that one process tells for all; the others tell 0."""


class Reconciler:
    """Closes what is left open, and tells how many rooms and participants there are."""

    def __init__(
        self,
        livekit: LiveKit,
        database: Database,
        settings: Settings,
        lease: Lease,
        silent: Silent | None = None,
    ) -> None:
        """It acts only while it has `lease`. `silent` looks after calls without a heartbeat."""
        self._silent = silent
        self._livekit = livekit
        self._database = database
        self._every = settings.rooms.reconcile_every
        self._keep_days = settings.webhooks.keep_days
        self._lease = lease
        self._missing: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Compare and count from now on."""
        self._tasks = [
            tasks.spawn(self._keep_comparing(), "reconciler"),
            tasks.spawn(self._keep_counting(), "room-counts"),
        ]

    async def aclose(self) -> None:
        """Compare no more."""
        await tasks.end(*self._tasks)

    async def compare(self) -> list[str]:
        """Compare once; the ids of calls that were closed. Raises LiveKitError, StoreError."""
        listed = await self._livekit.room.list_rooms(api.ListRoomsRequest())
        sids, names = {room.sid for room in listed.rooms}, {room.name for room in listed.rooms}

        def is_gone(sid: str, name: str) -> bool:
            # After a restart of LiveKit the same call goes on in a room of the same name.
            return sid not in sids and name not in names and not sid.startswith(SIMULATED)

        rooms = await self._database.run(lambda db: Rooms(db.engine).open_rooms())
        calls = await self._database.run(lambda db: Rooms(db.engine).open_calls())
        gone = {room.sid for room in rooms if is_gone(room.sid, room.name)}
        gone |= {call.room_sid for call in calls if is_gone(call.room_sid, call.room)}
        certain, self._missing = gone & self._missing, gone
        if not certain:
            return []
        known = [room.sid for room in rooms if room.sid in certain]
        closed = await self._database.run(
            lambda db: Rooms(db.engine).end_rooms(known, now(), judge)
        )
        for call in calls:
            if call.room_sid in certain and call.id not in closed and await self._close(call):
                closed.append(call.id)
        metrics.CALLS_RECONCILED.inc(len(closed))
        for call_id in closed:
            logger.warning("a call that nobody closed is closed", call=call_id)
        return closed

    async def _close(self, call: RoomCall) -> bool:
        """Close a call of whose room nothing is known but that it is gone.

        The job would have said why, or the worker that it was killed: so the worker is gone.
        """

        def work(db: CallLog) -> bool:
            state = Rooms(db.engine).state(call.room_sid)
            ended = judge(state) if state else None
            reason = ended.reason if ended else EndReason.WORKER_KILLED
            detail = "its room is gone, and nobody closed it"
            return db.end_call(call.id, reason, detail=detail, provisional=True)

        try:
            return await self._database.run(work)
        except CallUnknown:
            return False  # a stand-in that gave way just now

    async def _keep_comparing(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                if await self._lease.is_held():
                    await self.compare()
                    if self._silent:
                        await self._silent.look()
                    await self._forget()
                else:
                    self._missing.clear()
                    if self._silent:
                        self._silent.forget()
            except (LiveKitError, StoreError) as error:
                logger.debug("records cannot be compared with rooms", error=str(error))
            except Exception:
                # The boundary of a comparison: the next one may find things in order.
                logger.exception("records cannot be compared with rooms")

    async def _forget(self) -> None:
        """Old events, which nobody will send again."""
        before = now() - timedelta(days=self._keep_days)
        await self._database.run(lambda db: WebhookEvents(db.engine).forget(before))

    async def _keep_counting(self) -> None:
        while True:
            try:
                await self._count()
            except StoreError as error:
                logger.debug("rooms cannot be counted", error=str(error))
            await asyncio.sleep(COUNTED)

    async def _count(self) -> None:
        """The gauges of all rooms: those of one process only, so that sums count them once."""
        if not await self._lease.is_held():
            for gauge in OF_ALL:
                gauge.set(0)
            return
        rooms, people = await self._database.run(lambda db: Rooms(db.engine).counts())
        waiting = await self._database.run(lambda db: WebhookEvents(db.engine).waiting())
        recordings = await self._database.run(lambda db: Recordings(db.engine).going_on())
        metrics.RECORDINGS_ACTIVE.set(recordings)
        metrics.ROOMS.set(rooms)
        metrics.PARTICIPANTS.set(people)
        lag = (now() - waiting.oldest).total_seconds() if waiting.oldest else 0.0
        metrics.WEBHOOK_LAG.set(max(0.0, lag))
        metrics.WEBHOOKS_GIVEN_UP.set(waiting.given_up)
