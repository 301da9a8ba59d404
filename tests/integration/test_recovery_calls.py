"""A real worker with a call that goes on, while a recovery mends what is broken around it."""

from __future__ import annotations

import signal
import sys

import psutil
import pytest
import redis

from agent import shared
from config.settings import load
from ops.recovery.recover import recover
from ops.recovery.steps import STEPS
from tests.livekit_stand_in import LiveKitStandIn
from tests.programs import Worker, eventually, settings

pytest_plugins = ["tests.managed"]
pytestmark = pytest.mark.needs("redis-server")

BEATS = "{voice-ai:sessions:voice-ai}:beats"


class OneCall:
    """A call that is going on, and whether it still does."""

    def __init__(self, livekit, job, port):
        self._livekit, self._job, self._port = livekit, job, port

    def is_told(self):
        """Whether its worker has told of it in Redis."""
        try:
            with redis.Redis(port=self._port, socket_timeout=5.0) as client:
                return client.zcard(BEATS) == 1
        except redis.RedisError:
            return False

    async def goes_on(self, worker):
        await eventually(self.is_told, "the call is told of in Redis")
        assert worker.process.returncode is None
        assert not list(self._livekit.deleted)
        jobs = psutil.Process(worker.process.pid).children(recursive=True)
        assert jobs, "its process is there"


async def test_calls_go_on_while_redis_and_its_cache_are_mended_and_a_dead_worker_is_started(
    tmp_path, managed, redis_port, monkeypatch, unused_tcp_port
):
    monkeypatch.setattr(shared, "BOUND", 10.0)
    async with LiveKitStandIn() as livekit:
        livekit.takes_workers.set()
        port = str(unused_tcp_port)
        variables = {
            **settings(tmp_path),
            **livekit.variables,
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "VOICE_AGENT__WORKER__IDLE_PROCESSES": "1",
            "VOICE_AGENT__WORKER__ENDPOINTS_PORT": port,
        }
        managed.add("worker.service", [sys.executable, "agent.py", "start"], variables)
        ours = {
            **variables,
            "LIVEKIT_URL": "",  # the stand-in lists no rooms
            "VOICE_AGENT__SERVE__PORT": "0",
            "VOICE_AGENT__RECOVERY__MANAGER": "systemd",
            "VOICE_AGENT__RECOVERY__REDIS": "redis.service",
            "VOICE_AGENT__RECOVERY__WORKER": "worker.service",
            "VOICE_AGENT__RECOVERY__DRAIN": "0",
        }
        for name, value in ours.items():
            monkeypatch.setenv(name, value)
        section = load(environ=ours)
        async with Worker(variables) as worker:
            await worker.becomes(200)
            job, _ = await livekit.offer("voice-ai-call-1")
            await livekit.assign(job)
            call = OneCall(livekit, job, redis_port)
            await call.goes_on(worker)

            with redis.Redis(port=redis_port) as client:
                client.set(BEATS, "what nobody can read")
                await worker.said("Redis is away")
                outcome = await recover(section, STEPS[1:])
                assert outcome.healed_by == "clear-caches", outcome
                await worker.said("Redis is back")
                await call.goes_on(worker)

            managed.send("redis.service", signal.SIGKILL)
            outcome = await recover(section, STEPS[2:])
            assert outcome.healed_by == "restart-redis", outcome
            await call.goes_on(worker)

            assert not [one for one in managed.asked if "worker" in one]
            worker.process.kill()
            await worker.process.wait()
        outcome = await recover(section, STEPS[1:])
        assert list(outcome.before) == ["worker"]
        assert outcome.healed_by == "restart-services", outcome
        assert managed.asked[-1] == "systemctl --no-ask-password restart worker.service"
        assert outcome.is_well
