"""The seam for automatic recovery: whoever can heal registers an action, which a new P1 begins.

Off unless `incidents.automatic_recovery` is set. Once an incident, in one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agent import log, tasks
from agent.errors import StoreError
from agent.store.incidents import Incident
from config.incidents import Contacts
from ops.front.database import Database
from ops.incidents.desk import Desk

logger = log.get(__name__)

Action = Callable[[Incident], Awaitable[str]]
"""Tries to heal; what was done and whether it helped, in a line. May raise anything."""

LIMIT = 900.0
"""Seconds that an action may take."""


class Automatic:
    """Runs the action of one process."""

    def __init__(self, database: Database, contacts: Contacts, *, is_on: bool) -> None:
        self._database = database
        self._contacts = contacts
        self._is_on = is_on
        self._action: Action | None = None
        self._running: set[asyncio.Task[None]] = set()

    def register(self, action: Action) -> None:
        """Have incidents begin with `action`, if that is switched on."""
        self._action = action

    async def begin(self, incident: Incident) -> None:
        """Begin, unless it is off or was begun before; does not wait. Raises StoreError."""
        if not self._is_on or incident.level != "P1":
            return
        text = "begins" if self._action else "is on, and there is nothing to do it with"
        if not await self._note(incident, f"automatic recovery {text}", begins=True):
            return
        if self._action is not None:
            task = tasks.spawn(self._run(incident, self._action), f"recovery-{incident.id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def aclose(self) -> None:
        """End what runs."""
        await tasks.end(*self._running)

    async def _run(self, incident: Incident, action: Action) -> None:
        try:
            told = await asyncio.wait_for(action(incident), LIMIT)
        except TimeoutError:
            told = f"not ended within {LIMIT:g} s"
        except Exception as error:
            # The boundary of what others registered: people are called all the same.
            logger.exception("automatic recovery failed", incident=incident.id)
            told = f"failed: {type(error).__name__}"
        try:
            await self._note(incident, f"automatic recovery: {told}")
        except StoreError as error:
            logger.warning("what recovery did is not noted", told=told, error=str(error))

    async def _note(self, incident: Incident, text: str, *, begins: bool = False) -> bool:
        return await self._database.run(
            lambda db: Desk(db, self._contacts).recovery(incident, text, begins=begins)
        )
