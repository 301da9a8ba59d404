"""How often somebody may come: counted in Redis where several processes share it, else here."""

from __future__ import annotations

import math
import time
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool

from agent import log
from agent.errors import SharingLost
from agent.shared import within_bound

logger = log.get(__name__)

AWAY = 2.0
"""Seconds for which Redis is not asked after it did not answer: a request must not wait for it."""

PREFIX = "voice-ai:limits"

WINDOW = 60.0
"""Seconds over which is counted."""

MOST = 100_000
"""Subjects that are counted here at once; with more, the oldest half is forgotten."""


class Limits:
    """Counts requests a minute, in a window that slides."""

    def __init__(self, connections: ConnectionPool | None) -> None:
        self._here = Here()
        self._shared = _shared(connections) if connections else None
        self._away_until = 0.0
        self._is_away = False

    async def wait(self, subject: str, per_minute: int) -> int:
        """Count a request of `subject`: 0 when it may come in, else the seconds to wait.

        `per_minute` 0 stands for any number.
        """
        if not per_minute:
            return 0
        item = RateLimitItemPerMinute(per_minute)
        if self._shared and time.monotonic() >= self._away_until:
            try:
                wait = await within_bound(_count(self._shared, item, subject))
            except SharingLost as error:
                self._away_until = time.monotonic() + AWAY
                if not self._is_away:
                    logger.warning("Redis is away", action="count requests here", error=str(error))
                self._is_away = True
            else:
                self._is_away = False
                return wait
        return self._here.wait(subject, per_minute)


class Here:
    """Counts in this process.

    Not MemoryStorage of limits: with each request that looks at all subjects there are, so that
    whoever comes from very many addresses would stop the process.
    """

    def __init__(self) -> None:
        self._window = 0
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def wait(self, subject: str, per_minute: int) -> int:
        """See Limits. As its sliding window: of the minute before counts what is within 60 s."""
        moment = time.monotonic()
        self._turn(int(moment // WINDOW))
        passed = moment % WINDOW / WINDOW
        now, before = self._now.get(subject, 0), self._before.get(subject, 0)
        if now + 1 + before * (1 - passed) <= per_minute:
            if len(self._now) >= MOST:
                for key in list(self._now)[: MOST // 2]:
                    del self._now[key]
            self._now[subject] = now + 1
            return 0
        if now < per_minute:
            until = 1 - (per_minute - now - 1) / before
        else:
            until = 2 - (per_minute - 1) / now  # of the next window
        return max(1, math.ceil(round(min(until - passed, 1) * WINDOW, 3)))

    def _turn(self, window: int) -> None:
        if window != self._window:
            self._before = self._now if window == self._window + 1 else {}
            self._now, self._window = {}, window


async def _count(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItemPerMinute, subject: str
) -> int:
    if await limiter.hit(item, subject):
        return 0
    stats = await limiter.get_window_stats(item, subject)
    return max(1, min(item.get_expiry(), int(stats.reset_time - time.time()) + 1))


def _shared(connections: ConnectionPool) -> SlidingWindowCounterRateLimiter:
    options: Any = {"connection_pool": connections}
    storage = RedisStorage("redis://", implementation="redispy", key_prefix=PREFIX, **options)
    return SlidingWindowCounterRateLimiter(storage)
