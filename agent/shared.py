"""Redis as the worker uses it: what several machines share, never waited for longer than BOUND."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from agent import log
from agent.errors import SharingLost

logger = log.get(__name__)

T = TypeVar("T")

BOUND = 0.25
"""Seconds for any access: LiveKit gives a job request ten, and a caller rings meanwhile."""


def pool(url: str) -> ConnectionPool:
    """Connections to Redis, made when they are needed. Whoever asks closes them (`aclose`)."""
    return ConnectionPool.from_url(
        url,
        # Once: a connection from before an outage is found to be broken when it is used.
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )


async def within_bound(access: Awaitable[T]) -> T:
    """What Redis answers. Raises SharingLost after BOUND seconds, or when it refuses."""
    try:
        async with asyncio.timeout(BOUND):
            return await access
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        raise SharingLost(f"{type(error).__name__}: {error}".removesuffix(": ")) from error
