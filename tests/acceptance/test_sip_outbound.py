"""Calls that we place: `ops dial`, a real livekit-sip, and a telephone that it rings."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

import ops.dial  # noqa: F401 - its plugins register on the main thread, and it is run on another
from agent.call import EndReason
from plugins.line.g711 import RATE
from plugins.line.hearing import audible_time
from plugins.line.scenario import CallerProfile
from plugins.line.speech import offline_voice, speak
from tests.livekit_phone import closed_record
from tests.programs import Worker, eventually, settings
from tests.sip_phone import SipPhone
from tests.sip_server import SipServer

pytestmark = [pytest.mark.acceptance, pytest.mark.sip]

OURS, THEIRS = "+70000000100", "+70000000002"
FILE = """
outbound_trunks:
  - name: out
    address: "{address}"
    transport: udp
    numbers: ["{ours}"]
"""
GREETING = 2.0
"""Seconds that the greeting takes at least."""


def said(words):
    return speak(words, CallerProfile(), offline_voice)


@pytest.fixture
async def server(tmp_path):
    async with SipServer(tmp_path) as server:
        yield server


@pytest.fixture
def variables(tmp_path, server):
    return {
        **settings(tmp_path),
        **server.variables,
        "VOICE_AGENT__WORKER__AGENT_NAME": server.agent_name,
    }


@pytest.fixture
async def worker(variables):
    async with Worker(variables) as worker:
        await worker.becomes(200)
        yield worker


async def dial(server, phone):
    """Place a call to the telephone, to its end: the exit code, and what was told."""
    await server.declares(FILE.format(address=phone.address, ours=OURS))
    code, out, err = await server.operate("dial", THEIRS, "--persona", "en", "--wait", "--json")
    assert not err
    return code, json.loads(out)


def heard(phone):
    """Seconds of the agent's voice so far."""
    if not phone.heard:
        return 0.0
    samples = np.concatenate(phone.heard)
    return audible_time(samples, 0.0, len(samples) / RATE)


async def test_a_person_who_answers_is_greeted_and_their_hang_up_ends_the_call(
    server, variables, worker
):
    async with SipPhone(says=said("hello")) as phone:
        dialling = asyncio.create_task(dial(server, phone))
        await eventually(lambda: heard(phone) >= GREETING, "the greeting")
        assert not phone.ended.is_set()
        phone.hang_up()
        code, told = await dialling
    assert (code, told["end_reason"]) == (0, EndReason.CALLER_HANGUP)
    call, _ = await closed_record(variables, told["room"])
    assert call.persona == "en"
    assert THEIRS not in told["room"] + (call.caller_number or "") + (call.end_detail or "")
    await server.gone(told["room"])


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [(486, 4, EndReason.CALLEE_BUSY), (603, 6, EndReason.CALLEE_REFUSED)],
)
async def test_who_does_not_take_the_call_is_told_by_the_exit_code(
    server, variables, worker, answer, code, reason
):
    async with SipPhone(answer) as phone:
        exit_code, told = await dial(server, phone)
    assert (exit_code, told["end_reason"]) == (code, reason)
    assert not phone.heard
    await server.gone(told["room"])


async def test_an_answering_machine_is_told_from_a_person(server, variables, worker):
    async with SipPhone(says=said("please leave a message after the tone")) as phone:
        code, told = await dial(server, phone)
    assert (code, told["end_reason"]) == (3, EndReason.VOICEMAIL)
    await server.gone(told["room"])
