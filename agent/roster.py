"""This worker in the list of workers: it tells how it is, and does what an operator wants of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from agent import log, tasks
from agent.call import now
from agent.errors import StoreError
from agent.store import CallLog
from agent.store.workers import Wanted, WorkerRow, Workers, WorkerState
from config.sections import Worker as Section

logger = log.get(__name__)

T = TypeVar("T")

BEAT = 3.0
"""Seconds between two words with the database: so soon does a worker do what is wanted of it."""

SEEN = 5 * BEAT
"""Seconds without a word after which a worker is taken to be gone."""


class Run(Protocol):
    """Runs work on the call log: `agent.ledger.Ledger.run`."""

    def __call__(self, work: Callable[[CallLog], T], /) -> Awaitable[T]: ...  # noqa: D102


class Roster:
    """What is wanted of one worker: while the database is away, what was wanted last."""

    def __init__(
        self,
        section: Section,
        worker: str,
        run: Run | None,
        *,
        calls: Callable[[], int],
        is_registered: Callable[[], bool],
        is_draining: Callable[[], bool],
        leave: Callable[[], Any],
    ) -> None:
        """`leave` is called once, when the worker is to end after its calls.

        Without `run` there is no database: the worker is in no list, and nobody takes it out of
        dispatch but who can send it a signal.
        """
        self._section = section
        self._worker = worker
        self._run = run
        self._calls, self._is_registered, self._is_draining = calls, is_registered, is_draining
        self._leave = leave
        self._started_at = now()
        self._wanted = Wanted.SERVE
        self._telling: asyncio.Task[None] | None = None

    @property
    def is_resting(self) -> bool:
        """Whether no new calls are to be taken."""
        return self._wanted is not Wanted.SERVE

    def start(self) -> None:
        """Be in the list from now on."""
        if self._run is not None:
            self._telling = tasks.spawn(self._keep_telling(), "worker-roster")

    async def aclose(self) -> None:
        """Be in it no longer."""
        await tasks.end(self._telling)
        if self._run is None:
            return
        try:
            await self._run(lambda call_log: Workers(call_log.engine).leave(self._worker))
        except StoreError as error:
            logger.debug("the worker stays in the list for a while", error=str(error))

    async def tell(self) -> None:
        """Tell once, and do what is wanted. Raises StoreError."""
        assert self._run is not None
        row = WorkerRow(
            id=self._worker,
            agent_name=self._section.agent_name,
            state=self._state().value,
            calls=self._calls(),
            max_calls=self._section.max_calls,
            started_at=self._started_at,
            seen_at=now(),
        )
        self._obey(await self._run(lambda call_log: Workers(call_log.engine).tell(row)))

    def _state(self) -> WorkerState:
        if self._is_draining() or self._wanted is Wanted.LEAVE:
            return WorkerState.LEAVING
        if not self._is_registered():
            return WorkerState.AWAY
        return WorkerState.RESTING if self.is_resting else WorkerState.SERVING

    def _obey(self, told: str) -> None:
        try:
            wanted = Wanted(told)
        except ValueError:
            logger.warning("a newer release wants something unknown", wanted=told, action="ignore")
            return
        if wanted is self._wanted or self._wanted is Wanted.LEAVE:
            return  # who leaves does not come back
        self._wanted = wanted
        logger.warning("an operator wants something of this worker", wanted=wanted.name.lower())
        if wanted is Wanted.LEAVE:
            self._leave()

    async def _keep_telling(self) -> None:
        while True:
            before = self._wanted
            try:
                await self.tell()
            except StoreError as error:
                logger.debug("the list of workers is away", error=str(error))
            except Exception:
                # The boundary of the list: calls do not depend on it.
                logger.exception("the list of workers cannot be kept")
            if self._wanted is before:
                await asyncio.sleep(BEAT)
