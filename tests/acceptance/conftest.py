"""What the tests against a real LiveKit server share."""

from __future__ import annotations

import pytest

from plugins.line import Clock
from tests.livekit_server import LiveKitServer
from tests.programs import Worker, settings


@pytest.fixture
async def clock():
    async with Clock() as clock:
        yield clock


@pytest.fixture
async def livekit(tmp_path):
    async with LiveKitServer(tmp_path) as server:
        yield server


@pytest.fixture
def variables(tmp_path, livekit):
    return {
        **settings(tmp_path),
        **livekit.variables,
        "VOICE_AGENT__WORKER__AGENT_NAME": livekit.agent_name,
    }


@pytest.fixture
async def worker(variables):
    """A worker that is registered."""
    async with Worker(variables) as worker:
        await worker.becomes(200)
        yield worker
