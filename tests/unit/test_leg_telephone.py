"""A telephone in a room: it rings, also because we rang it, is connected, and may fall silent."""

from __future__ import annotations

import asyncio

import pytest
from livekit import rtc

from agent import room_leg
from agent.arrivals import STOPPED, Arrivals
from agent.call import EndReason
from agent.dialing import DialFailed, Order
from agent.ending import Ending
from agent.livekit import of_job
from agent.room_leg import RoomLeg
from tests.unit.test_leg import Caller, Context, Session


@pytest.fixture
def ending():
    return Ending()


@pytest.fixture
async def context():
    context = Context()
    yield context
    context.joined.cancel()


@pytest.fixture
async def ringing(context, ending):
    """The leg of a telephone that is not yet connected, and that telephone."""
    telephone = Caller()
    telephone.attributes = {**Caller.attributes, "sip.callStatus": "ringing"}
    leg = RoomLeg(context, ending)
    context.joined.set_result(telephone)
    await leg.wait_for_caller(1.0)
    yield leg, telephone
    await leg.aclose()


async def picking_up(leg):
    """`start` up to the point at which it waits for the telephone."""
    starting = asyncio.create_task(leg.start(Session(), None))
    for _ in range(5):
        await asyncio.sleep(0)
    return starting


async def test_nothing_is_said_before_the_telephone_is_connected(ringing, context):
    leg, telephone = ringing
    starting = await picking_up(leg)
    telephone.attributes["sip.codec"] = "PCMA"
    context.room.emit("participant_attributes_changed", {"sip.codec": "PCMA"}, telephone)
    await asyncio.sleep(0)
    assert not starting.done()
    telephone.attributes["sip.callStatus"] = "active"
    context.room.emit("participant_attributes_changed", {"sip.callStatus": "active"}, telephone)
    await asyncio.wait_for(starting, 1)


async def test_a_telephone_that_is_never_said_to_be_connected_is_spoken_to(ringing, monkeypatch):
    monkeypatch.setattr(room_leg, "CONNECTED_WITHIN", 0.01)
    leg, _ = ringing
    await asyncio.wait_for(leg.start(Session(), None), 1)


@pytest.mark.parametrize("is_telephone", [True, False], ids=["telephone", "browser"])
async def test_words_are_sent_to_those_who_can_read_them(context, ending, is_telephone):
    leg, caller, session = RoomLeg(context, ending), Caller(), Session()
    if not is_telephone:
        caller.kind = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    context.joined.set_result(caller)
    await leg.wait_for_caller(1.0)
    await leg.start(session, "the agent")
    # What follows the words of a telephone's call sends them to nobody.
    assert session.started["room_options"].text_output is not is_telephone
    assert (session.output.transcription is not None) is is_telephone
    await leg.aclose()


async def test_a_caller_who_hangs_up_while_it_rings_is_not_waited_for(ringing, context, ending):
    leg, telephone = ringing
    starting = await picking_up(leg)
    context.room.emit("participant_disconnected", telephone)
    await asyncio.wait_for(starting, 1)
    assert ending.reason is EndReason.CALLER_HANGUP


@pytest.mark.parametrize(
    ("is_taken", "reason"), [(True, None), (False, EndReason.MEDIA_FAILURE)], ids=["taken", "not"]
)
async def test_a_caller_who_does_not_take_our_audio_is_not_left_in_silence(
    ringing, context, ending, monkeypatch, is_taken, reason
):
    monkeypatch.setattr(room_leg, "CONNECTED_WITHIN", 0.01)
    monkeypatch.setattr(room_leg, "TELEPHONE_TAKES", 0.01)
    leg, _ = ringing
    if is_taken:
        context.room.emit("local_track_subscribed", None)
    await leg.start(Session(), None)
    await asyncio.wait([leg._hearing])
    assert ending.reason is reason


async def test_after_a_reconnection_our_audio_may_be_taken_anew(
    ringing, context, ending, monkeypatch
):
    monkeypatch.setattr(room_leg, "CONNECTED_WITHIN", 0.01)
    monkeypatch.setattr(room_leg, "TELEPHONE_TAKES", 0.2)
    leg, _ = ringing
    context.room.emit("reconnecting")
    await leg.start(Session(), None)
    await asyncio.wait([leg._hearing], timeout=0.3)
    context.room.emit("reconnected")
    await asyncio.sleep(0)
    assert not leg._hearing.done()
    context.room.emit("local_track_subscribed", None)
    await asyncio.wait_for(leg._hearing, 1)
    assert ending.reason is None


async def test_a_caller_whose_sound_had_stopped_was_lost(ringing, context, ending):
    leg, telephone = ringing
    moment = 100.0
    leg._arrivals = Arrivals(lambda: moment)
    leg._arrivals.counted(500)
    moment += STOPPED + 1
    context.room.emit("participant_disconnected", telephone)
    assert (ending.reason, ending.detail) == (EndReason.MEDIA_FAILURE, "no audio for 9 s")


async def test_whom_we_rang_has_the_number_that_we_rang(context, ending, monkeypatch):
    async def dial(livekit, room, order):
        assert (livekit, room) == (of_job(context), "room-1")

    monkeypatch.setattr(room_leg.dialing, "dial", dial)
    leg = RoomLeg(context, ending)
    await leg.dial(Order("+15550177"))
    hidden = Caller()
    hidden.attributes = {"sip.trunkPhoneNumber": "+15550199"}
    context.joined.set_result(hidden)
    caller = await leg.wait_for_caller(1.0)
    assert (caller.number, caller.called) == ("+15550177", "+15550199")
    telephone = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
    assert context.wanted == {"identity": "callee", "kind": telephone}  # and nobody who is there


async def test_a_call_that_has_ended_does_not_ring_any_more(context, ending, monkeypatch):
    leg = RoomLeg(context, ending)
    context.room.emit("disconnected", rtc.DisconnectReason.ROOM_DELETED)
    with pytest.raises(DialFailed) as failed:
        await leg.dial(Order("+15550177"))
    assert failed.value.reason is EndReason.AGENT_HANGUP
