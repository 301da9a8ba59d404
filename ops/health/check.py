"""One thing that is asked how it is: within its own time, seldom, and never twice at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from agent import log, metrics, tasks

logger = log.get(__name__)


class Status(StrEnum):
    """How it stands with a thing, or with all of them."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It works with less than it should have."""
    UNHEALTHY = "unhealthy"
    NOT_CONFIGURED = "not_configured"


class Unwell(Exception):
    """What a check raises that found something wrong, or nothing to ask."""

    def __init__(self, detail: str, status: Status = Status.UNHEALTHY) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found. `detail` is for operators: it holds no secret and no number."""

    status: Status
    latency_ms: float | None = None
    """From the question to the answer, or to the end of the patience. None: nobody was asked."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One question. `ask` returns what to say of the answer, and raises Unwell."""

    name: str
    ask: Callable[[], Awaitable[str]]
    every: float
    """Seconds in which it is asked once at most."""
    within: float
    """Seconds that it may take."""
    aclose: Callable[[], Awaitable[None]] | None = None
    """Ends what it left running."""


class Watched:
    """A check with its last result."""

    def __init__(self, check: Check, clock: Callable[[], float] = time.monotonic) -> None:
        self.check = check
        self.last: Result | None = None
        """None as long as it was never asked."""
        self._clock = clock
        self._asked_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def result(self) -> Result:
        """How it is, as asked `every` seconds ago at most. Whoever comes meanwhile waits too."""
        if self._asking is None and not self._is_fresh:
            self._asking = tasks.spawn(self._ask(), f"health-{self.check.name}")
        if self._asking is not None:
            await asyncio.wait({self._asking})  # who gives up waiting does not end the question
        return self.last or Result(Status.UNHEALTHY, None, "not asked: the process ends")

    async def aclose(self) -> None:
        """Ask no more."""
        await tasks.end(self._asking)
        if self.check.aclose:
            await self.check.aclose()

    @property
    def _is_fresh(self) -> bool:
        return self.last is not None and self._clock() - self._asked_at < self.check.every

    async def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            self.last = await attempt(self.check)
        finally:
            self._asking = None
        metrics.health(self.check.name, self.last.status, self.last.latency_ms)


async def attempt(check: Check) -> Result:
    """Ask now. Never raises."""
    began = time.perf_counter()

    def taken() -> float:
        return round((time.perf_counter() - began) * 1000, 1)

    try:
        async with asyncio.timeout(check.within):
            detail = await check.ask()
    except Unwell as found:
        skipped = found.status is Status.NOT_CONFIGURED
        return Result(found.status, None if skipped else taken(), str(found))
    except TimeoutError:
        return Result(Status.UNHEALTHY, taken(), f"no answer within {check.within:g} s")
    except Exception as error:
        # The boundary of a check: one that breaks must not keep the others from being told.
        logger.warning("a health check failed", check=check.name, exc_info=True)
        return Result(
            Status.UNHEALTHY, taken(), f"the check itself failed ({type(error).__name__})"
        )
    return Result(Status.HEALTHY, taken(), detail)
