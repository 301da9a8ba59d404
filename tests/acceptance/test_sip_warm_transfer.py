"""Warm transfers: a caller and a colleague on telephones of a real livekit-sip, and our worker."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import yaml
from livekit import api

from agent.call import EndReason
from agent.store import CallLog
from config.persona import load_personas
from plugins.line.hearing import spans
from plugins.line.judge import judge_line
from plugins.line.scenario import Listen, Patience, Say, Scenario
from tests.callers import asks
from tests.livekit_phone import closed_record
from tests.programs import ROOT, eventually
from tests.recordings import spoken
from tests.sip_caller import SipCaller
from tests.sip_people import PatientCaller, heard_by, hears, sentences, share, voice, whole
from tests.sip_phone import SipPhone
from tests.sip_server import SipServer

SIP = api.ParticipantInfo.Kind.SIP
pytestmark = [pytest.mark.acceptance, pytest.mark.sip]

CALLER, OURS, COLLEAGUE = "+70000000001", "+70000000100", "+70000000002"
FILE = """
inbound_trunks:
  - name: main
    numbers: ["{ours}"]
    allowed_addresses: [127.0.0.1]
dispatch_rules:
  - name: voice-ai-dispatch
    trunks: [main]
    room_config: {{agents: [{{agent_name: {agent}, metadata: {{persona: en}}}}]}}
outbound_trunks:
  - name: out
    address: "{address}"
    transport: udp
    numbers: ["{ours}"]
"""
RINGS, RINGING = 3, 10
"""Seconds until a colleague picks up, and for which one is rung."""

EN = load_personas(ROOT / "config" / "personas")["en"]
PHRASES = EN.phrases
ANSWER = next(fact.answer for fact in EN.facts if fact.name == "opening_hours")
QUESTION, WISH = "what are your opening hours", "i want to speak to a human"
"""What the caller said last is told to the colleague: the offline model makes no summary."""
ANYONE, PICKED_UP = "is anybody there at last", "hello can you repeat that"
GREETING, REPLY = "good morning how can i help you", "my bicycle has a flat tyre"


ACCEPTING = {
    "key": lambda phone: phone.press("1"),
    "words": lambda phone: phone.say(voice("yes")),
}
LISTEN = Listen(listen=Patience())
STEPS = [LISTEN, Say(say=QUESTION), LISTEN, Say(say=WISH)]
ASKS = Scenario(name="asks", about="A caller asks a question, then for a person.", steps=STEPS)


@pytest.fixture
async def livekit(tmp_path):
    async with SipServer(tmp_path) as server:
        yield server


@pytest.fixture
def variables(variables, tmp_path):
    (tmp_path / "personas").mkdir()
    body = yaml.safe_load((ROOT / "config" / "personas" / "en.yaml").read_text("utf-8"))
    body["transfer"] = {"to": f"tel:{COLLEAGUE}", "mode": "warm", "ringing": RINGING}
    (tmp_path / "personas" / "en.yaml").write_text(yaml.safe_dump(body))
    return {**variables, "VOICE_AGENT__PERSONAS__FOLDER": str(tmp_path / "personas")}


@pytest.fixture
def call(livekit, clock, worker):
    """A call of ours, in which `phone` will be rung: the caller's line, and the room."""

    @contextlib.asynccontextmanager
    async def call(caller, phone):
        agent = livekit.agent_name
        await livekit.declares(FILE.format(ours=OURS, agent=agent, address=phone.address))
        async with SipCaller(livekit, clock, caller, caller=CALLER, called=OURS) as line:
            await line.answered()
            (room,) = await livekit.rooms()
            yield line, room

    return call


