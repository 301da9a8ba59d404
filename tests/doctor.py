"""The doctor with everything well around it, for tests that break one thing each."""

from __future__ import annotations

import asyncio
import json

import pytest
from livekit.protocol.sip import SIPInboundTrunkInfo

from ops.doctor import attempt, services
from tests.front_door import CANARY, FrontDoor, a_rule
from tests.programs import settings
from tests.providers import Providers
from tests.sip_operator import invoke
from tests.sip_stand_in import SECRET


@pytest.fixture
async def door():
    async with FrontDoor() as door:
        trunk = SIPInboundTrunkInfo(name="main", numbers=["+70000000100"], sip_trunk_id="ST_1")
        door.kept["InboundTrunk"]["ST_1"] = trunk
        door.kept["Rule"]["SDR_1"] = a_rule("voice-ai")
        yield door


@pytest.fixture
def impatient(monkeypatch):
    """Wait a second only for what never answers."""
    monkeypatch.setattr(attempt, "WITHIN", 1.0)
    monkeypatch.setattr(services, "WITHIN", 1.0)


@pytest.fixture
async def providers():
    async with Providers() as providers:
        yield providers


@pytest.fixture
def doctor(tmp_path, door, providers):
    """Ask it, with everything well: exit code and findings. `variables` change one thing."""
    well = {
        **settings(tmp_path),
        **door.variables,
        **providers.variables,
        "VOICE_AGENT__WORKER__ENDPOINTS_TOKEN": CANARY,
        "SIP_NUMBER": "+70000000100",
        "SIP_ALLOWED_ADDRESSES": "203.0.113.7",
    }

    async def ask(*arguments, **variables):
        env = {**well, **variables}
        code, out, err = await asyncio.to_thread(invoke, "doctor", "--json", *arguments, env=env)
        secrets = [CANARY, SECRET, *(server.key for server in providers.all)]
        assert not [secret for secret in secrets if secret in out + err]
        told = json.loads(out)
        assert code == told["exit"]
        return code, {one["tried"]: one for one in told["findings"]}

    return ask
