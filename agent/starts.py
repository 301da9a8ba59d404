"""Jobs that were accepted and have not opened their record: the worker answers for them so long.

A job process that dies before its first event has no channel whose end would be noticed: its
caller would ring for good, without a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet

from livekit.protocol.agent import Job

from agent import log, tasks
from agent.call import EndReason

logger = log.get(__name__)

LOOK = 1.0
"""Seconds between two looks at the jobs that run. A job must be missing at two of them: its first
event may still be on its way when its process has ended."""

TurnAway = Callable[[Job, EndReason, str], Awaitable[None]]
"""Ends a call that nobody takes, with a word on why, so that the caller is not left ringing."""


class Starts:
    """Follows each accepted job until its record is open."""

    def __init__(self, running: Callable[[], AbstractSet[str]], turn_away: TurnAway) -> None:
        """`running` tells the ids of the jobs that have a process now."""
        self._running = running
        self._turn_away = turn_away
        self._expected: dict[str, Job] = {}
        self._launched: set[str] = set()
        self._missing: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look after the jobs from now on."""
        self._looking = tasks.spawn(self._keep_looking(), "job-starts")

    async def aclose(self) -> None:
        """The worker ends, and its processes have ended: who has not opened a record never will."""
        await tasks.end(self._looking)
        await self._give_up(self._launched - self._running())

    def expect(self, job: Job) -> None:
        """The job is being accepted."""
        self._expected[job.id] = job

    def launched(self, job: str) -> None:
        """The job has been handed to its process."""
        if job in self._expected:
            self._launched.add(job)

    def opened(self, job: str) -> None:
        """The job's record is open: from now on its channel tells how it ends."""
        self.withdraw(job)

    def withdraw(self, job: str) -> bool:
        """Expect the job no longer; whether it was expected still."""
        self._launched.discard(job)
        return self._expected.pop(job, None) is not None

    async def look(self) -> None:
        """Turn away the calls whose jobs are gone, and were at the last look."""
        missing = self._launched - self._running()
        gone, self._missing = missing & self._missing, missing
        await self._give_up(gone)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def _give_up(self, gone: AbstractSet[str]) -> None:
        lost = [self._expected[job] for job in gone]
        for job in lost:
            self.withdraw(job.id)
            logger.error("a job process ended before its call began", job=job.id)
        why = "the job ended before its record was open"
        await asyncio.gather(*(self._turn_away(job, EndReason.PROCESS_KILLED, why) for job in lost))