@pytest.mark.parametrize("accepts", ACCEPTING.values(), ids=ACCEPTING)
async def test_a_colleague_is_told_agrees_and_both_hear_each_other(
    livekit, variables, call, accepts
):
    caller = PatientCaller(ASKS)
    async with SipPhone(rings=RINGS) as phone, call(caller, phone) as (line, room):
        await eventually(phone.answered.is_set, "the colleague picks up")
        await eventually(lambda: spans(heard_by(phone)), "the agent begins")
        caller.say(voice(ANYONE))
        phone.say(voice(PICKED_UP))
        for sentence in (*sentences(PHRASES.briefing), f"{QUESTION}. {WISH}"):
            await hears(phone, sentence)
        await hears(phone, sentences(PHRASES.briefing_question)[-1])
        accepts(phone)
        record, turns = await closed_record(variables, room)
        assert (record.end_reason, turns[-1].tools) == (EndReason.TRANSFERRED, ("transfer_call",))
        phone.say(voice(GREETING))
        await hears(caller, GREETING, voice)
        caller.say(voice(REPLY))
        await hears(phone, REPLY, voice)
        assert await kinds(livekit, room) == [SIP, SIP]  # the agent has left
        briefing = sentences(PHRASES.briefing)[0]
        assert not share(caller, PICKED_UP, voice(PICKED_UP))
        assert not share(caller, briefing, spoken(briefing))
        assert not share(phone, ANYONE, voice(ANYONE))

        line.hang_up()
        await line.ended()
        await livekit.webhooks.first(left)
        assert (await kinds(livekit, room), phone.ended.is_set()) == ([SIP], False)
        phone.hang_up()
        await livekit.gone(room)
    assert caller.failure is None


@pytest.mark.parametrize(
    ("takes", "does", "why"),
    [
        ({"code": 486}, None, "nobody took the call: SIP 486"),
        ({"code": 0}, None, "nobody took the call: no answer in time"),
        ({}, lambda phone: phone.press("2"), "the colleague declined"),
        ({}, SipPhone.hang_up, "the colleague hung up"),
    ],
    ids=["busy", "no-answer", "declines", "hangs-up"],
)
async def test_a_caller_whom_nobody_takes_is_told_and_asks_the_agent_on(
    livekit, variables, call, takes, does, why
):
    caller = asks("warm-transfer-declined")
    async with SipPhone(**takes) as phone, call(caller, phone) as (line, room):
        await eventually(phone.rang.is_set, "the colleague is rung")
        if does:
            await hears(phone, sentences(PHRASES.briefing)[0])
            does(phone)
        await line.ended()
        if phone.code != 486:
            assert phone.ended.is_set()
    assert not [verdict for verdict in judge_line(caller, line.recording) if not verdict.met]
    sorry, answer = (
        whole(text, line.recording.agent) for text in (PHRASES.transfer_failed, ANSWER)
    )
    assert sorry.end < caller.log[1].start < answer.start
    record, turns = await closed_record(variables, room)
    assert record.end_reason is EndReason.AGENT_HANGUP
    assert [turn.tools for turn in turns] == [(), ("transfer_call",), (), ("end_call",)]
    assert failures(variables, record.id) == [why]
    await livekit.gone(room)


async def test_a_caller_who_gives_up_lets_the_colleagues_telephone_fall_silent(
    livekit, variables, call
):
    async with SipPhone(0) as phone, call(PatientCaller(ASKS), phone) as (line, room):
        await eventually(phone.rang.is_set, "the colleague is rung")
        line.hang_up()
        await line.ended()
        await asyncio.wait_for(phone.ended.wait(), RINGING / 2)
        record, _ = await closed_record(variables, room)
    assert record.end_reason is EndReason.CALLER_HANGUP
    await livekit.gone(room)


def failures(variables, call_id):
    """Why the transfers of a call failed, as its record tells."""
    url = variables["VOICE_AGENT__STORE__URL"]
    with contextlib.closing(CallLog.open(url, readonly=True)) as log:
        events = log.get_call(call_id).events
    return [one.detail["error"] for one in events if one.name == "transfer_failed"]


def left(told_of):
    """A telephone has left its room."""
    return told_of.event == "participant_left" and told_of.participant.kind == SIP


async def kinds(livekit, room):
    """Who is in the room."""
    listed = await livekit.api.room.list_participants(api.ListParticipantsRequest(room=room))
    return [one.kind for one in listed.participants]
