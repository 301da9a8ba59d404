"""Telephone calls: SIPp calls a real livekit-sip, and our worker answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from livekit import api

from agent.call import EndReason
from agent.pseudonym import SALT_FILE, Pseudonyms
from agent.store import CallLog
from config.persona import load_personas
from plugins.line.g711 import RATE
from plugins.line.hearing import audible_time
from plugins.line.judge import judge_line
from plugins.line.scenario import CallerProfile
from plugins.line.speech import offline_voice, speak
from plugins.offline import TTS
from tests.callers import asks
from tests.livekit_phone import closed_record
from tests.programs import ROOT, Worker, eventually, settings
from tests.sip_caller import SipCaller
from tests.sip_server import SipServer

pytestmark = [pytest.mark.acceptance, pytest.mark.sip]

CALLER, CALLED = "+70000000001", "+70000000100"

FILE = f"""
inbound_trunks:
  - name: main
    numbers: ["{CALLED}"]
    allowed_addresses: [127.0.0.1]
    headers_to_attributes: {{X-Campaign: campaign}}
    media: {{media_timeout: 10}}
dispatch_rules:
  - name: voice-ai-dispatch
    trunks: [main]
    attributes: {{line: main}}
    room_config: {{agents: [{{agent_name: AGENT, metadata: {{persona: en}}}}]}}
"""

GREETED = 3.0
"""Seconds at most from the INVITE to the greeting: twice the product's figure."""


GREETING = load_personas(ROOT / "config" / "personas")["en"].phrases.greeting


@pytest.fixture
async def server(tmp_path):
    async with SipServer(tmp_path) as server:
        await server.declares(FILE.replace("AGENT", server.agent_name))
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


@pytest.fixture
def phone(server, clock):
    """Calls our number with the caller of a scenario."""

    def call(caller, **options):
        return SipCaller(server, clock, caller, caller=CALLER, called=CALLED, **options)

    return call


@pytest.mark.parametrize("law", ["alaw", "ulaw"])
async def test_a_telephone_call_is_greeted_answered_and_hung_up(
    server, variables, worker, phone, law
):
    caller = asks("opening-hours")
    async with phone(caller, law=law) as line:
        await line.answered()
        room = await the_room(server)
        told = await attributes(server, room)
        await line.ended()
    assert told["sip.phoneNumber"] == CALLER
    assert told["sip.trunkPhoneNumber"] == CALLED
    assert (told["line"], told["campaign"]) == ("main", "spring")  # of the rule, of a header
    waited = line.answered_after + line.greeted_after
    heard = audible_time(line.recording.agent, 0.0, caller.log[0].start)
    whole = audible_seconds(GREETING)
    print(f"greeted {waited:.2f} s after the INVITE, {heard:.2f} of {whole:.2f} s")  # noqa: T201
    assert heard == pytest.approx(whole, rel=0.15)  # livekit-sip drops what comes too early
    assert not [verdict for verdict in judge_line(caller, line.recording) if not verdict.met]
    assert waited <= GREETED
    call, _ = await closed_record(variables, room)
    assert (call.end_reason, call.turn_count) == (EndReason.AGENT_HANGUP, 4)
    salt = (Path(variables["VOICE_AGENT__DATA__FOLDER"]) / SALT_FILE).read_bytes()
    assert call.caller_number == Pseudonyms(salt).of_number(CALLER)
    assert call.called_number == CALLED
    assert CALLER not in room
    assert room.startswith("voice-ai-call-")
    await server.gone(room)


async def test_bye_ends_the_job_and_the_room(server, variables, worker, phone):
    caller = asks("hangup-mid-sentence")
    async with phone(caller) as line:
        await line.answered()
        room = await the_room(server)
        await line.ended()
    assert caller.failure is None
    call, _ = await closed_record(variables, room)
    assert (call.end_reason, call.turn_count > 0) == (EndReason.CALLER_HANGUP, True)
    await server.gone(room)


async def test_keys_that_are_pressed_reach_the_record(server, variables, worker, phone):
    caller = asks("keys")
    async with phone(caller) as line:
        await line.answered()
        room = await the_room(server)
        await line.ended()
    assert caller.failure is None
    call, turns = await closed_record(variables, room)
    assert "dtmf_pressed" in turns[1].tools
    assert keys_pressed(variables, call.id) == len("12#")


async def test_a_transfer_is_a_refer_and_the_caller_is_let_go(server, variables, worker, phone):
    caller = asks("transfer")
    async with phone(caller) as line:
        await line.answered()
        room = await the_room(server)
        await line.ended()
    assert line.referred_to == "tel:+15555550199"
    call, _ = await closed_record(variables, room)
    assert call.end_reason is EndReason.TRANSFERRED
    await server.gone(room)


async def test_a_transfer_that_nobody_takes_leaves_the_caller_with_the_agent(
    server, variables, worker, phone
):
    caller = asks("transfer-refused")
    async with phone(caller, transfer="486 Busy Here") as line:
        await line.answered()
        room = await the_room(server)
        await line.ended()
    assert (caller.failure, line.referred_to) == (None, "tel:+15555550199")
    call, _ = await closed_record(variables, room)
    assert call.end_reason is EndReason.AGENT_HANGUP
    await server.gone(room)


async def test_a_caller_whose_audio_stops_is_a_media_failure(server, variables, worker, phone):
    async with phone(asks("silence")) as line:
        await line.answered()
        room = await the_room(server)
        await eventually(lambda: line.greeted_after, "the greeting")
        line.fall_silent()
        await line.ended()
    call, _ = await closed_record(variables, room)
    assert call.end_reason is EndReason.MEDIA_FAILURE
    assert call.end_detail.startswith("no audio for ")
    await server.gone(room)


async def the_room(server):
    """The name of the only room."""
    names = await server.rooms()
    assert len(names) == 1
    return names.pop()


def audible_seconds(phrase):
    """How long the agent's offline voice is audible when it says this."""
    said = speak(phrase, CallerProfile(speed=TTS().speed), offline_voice)
    return audible_time(said, 0.0, len(said) / RATE)


async def attributes(server, room):
    """Those of the telephone in the room."""
    listed = await server.api.room.list_participants(api.ListParticipantsRequest(room=room))
    (telephone,) = (one for one in listed.participants if one.kind == api.ParticipantInfo.Kind.SIP)
    return dict(telephone.attributes)


def keys_pressed(variables, call_id):
    """How many keys the call's record tells of."""
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"], readonly=True)
    try:
        events = log.get_call(call_id).events
        return sum(one.detail["pressed"] for one in events if one.name == "dtmf")
    finally:
        log.close()
