"""How many calls a number has made in the last hour: over all workers, or on this one."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, cast

from limits import RateLimitItemPerHour
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import ConnectionPool

from agent import log
from agent.errors import SharingLost
from agent.shared import within_bound

logger = log.get(__name__)


class HourlyCalls:
    """Counts the calls of each number. Numbers are kept as keyed hashes only."""

    def __init__(
        self, most: int, connections: ConnectionPool | None, *, group: str, secret: str
    ) -> None:
        """`most` calls in any hour (0: any number); `secret` is one that all workers have."""
        self._limit = RateLimitItemPerHour(most) if most else None
        self._group = group
        self._secret = secret.encode()
        self._here = MovingWindowRateLimiter(MemoryStorage())
        self._everywhere: MovingWindowRateLimiter | None = None
        if connections:
            storage = RedisStorage(
                "redis://",
                implementation="redispy",
                key_prefix="voice-ai:hourly",
                connection_pool=cast("Any", connections),  # typed as text, passed on as it is
            )
            self._everywhere = MovingWindowRateLimiter(storage)

    async def allows(self, number: str) -> bool:
        """Count one more call of `number` (E.164), unless it has had all of this hour's."""
        if self._limit is None:
            return True
        who = hmac.new(self._secret, number.encode(), hashlib.sha256).hexdigest()
        # Counted here as well: when Redis is lost, its twin shall know the last hour.
        here = await self._here.hit(self._limit, self._group, who)
        if self._everywhere:
            try:
                return await within_bound(self._everywhere.hit(self._limit, self._group, who))
            except SharingLost as error:
                logger.warning("Redis is away", action="count this worker", error=str(error))
        return here
