"""Both session caches keep one contract, in memory and in a real Redis; what is told of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
import redis

from agent import leases, metrics, shared
from agent import sessions as module
from agent.call import EndReason, now
from agent.errors import SharingLost
from agent.events import CallEnded, CallerJoined, CallNote, CallOpened, TurnCommitted
from agent.leases import SharedPlaces
from agent.ledger import Presence
from agent.places import Capacity, LocalPlaces
from agent.sessions import MemorySessions, RedisSessions, Session, Sessions, State
from config.settings import load
from ops.front.plane import Plane
from ops.live import LiveCalls

pytest_plugins = ["tests.redis_server"]

CALL, OTHER, THIRD = "a1" * 16, "b2" * 16, "c3" * 16


def session(call_id=CALL, minutes=0, **changes):
    started = now() - timedelta(minutes=minutes)
    made = Session(call_id, "voice-ai-call-1", "RM_1", "AJ_1", "host/w1", started)
    return replace(made, **changes)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
async def cache(request, monkeypatch):
    if request.param == "memory":
        yield MemorySessions()
        return
    monkeypatch.setattr(shared, "BOUND", 30.0)
    pool = shared.pool(request.getfixturevalue("redis_url"))
    yield RedisSessions(pool, uuid4().hex)
    await pool.aclose()


async def test_a_call_that_is_told_of_is_live(cache):
    told = session(state=State.TALKING, persona="en")
    assert await cache.live() == []
    assert await cache.beating_since() is None
    await cache.beat([told], [])
    (found,) = await cache.live()
    assert abs(found.heartbeat - now()) < timedelta(seconds=30)
    assert replace(found, heartbeat=None) == told
    assert await cache.lost() == []


async def test_a_call_that_is_no_longer_told_of_is_lost(cache):
    await cache.beat([session(CALL, minutes=1), session(OTHER, minutes=2)], [])
    since = await cache.beating_since()
    await asyncio.sleep(0.3)
    await cache.beat([session(OTHER, minutes=2)], [])
    assert [one.call_id for one in await cache.lost(0.2)] == [CALL]
    assert [one.call_id for one in await cache.live(0.2)] == [OTHER]
    assert await cache.beating_since() == since


async def test_the_oldest_come_first(cache):
    await cache.beat([session(CALL, 1), session(OTHER, 3), session(THIRD, 2)], [])
    assert [one.call_id for one in await cache.live()] == [OTHER, THIRD, CALL]


async def test_a_call_that_ended_or_was_dealt_with_is_forgotten(cache):
    await cache.beat([session(CALL), session(OTHER), session(THIRD)], [])
    await cache.beat([session(THIRD)], [CALL])
    await cache.forget([OTHER])
    await cache.forget([])
    assert [one.call_id for one in await cache.live()] == [THIRD]
    await asyncio.sleep(0.01)
    assert [one.call_id for one in await cache.lost(0.0)] == [THIRD]


async def test_what_was_lost_long_ago_is_not_kept(cache, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 0.05)
    await cache.beat([session(CALL)], [])
    await asyncio.sleep(0.1)
    await cache.beat([session(OTHER)], [])
    assert await cache.lost(0.08) == []


@pytest.mark.needs("redis-server")
async def test_a_state_of_a_newer_release_is_no_obstacle(redis_server):
    pool = shared.pool(redis_server.url)
    cache = RedisSessions(pool, "voice-ai")
    await cache.beat([session(CALL)], [])
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        key = "{voice-ai:sessions:voice-ai}:calls"
        body = client.hget(key, CALL)
        client.hset(key, CALL, body.replace('"waiting"', '"dreaming"').replace("{", '{"new":1,', 1))
    assert [one.state for one in await cache.live()] == [State.TALKING]
    await pool.aclose()


def opened(call_id=CALL, **changes):
    values = {"room": "voice-ai-call-1", "room_sid": f"RM {call_id}", "job_id": "AJ_1", "pid": 1}
    return CallOpened(call_id=call_id, seq=1, agent_name="voice-ai", **{**values, **changes})


async def test_a_worker_tells_what_its_calls_are_at():
    sessions, cache = Sessions("host/w1"), MemorySessions()

    async def state():
        await sessions.tell(cache)
        return [(one.state, one.persona) for one in await cache.live()]

    assert sessions.hear(opened())
    assert await state() == [("waiting", "")]
    assert sessions.hear(CallerJoined(call_id=CALL, seq=2, identity="x", persona="en"))
    assert await state() == [("talking", "en")]
    assert not sessions.hear(TurnCommitted(call_id=CALL, seq=3, turn=1, user_text="hush"))
    assert sessions.hear(CallNote(call_id=CALL, seq=4, name="transfer_requested"))
    assert await state() == [("transferring", "en")]
    assert sessions.hear(CallNote(call_id=CALL, seq=5, name="transfer_failed"))
    assert not sessions.hear(CallNote(call_id=CALL, seq=6, name="dtmf"))
    assert await state() == [("talking", "en")]
    assert not sessions.hear(opened())
    assert sessions.hear(CallEnded(call_id=CALL, seq=7, reason=EndReason.CALLER_HANGUP))
    assert await state() == []
    assert not sessions.hear(CallNote(call_id=CALL, seq=8, name="dtmf"))
    assert len(sessions) == 0


async def test_an_end_that_could_not_be_told_is_told_later():
    sessions, cache = Sessions("host/w1"), MemorySessions()
    sessions.hear(opened())
    await sessions.tell(cache)
    sessions.hear(CallEnded(call_id=CALL, seq=2, reason=EndReason.CALLER_HANGUP))

    class Away(MemorySessions):
        async def beat(self, sessions, ended):
            raise SharingLost

    with pytest.raises(SharingLost):
        await sessions.tell(Away())
    assert len(await cache.live()) == 1
    await sessions.tell(cache)
    assert await cache.live() == []


@pytest.mark.needs("redis-server")
async def test_sessions_come_back_with_redis(redis_server, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL", 0.05)
    pool, sessions = shared.pool(redis_server.url), Sessions("host/w1")
    cache, beats = RedisSessions(pool, "voice-ai"), asyncio.Event()
    before = metrics.SESSION_RECONNECTS._value.get()

    async def beside():
        await sessions.tell(cache)
        beats.set()

    local = LocalPlaces(Capacity(1, 0), set)
    places = SharedPlaces(local, pool, group="voice-ai", worker="w", beside=beside)
    sessions.hear(opened())
    places.start()
    await asyncio.wait_for(beats.wait(), 30)
    redis_server.kill()
    until = time.monotonic() + 30
    while not places._is_lost:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    await asyncio.to_thread(redis_server.start)
    beats.clear()
    await asyncio.wait_for(beats.wait(), 30)
    monkeypatch.setattr(shared, "BOUND", 30.0)
    assert [one.call_id for one in await cache.live()] == [CALL]
    assert metrics.SESSION_RECONNECTS._value.get() == before + 1
    await places.aclose()
    await pool.aclose()


@pytest.fixture
async def plane(tmp_path):
    settings = load(
        environ={
            "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
            "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
        }
    )
    plane = Plane.of(settings)
    yield plane
    await plane.aclose()


async def kept(plane, *events, worker="host/w1"):
    await plane.database.run(lambda log: log.apply(worker, events))


class Stubborn(MemorySessions):
    """Has been filled for an hour, and can be away."""

    is_away = False

    async def beating_since(self):
        if self.is_away:
            raise SharingLost
        return now() - timedelta(hours=1)


async def test_live_calls_come_from_redis_and_without_it_from_the_call_log(plane):
    cache = Stubborn()
    live = LiveCalls(plane, cache)
    await kept(plane, opened(), opened(OTHER))
    await cache.beat([session(CALL)], [])

    assert [one.call_id for one in await live.live_calls()] == [CALL]
    cache.is_away = True
    found = await live.live_calls()
    assert {one.call_id for one in found} == {CALL, OTHER}
    assert {one.heartbeat for one in found} == {None}
    cache.is_away = False
    assert [one.call_id for one in await live.live_calls()] == [CALL]


async def test_a_redis_that_has_just_come_back_is_not_believed_yet(plane):
    cache = MemorySessions()
    live = LiveCalls(plane, cache)
    await kept(plane, opened(), opened(OTHER))
    await cache.beat([session(CALL)], [])
    assert {one.call_id for one in await live.live_calls()} == {CALL, OTHER}
    assert await live.lost_calls() == []


async def test_lost_are_open_calls_that_nobody_tells_of(plane):
    clock = time.time() - 60
    cache = Stubborn(lambda: clock)
    old = now() - timedelta(minutes=1)
    await kept(plane, opened(), opened(OTHER, at=old), opened(THIRD))
    ended = "d4" * 16
    await cache.beat([session(CALL, minutes=2), session(ended)], [])
    clock = time.time()
    live = LiveCalls(plane, cache)
    assert [one.call_id for one in await live.lost_calls()] == [CALL, OTHER]
    assert ended not in {one.call_id for one in await cache.lost()}


async def test_alone_a_call_is_lost_when_its_worker_of_this_host_has_ended(plane):
    folder = plane.settings.data.folder / "run"
    running, gone = Presence(folder), Presence(folder)
    running.announce()
    await kept(plane, opened(), worker=running.worker_id)
    await kept(plane, opened(OTHER), worker=gone.worker_id)
    await kept(plane, opened(THIRD), worker="elsewhere/w3")
    live = LiveCalls(plane)
    assert [one.call_id for one in await live.lost_calls()] == [OTHER]
    assert len(await live.live_calls()) == 3
    running.leave()


@pytest.mark.needs("redis-server")
async def test_a_redis_that_lost_the_sessions_and_kept_the_beats_breaks_nothing(
    redis_url, monkeypatch
):
    monkeypatch.setattr(shared, "BOUND", 30.0)
    pool = shared.pool(redis_url)
    cache = RedisSessions(pool, uuid4().hex)
    await cache.beat([session(CALL)], [])
    await cache._redis.delete(cache._keys[1])
    assert await cache.live() == []
    await cache.beat([session(OTHER)], [])
    assert [one.call_id for one in await cache.live()] == [OTHER]
    await pool.aclose()
