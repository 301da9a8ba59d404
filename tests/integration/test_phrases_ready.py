"""The worker says that it is ready when every phrase can be heard, in any voice."""

from __future__ import annotations

import pytest

from tests.livekit_stand_in import LiveKitStandIn
from tests.programs import Worker, settings
from tests.providers import Fault, Kind, Providers

pytestmark = pytest.mark.clocked


@pytest.fixture
async def livekit():
    async with LiveKitStandIn() as stand_in:
        stand_in.takes_workers.set()
        yield stand_in


@pytest.fixture
async def servers():
    async with Providers() as servers:
        yield servers


def variables(folder, livekit, servers):
    return {
        **settings(folder),
        **livekit.variables,
        **servers.variables,
        "VOICE_AGENT__SPEECH__TTS": "cartesia,openai",
        "VOICE_AGENT__WORKER__IDLE_PROCESSES": "0",
    }


async def test_a_voice_that_hangs_is_passed_over(tmp_path, livekit, servers):
    servers.cartesia.faults.add(Fault(kind=Kind.HANG, times=0))
    async with Worker(variables(tmp_path, livekit, servers)) as worker:
        await worker.said("the worker is ready")
        checks = await worker.becomes(200)
    assert checks["phrases"] is True
    assert servers.openai.turns["speak"] > 0


async def test_without_phrases_a_worker_is_not_ready(tmp_path, livekit, servers):
    servers.cartesia.faults.add(Fault(kind=Kind.EXPIRED, times=0))
    servers.openai.faults.add(Fault(kind=Kind.STATUS, on="speak", times=0))
    async with Worker(variables(tmp_path, livekit, servers)) as worker:
        await worker.said("the worker is ready")
        await worker.said("a phrase could not be synthesised")
        checks = await worker.becomes(503)
    assert checks["phrases"] is False
