"""Redis as the worker uses it: what several machines share, never waited for longer than BOUND."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from agent import log
from agent.errors import SharingLost
from config.sentinels import sentinels_of

logger = log.get(__name__)

T = TypeVar("T")

BOUND = 0.25
"""Seconds for any access: LiveKit gives a job request ten, and a caller rings meanwhile."""


def pool(url: str) -> ConnectionPool:
    """Connections to Redis, made when they are needed. Whoever asks closes them (`aclose`).

    With a URL of sentinels each connection is to the master that they name when it is made.
    """
    # Once: a connection from before an outage is found to be broken when it is used.
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 1), "decode_responses": True}
    found = sentinels_of(url)
    if found is None:
        return ConnectionPool.from_url(url, **options)
    secret = {"username": found.username, "password": found.password, "ssl": found.tls}
    patience = {"socket_timeout": BOUND, "socket_connect_timeout": BOUND}
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        list(found.hosts), sentinel_kwargs={**patience, "retry": Retry(NoBackoff(), 0)}
    )
    return _MasterPool(  # type: ignore[no-untyped-call]
        found.name, sentinels, db=found.db, **secret, **options
    )


class _MasterPool(SentinelConnectionPool):
    """Closes its connections to the sentinels as well."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


async def within_bound(access: Awaitable[T]) -> T:
    """What Redis answers. Raises SharingLost after BOUND seconds, or when it refuses."""
    try:
        async with asyncio.timeout(BOUND):
            return await access
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        raise SharingLost(f"{type(error).__name__}: {error}".removesuffix(": ")) from error
