"""A lease that one of several `ops serve` has, so that one alone does what one alone must do.

It is a row of the database. While the database is away nobody can know who else is there: then each
process acts for itself, and what it does must do no harm twice.
"""

from __future__ import annotations

import time
from uuid import uuid4

from agent import log
from agent.errors import StoreError
from agent.store.leases import Leases
from ops.front.database import Database

logger = log.get(__name__)

SECONDS = 15.0
"""So long after the holder's last word another process takes over."""

RENEWAL = 5.0
"""Seconds between two words."""


class Lease:
    """One process's view of the lease `name`."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._who = uuid4().hex
        self._asked_at = -RENEWAL
        self._is_held = False

    async def is_held(self) -> bool:
        """Whether this process is the one; asked of the database every RENEWAL seconds at most."""
        if time.monotonic() - self._asked_at < RENEWAL:
            return self._is_held
        try:
            is_held = await self._database.run(
                lambda db: Leases(db.engine).hold(self._name, self._who, SECONDS)
            )
        except StoreError as error:
            logger.debug("nobody has the lease", lease=self._name, error=str(error))
            is_held = True
        if is_held != self._is_held:
            logger.info("the lease", lease=self._name, held=is_held)
        self._is_held, self._asked_at = is_held, time.monotonic()
        return is_held

    async def aclose(self) -> None:
        """Give it back, so that another process need not wait."""
        if not self._is_held:
            return
        try:
            await self._database.run(lambda db: Leases(db.engine).leave(self._name, self._who))
        except StoreError as error:
            logger.debug("the lease is left to expire", lease=self._name, error=str(error))
