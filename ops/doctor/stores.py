"""What keeps things beside the disk: the database of the call log, and Redis."""

from __future__ import annotations

import asyncio

from redis import asyncio as redis
from redis.exceptions import AuthenticationError, RedisError

from agent.errors import StoreAbsent, StoreError, StoreTooNew, StoreUnavailable
from agent.shared import pool
from agent.store import CallLog, migrate
from config.sections import Redis, Store
from config.sources import masked
from ops.doctor.attempt import in_thread
from ops.doctor.finding import Finding, Level


def about_database(section: Store) -> str:
    """What is told of it, without its password."""
    return f"call log at {masked(section.url)}"


def about_redis(section: Redis) -> str:
    """What is told of it, without its password."""
    return f"Redis at {masked(section.url)}" if section.url else "Redis"


async def database(section: Store) -> list[Finding]:
    """It answers, and its tables are those of this release. Nothing is changed or made."""
    tried = about_database(section)
    try:
        await in_thread(lambda: CallLog.open(section.url, readonly=True).close())
    except StoreTooNew as error:
        return [Finding(Level.BROKEN, tried, str(error), "start the newer release again")]
    except StoreUnavailable as error:
        todo = "look at the database; until it is back, events wait on disk and calls go on"
        return [Finding(Level.DEGRADED, tried, str(error), todo)]
    except StoreAbsent:
        return [Finding(Level.WELL, tried, "not there yet: the worker's first start makes it")]
    except StoreError as error:
        todo = "start the worker once, or mend store.url"
        return [Finding(Level.DEGRADED, tried, str(error), todo)]
    return [Finding(Level.WELL, tried, f"open, schema {migrate.head()} is applied")]


async def shared(section: Redis) -> list[Finding]:
    """Redis answers. Without one nothing is asked."""
    if not section.url:
        return [
            Finding(Level.WELL, "Redis", "not configured: each worker takes itself to be alone")
        ]
    tried = about_redis(section)
    todo = "calls go on without it, but limits hold for each worker alone: "
    connections = pool(section.url)
    client = redis.Redis(connection_pool=connections)
    try:
        await client.ping()
        version = (await client.info("server")).get("redis_version", "?")
    except AuthenticationError:
        return [
            Finding(
                Level.DEGRADED,
                tried,
                "the password is refused, or lacking",
                f"{todo}set it in REDIS_URL",
            )
        ]
    except (RedisError, OSError, asyncio.IncompleteReadError) as error:
        what = str(error) or type(error).__name__
        return [Finding(Level.DEGRADED, tried, what, f"{todo}check redis.url, start it")]
    finally:
        await client.aclose()
        await connections.aclose()
    return [Finding(Level.WELL, tried, f"PONG from version {version}")]
