"""Calls a number may make in an hour: shared through Redis, with a twin when it is lost."""

from __future__ import annotations

import asyncio

import pytest
import redis

from agent import shared
from agent.hourly import HourlyCalls

pytest_plugins = ["tests.redis_server"]

NUMBER, OTHER = "+15550100", "+15550101"


def counting(most, connections=None):
    return HourlyCalls(most, connections, group="voice-ai", secret="a-secret-of-a-test")


async def test_alone_a_worker_counts_for_itself():
    hourly = counting(2)
    assert [await hourly.allows(NUMBER) for _ in range(3)] == [True, True, False]
    assert await hourly.allows(OTHER)


async def test_no_limit_counts_nothing():
    hourly = counting(0)
    assert all([await hourly.allows(NUMBER) for _ in range(100)])


@pytest.fixture
async def connections(redis_server):
    pools = [shared.pool(redis_server.url) for _ in range(2)]
    yield pools
    for pool in pools:
        await pool.aclose()


@pytest.mark.needs("redis-server")
async def test_workers_count_together_exactly(connections, monkeypatch):
    monkeypatch.setattr(shared, "BOUND", 30.0)
    workers = [counting(10, pool) for pool in connections]
    allowed = await asyncio.gather(*(workers[n % 2].allows(NUMBER) for n in range(50)))
    assert allowed.count(True) == 10


@pytest.mark.needs("redis-server")
async def test_redis_holds_no_number(connections, redis_server):
    await counting(10, connections[0]).allows(NUMBER)
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        keys = client.keys("*")
    assert keys
    assert "5550100" not in str(keys)


@pytest.mark.needs("redis-server")
async def test_when_redis_is_lost_the_last_hour_is_not_forgotten(connections, redis_server, caplog):
    hourly = counting(2, connections[0])
    assert await hourly.allows(NUMBER)
    redis_server.hang()
    assert [await hourly.allows(NUMBER) for _ in range(2)] == [True, False]
    assert "Redis is away" in caplog.messages
    assert NUMBER not in caplog.text
    redis_server.go_on()
    caplog.clear()
    assert await hourly.allows(OTHER)
    assert caplog.messages == []
