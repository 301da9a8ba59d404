"""Redis behind sentinels: what the URL says, and whose master is spoken to after a failover."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from agent import shared
from agent.errors import SharingLost
from agent.shared import within_bound
from config.sections import Redis as Section
from config.sentinels import Sentinels, sentinels_of
from config.sources import masked

pytest_plugins = ["tests.redis_server"]

URL = "rediss+sentinel://:h%40sh@one.test,two.test:26380,[::1]:26381/calls/2"


def test_a_url_names_sentinels_master_and_database():
    found = sentinels_of(URL)
    assert found == Sentinels(
        (("one.test", 26379), ("two.test", 26380), ("::1", 26381)),
        "calls",
        2,
        password="h@sh",
        tls=True,
    )
    assert "h@sh" not in repr(found)
    assert sentinels_of("redis://one.test:6379/0") is None


def test_its_password_is_not_shown():
    assert "h%40sh" not in masked(URL)


@pytest.mark.parametrize("rest", ["", "one.test", "one.test/", "/calls", "a:b/calls", "a,,b/calls"])
def test_a_url_that_says_too_little_is_refused_by_the_settings(rest):
    with pytest.raises(ValueError, match=r"expected redis\+sentinel://HOST:PORT"):
        Section(url=f"redis+sentinel://{rest}")


async def eventually(work):
    """What `work` returns as soon as it neither fails nor returns nothing."""
    until = time.monotonic() + 60
    while True:
        try:
            if found := await work():
                return found
        except SharingLost:
            pass
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


@pytest.mark.needs("redis-server")
async def test_after_a_failover_the_new_master_is_spoken_to(redis_sentinel):
    master, replica, sentinel = redis_sentinel
    pool = shared.pool(sentinel.url)
    redis = Redis(connection_pool=pool)
    watch = Redis(port=sentinel.port, decode_responses=True)
    follower = Redis(port=replica.port, decode_responses=True)
    try:
        await eventually(lambda: within_bound(redis.set("kept", "before")))

        async def follows():
            (state,) = await watch.sentinel_slaves("calls") or [{}]
            return state.get("is_slave") and await follower.get("kept") == "before"

        await eventually(follows)
        master.kill()
        with pytest.raises(SharingLost):
            await within_bound(redis.get("kept"))
        assert await eventually(lambda: within_bound(redis.set("after", "too")))
        assert await within_bound(redis.get("kept")) == "before"
        assert await follower.get("after") == "too"
    finally:
        for client in (watch, follower, redis):
            await client.aclose()
        await pool.aclose()
