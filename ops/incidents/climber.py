"""Calls one level of people after the other, until somebody acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from agent import log, metrics, tasks
from agent.call import now
from agent.errors import StoreError
from agent.store import CallLog
from agent.store.incidents import Incident
from config.incidents import Contacts
from ops.front.database import Database
from ops.incidents.automatic import Automatic
from ops.incidents.desk import Desk
from ops.incidents.policy import POLICIES, steps_due
from ops.lease import Lease

logger = log.get(__name__)

EVERY = 2.0
"""Seconds between two looks."""


class Climber:
    """Looks after the open incidents of one database, while it has the lease."""

    def __init__(
        self,
        database: Database,
        contacts: Contacts,
        lease: Lease,
        automatic: Automatic,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = database
        self._contacts = contacts
        self._lease = lease
        self._automatic = automatic
        self._clock = clock
        self._climbing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Call people from now on."""
        self._climbing = tasks.spawn(self._keep_climbing(), "incidents")

    async def aclose(self) -> None:
        """Call nobody any more."""
        await tasks.end(self._climbing)

    async def climb(self) -> int:
        """One look: how many levels were called. Raises StoreError."""
        called = 0
        for incident in await self._database.run(lambda db: self._desk(db).store.climbing()):
            await self._automatic.begin(incident)
            due = steps_due(incident.level, incident.climbs_from, self._clock())
            for step in range(incident.step + 1, due + 1):
                called += await self._call(incident, step)
        return called

    async def _call(self, incident: Incident, step: int) -> bool:
        is_ours = await self._database.run(lambda db: self._desk(db).escalate(incident, step))
        if is_ours:
            logger.warning(
                "an incident climbs", incident=incident.id, severity=incident.level, step=step
            )
        return is_ours

    def _desk(self, log_: CallLog) -> Desk:
        return Desk(log_, self._contacts, self._clock)

    async def _keep_climbing(self) -> None:
        while True:
            try:
                is_held = await self._lease.is_held()
                if is_held:
                    await self.climb()
                await self._count(is_held=is_held)
            except StoreError as error:
                logger.debug("incidents wait for the database", error=str(error))
            except Exception:
                # The boundary of a look: the next one may find things in order.
                logger.exception("incidents cannot be looked after")
            await asyncio.sleep(EVERY)

    async def _count(self, *, is_held: bool) -> None:
        """The gauge of one process only, so that sums count each incident once."""
        counts = await self._database.run(lambda db: self._desk(db).store.counts())
        for level in POLICIES:
            metrics.INCIDENTS_OPEN.labels(level).set(counts.get(level, 0) if is_held else 0)
