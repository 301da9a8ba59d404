"""A real worker tells of its calls in Redis: through an outage of it, and until it is killed."""

from __future__ import annotations

import asyncio

import pytest

from agent import shared
from agent.sessions import RedisSessions
from config.settings import load
from ops.front.plane import Plane
from ops.live import LiveCalls
from tests.livekit_stand_in import LiveKitStandIn
from tests.programs import PATIENCE, Worker, settings

pytest_plugins = ["tests.redis_server"]
pytestmark = [pytest.mark.clocked, pytest.mark.needs("redis-server")]


async def until(found, what):
    """What `found` returns as soon as it is something."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if value := await found():
                return value
            await asyncio.sleep(0.1)


async def test_a_live_call_outlives_redis_and_is_found_when_its_worker_is_killed(
    tmp_path, redis_server, monkeypatch
):
    monkeypatch.setattr(shared, "BOUND", 10.0)
    async with LiveKitStandIn() as livekit:
        livekit.takes_workers.set()
        variables = {**settings(tmp_path), **livekit.variables, "REDIS_URL": redis_server.url}
        variables["VOICE_AGENT__WORKER__IDLE_PROCESSES"] = "1"
        plane = Plane.of(load(environ=variables))
        cache = RedisSessions(plane.redis, "voice-ai")
        calls = LiveCalls(plane)
        try:
            async with Worker(variables) as worker:
                await worker.becomes(200)
                job, _ = await livekit.offer("voice-ai-call-1")
                await livekit.assign(job)
                (session,) = await until(cache.live, "the call is live")
                assert (session.job_id, session.room, session.state) == (
                    job.id,
                    "voice-ai-call-1",
                    "waiting",
                )

                redis_server.kill()
                assert [one.job_id for one in await calls.live_calls()] == [job.id]
                await worker.said("Redis is away")
                assert worker.process.returncode is None
                assert not list(livekit.deleted), "the call goes on"
                await asyncio.to_thread(redis_server.start)
                await worker.said("Redis is back")
                (again,) = await until(cache.live, "it is live again")
                assert identity(again) == identity(session)
                assert again.heartbeat > session.heartbeat

                worker.process.kill()
                await worker.process.wait()
                (lost,) = await until(calls.lost_calls, "the call is lost")
                assert (lost.call_id, lost.job_id) == (session.call_id, job.id)
        finally:
            await plane.aclose()


def identity(session):
    return (session.call_id, session.room_sid, session.worker_id, session.started_at)
