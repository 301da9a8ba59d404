"""Jobs of a burst start a few at a time, in the order in which they came.

A start is work for the processor until the greeting is heard. When ten of them share two cores all
callers are greeted at the end; one after the other, half of them are greeted by half of that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livekit.agents.utils.hw import get_cpu_monitor

from agent import log
from agent.events import GREETED, CallEnded, CallNote, CallOpened, Event

logger = log.get(__name__)

HELD = 1.0
"""Seconds for which one start can keep the next one waiting: its caller may never come."""

LONGEST = 5.0
"""Seconds that a job waits for its turn."""

REST = 2.0
"""Seconds without a start after which a burst is over."""

LONGEST_BURST = 5.0
"""Seconds after which a burst is taken to be over, for a moment, though starts go on."""


class Turnstile:
    """Lets as many jobs start at once as there are cores."""

    def __init__(self, burst: Callable[[bool], None], at_once: int = 0) -> None:
        """`burst` is told when jobs begin to start, and when none has for a while."""
        self._burst = burst
        self._at_once = at_once or max(1, int(get_cpu_monitor().cpu_count()))
        self._inside: dict[str, asyncio.TimerHandle] = {}
        self._jobs: dict[str, str] = {}
        """The jobs of calls that nobody has greeted yet, by call."""
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._rest: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None

    def expect(self) -> None:
        """A job is about to come: the burst begins, or goes on."""
        if self._end is None:
            self._end = asyncio.get_running_loop().call_later(LONGEST_BURST, self._end_burst)
            self._burst(True)
        self._prolong_burst()

    async def enter(self, job: str) -> None:
        """Wait until `job` may start: from now on it is starting, until it leaves."""
        if len(self._inside) < self._at_once and not self._waiting:
            self._let_in(job)
            return
        turn = self._waiting[job] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(turn, LONGEST)
        except TimeoutError:
            logger.warning("a job did not get its turn in time", action="start it", job=job)
            self._let_in(job)
        finally:
            self._waiting.pop(job, None)

    def leave(self, job: str) -> None:
        """The job has started, or never will: the next one may. A second time changes nothing."""
        if (held := self._inside.pop(job, None)) is None:
            return
        held.cancel()
        while self._waiting and len(self._inside) < self._at_once:
            following = next(iter(self._waiting))
            turn = self._waiting.pop(following)
            if not turn.done():
                turn.set_result(None)
                self._let_in(following)

    def hear(self, event: Event) -> None:
        """A call whose caller hears us has started."""
        if isinstance(event, CallOpened):
            self._jobs[event.call_id] = event.job_id
        is_greeting = isinstance(event, CallNote) and event.name == GREETED
        if is_greeting or isinstance(event, CallEnded):
            self.leave(self._jobs.pop(event.call_id, ""))

    def close(self) -> None:
        """Forget all timers."""
        self._forget_burst()
        for held in self._inside.values():
            held.cancel()

    def _let_in(self, job: str) -> None:
        self._inside[job] = asyncio.get_running_loop().call_later(HELD, self.leave, job)
        self._prolong_burst()

    def _prolong_burst(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        if self._end is not None:
            self._rest = asyncio.get_running_loop().call_later(REST, self._end_burst)

    def _end_burst(self) -> None:
        self._forget_burst()
        self._burst(False)

    def _forget_burst(self) -> None:
        for timer in (self._rest, self._end):
            if timer is not None:
                timer.cancel()
        self._rest = self._end = None
