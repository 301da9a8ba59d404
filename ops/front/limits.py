"""How often somebody may come: counted in Redis where several processes share it, else here."""

from __future__ import annotations

import time
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool

from agent import log
from agent.errors import SharingLost
from agent.shared import within_bound

logger = log.get(__name__)

AWAY = 2.0
"""Seconds for which Redis is not asked after it did not answer: a request must not wait for it."""

PREFIX = "voice-ai:limits"


class Limits:
    """Counts requests a minute, in a window that slides."""

    def __init__(self, connections: ConnectionPool | None) -> None:
        self._here = SlidingWindowCounterRateLimiter(MemoryStorage())
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
        return await _count(self._here, item, subject)


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
