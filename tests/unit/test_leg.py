"""The room's twin of the caller's leg: a room in small pieces."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from livekit import rtc
from livekit.agents.types import ATTRIBUTE_AGENT_NAME
from livekit.protocol import sip

from agent import leg as legs
from agent import room_leg
from agent.call import HANGUP_TOPIC, EndReason
from agent.ending import Ending
from agent.errors import CallerNeverJoined, KeysNotSent, SipFailed, TransferFailed, Unavailable
from agent.room_leg import RoomLeg
from plugins.line import Hello
from plugins.line.audio_output import LineOutput

HELLO = Hello("+15550100", "+15550199", "ulaw", "caller-1")


class Caller(rtc.EventEmitter):
    """A room with one telephone in it, as far as a leg looks at it."""

    identity = "sip_1"
    kind = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
    disconnect_reason = None
    attributes = {  # noqa: RUF012 - never changed
        "sip.phoneNumber": "+15550100",
        "sip.trunkPhoneNumber": "+15550199",
        "sip.callID": "SCL_1",
    }


class Context:
    """A job's context: what it was asked to do, and what becomes of it."""

    def __init__(self, metadata="", *, fake=False):
        self.job = SimpleNamespace(room=SimpleNamespace(metadata=metadata, name="room-1"))
        livekit = SimpleNamespace(delete_room=self.delete_room, sip=self)
        self.proc = SimpleNamespace(userdata={"livekit": livekit})
        self.room = rtc.EventEmitter()
        self.room.remote_participants = {}
        self.room.local_participant = SimpleNamespace(attributes={ATTRIBUTE_AGENT_NAME: "voice-ai"})
        self.joined = asyncio.get_running_loop().create_future()
        self.deleted, self.transfers, self.connected = 0, [], {}
        self.error = self.leaves = None
        self.outcome = sip.TransferSIPParticipantResponse()
        self._fake = fake

    def is_fake_job(self):
        return self._fake

    async def connect(self, **options):
        self.connected = options

    async def wait_for_participant(self, **wanted):
        self.wanted = wanted
        return await self.joined

    async def delete_room(self, room):
        assert room == "room-1"
        self.deleted += 1

    async def transfer_sip_participant(self, request):
        assert request.room_name == "room-1"
        self.transfers.append((request.participant_identity, request.transfer_to))
        if self.leaves:
            self.room.emit("participant_disconnected", self.leaves)
        if self.error:
            raise self.error
        return self.outcome


class Session:
    """Notes how it was started."""

    def __init__(self):
        self.input = SimpleNamespace(audio=None)
        self.output = SimpleNamespace(
            audio=None, transcription=None, replace_audio_tail=self.replace_audio_tail
        )
        self.started = {}

    async def start(self, agent, **options):
        self.started = {"agent": agent, **options}
        self.output.audio = self.output.audio or LineOutput()

    def replace_audio_tail(self, sink):
        self.output.audio = sink


@pytest.fixture
def ending():
    return Ending()


@pytest.fixture
async def context():
    context = Context()
    yield context
    context.joined.cancel()


@pytest.fixture
async def room(context, ending):
    """The leg of a caller who has joined."""
    leg = RoomLeg(context, ending)
    context.joined.set_result(Caller())
    await leg.wait_for_caller(1.0)
    yield leg
    await leg.aclose()


async def test_a_room_is_joined_for_its_sound(context, ending):
    leg = await legs.connect(context, ending)
    assert isinstance(leg, RoomLeg)
    assert context.connected == {"auto_subscribe": "audio_only", "single_peer_connection": True}
    await leg.aclose()


async def test_the_caller_is_who_the_sip_participant_says(context, ending):
    leg = RoomLeg(context, ending)
    context.joined.set_result(Caller())
    caller = await leg.wait_for_caller(1.0)
    assert (caller.identity, caller.kind) == ("sip_1", "sip")
    assert (caller.number, caller.called) == ("+15550100", "+15550199")
    assert caller.attributes["sip.callID"] == "SCL_1"


async def test_nobody_joins(context, ending):
    with pytest.raises(CallerNeverJoined, match="No caller joined"):
        await RoomLeg(context, ending).wait_for_caller(0.01)


async def test_the_session_is_bound_to_the_caller_and_to_nobody_else(room, context):
    session = Session()
    mouth = await room.start(session, "the agent")
    assert mouth in chain(session.output.audio)
    assert session.started["agent"] == "the agent"
    assert session.started["room"] is context.room
    assert session.started["session_host"] is False
    options = session.started["room_options"]
    assert (options.participant_identity, options.close_on_disconnect) == ("sip_1", False)
    assert options.audio_input.sample_rate == 16_000
    assert options.audio_input.auto_gain_control is False


def chain(sink):
    """`sink` and all below it."""
    while sink is not None:
        yield sink
        sink = sink.next_in_chain


async def test_keys_in_a_room_reach_the_agent(room, context):
    keys = []
    room.on_dtmf(keys.append)
    colleague = SimpleNamespace(identity="colleague")
    for digit, who in (("1", Caller()), ("2", colleague), ("#", None)):
        dtmf = SimpleNamespace(digit=digit, code=1, participant=who)
        context.room.emit("sip_dtmf_received", dtmf)
    assert keys == ["1", "#"]


async def test_keys_are_sent_to_a_telephone(room, context):
    sent = []

    async def publish_dtmf(*, code, digit):
        sent.append((code, digit))

    context.room.local_participant.publish_dtmf = publish_dtmf
    await room.send_dtmf("9#")
    assert sent == [(9, "9"), (11, "#")]


async def test_keys_that_livekit_refuses_were_not_sent(room, context):
    async def publish_dtmf(*, code, digit):
        raise rtc.participant.PublishDTMFError("no")

    context.room.local_participant.publish_dtmf = publish_dtmf
    with pytest.raises(KeysNotSent, match="LiveKit refused"):
        await room.send_dtmf("1")


async def test_only_a_telephone_is_sent_keys(room):
    room._caller.kind = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    with pytest.raises(KeysNotSent, match="only a telephone call"):
        await room.send_dtmf("1")


def left(context, why=None):
    caller = Caller()
    caller.disconnect_reason = why
    context.room.emit("participant_disconnected", caller)


async def test_the_call_ends_when_the_caller_leaves_and_not_when_others_do(room, context, ending):
    context.room.emit("participant_disconnected", SimpleNamespace(identity="a supervisor"))
    assert ending.reason is None
    left(context)
    assert ending.reason is EndReason.CALLER_HANGUP


WHY = rtc.DisconnectReason


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        (WHY.CLIENT_INITIATED, EndReason.CALLER_HANGUP),
        (WHY.USER_REJECTED, EndReason.CALLER_HANGUP),
        (WHY.ROOM_DELETED, EndReason.AGENT_HANGUP),
        (WHY.PARTICIPANT_REMOVED, EndReason.AGENT_HANGUP),
        (WHY.CONNECTION_TIMEOUT, EndReason.CALLER_LOST),
        (WHY.MEDIA_FAILURE, EndReason.MEDIA_FAILURE),
        (WHY.SIP_TRUNK_FAILURE, EndReason.TRUNK_FAILURE),
        (WHY.SERVER_SHUTDOWN, EndReason.LIVEKIT_LOST),
    ],
)
async def test_a_caller_who_is_cut_off_did_not_hang_up(room, context, ending, why, reason):
    left(context, why)
    assert ending.reason is reason


@pytest.fixture
async def cut_off(room, context, monkeypatch):
    """The leg while the agent's own connection is restarted: everybody seems to have left."""
    monkeypatch.setattr(room_leg, "RETURN", 0.05)
    context.room.emit("reconnecting")
    left(context)
    yield room
    await room.aclose()


async def test_a_connection_that_is_restarted_is_no_hangup(cut_off, context, ending):
    await asyncio.sleep(0.1)  # however long it takes: the limit is for the time after it
    context.room.emit("participant_connected", Caller())
    context.room.emit("reconnected")
    await cut_off._returning
    assert ending.reason is None
    left(context, WHY.CLIENT_INITIATED)
    assert ending.reason is EndReason.CALLER_HANGUP


async def test_after_a_restart_the_callers_sound_is_asked_for_again(cut_off, context):
    asked = []
    track = SimpleNamespace(kind=rtc.TrackKind.KIND_AUDIO, set_subscribed=asked.append)
    picture = SimpleNamespace(kind=rtc.TrackKind.KIND_VIDEO)
    publications = {"TR_1": track, "TR_2": picture}
    context.room.remote_participants["sip_1"] = SimpleNamespace(track_publications=publications)
    context.room.emit("reconnected")
    assert asked == [True]


async def test_a_caller_who_does_not_come_back_was_lost_with_livekit(cut_off, context, ending):
    context.room.emit("reconnected")
    assert await asyncio.wait_for(ending.wait(), 5) is EndReason.LIVEKIT_LOST
    assert ending.detail == "the caller did not come back"


async def test_a_caller_whose_own_client_reconnects_is_waited_for(
    room, context, ending, monkeypatch
):
    monkeypatch.setattr(room_leg, "RETURN", 0.05)
    left(context, WHY.DUPLICATE_IDENTITY)
    context.room.emit("participant_connected", Caller())
    await room._returning
    assert ending.reason is None
    left(context, WHY.DUPLICATE_IDENTITY)
    assert await asyncio.wait_for(ending.wait(), 5) is EndReason.CALLER_LOST


async def test_a_call_that_was_dispatched_anew_is_left_to_the_new_job(cut_off, context, ending):
    agent = SimpleNamespace(
        identity="agent-2",
        kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
        attributes={ATTRIBUTE_AGENT_NAME: "voice-ai"},
    )
    context.room.emit("participant_connected", agent)
    assert ending.reason is EndReason.LIVEKIT_LOST
    await cut_off.end(EndReason.LIVEKIT_LOST)
    assert context.deleted == 0


@pytest.mark.parametrize(
    ("why", "reason", "detail"),
    [
        (rtc.DisconnectReason.ROOM_DELETED, EndReason.AGENT_HANGUP, "room deleted"),
        (rtc.DisconnectReason.SIGNAL_CLOSE, EndReason.LIVEKIT_LOST, "SIGNAL_CLOSE"),
        (rtc.DisconnectReason.SERVER_SHUTDOWN, EndReason.LIVEKIT_LOST, "SERVER_SHUTDOWN"),
    ],
)
async def test_a_lost_room_is_told_from_a_deleted_one(room, context, ending, why, reason, detail):
    context.room.emit("disconnected", why)
    assert (ending.reason, ending.detail) == (reason, detail)


@pytest.mark.parametrize(
    ("topic", "sender", "ends"),
    [(HANGUP_TOPIC, None, True), (HANGUP_TOPIC, Caller(), False), ("lk.chat", None, False)],
)
async def test_an_operator_ends_the_call_and_nobody_in_the_room_can(
    room, context, ending, topic, sender, ends
):
    context.room.emit("data_received", SimpleNamespace(topic=topic, participant=sender))
    assert (ending.reason, ending.detail) == (
        (EndReason.AGENT_HANGUP, "operator") if ends else (None, "")
    )


async def test_every_ending_deletes_the_room_but_a_transfer(room, context, monkeypatch):
    monkeypatch.setattr(room_leg, "LAST_WORDS", 0.0)
    await room.end(EndReason.TRANSFERRED)
    assert context.deleted == 0
    await room.end(EndReason.AGENT_HANGUP)
    assert context.deleted == 1


async def test_the_room_is_deleted_when_the_caller_never_came(context, monkeypatch):
    monkeypatch.setattr(room_leg, "LAST_WORDS", 0.0)
    await legs.end(context, None, EndReason.CALLER_NEVER_JOINED)
    assert context.deleted == 1


async def test_a_caller_in_a_room_is_transferred_by_sip(room, context):
    await room.transfer("tel:+15550111")
    assert context.transfers == [("sip_1", "tel:+15550111")]


@pytest.mark.parametrize("error", [Unavailable(), SipFailed("SIP 603", sip_status=603)])
async def test_a_refused_transfer_is_one_kind_of_error(room, context, error):
    context.error = error
    with pytest.raises(TransferFailed, match="LiveKit refused the transfer"):
        await room.transfer("tel:+15550111")


async def test_a_transfer_that_failed_without_an_error_has_failed(room, context):
    context.outcome = sip.TransferSIPParticipantResponse(
        status=sip.SIPTransferStatus.STS_TRANSFER_FAILED,
        reason=sip.SIPTransferReason.STR_RINGING_TIMEOUT,
    )
    with pytest.raises(TransferFailed, match="STR_RINGING_TIMEOUT"):
        await room.transfer("tel:+15550111")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("SIP", EndReason.MEDIA_FAILURE), ("STANDARD", EndReason.CALLER_HANGUP)],
)
async def test_only_a_telephone_that_sent_nothing_was_lost(room, context, ending, kind, reason):
    room._caller.kind = getattr(rtc.ParticipantKind, f"PARTICIPANT_KIND_{kind}")
    room._arrivals = SimpleNamespace(stopped_for=9.0)
    context.room.emit("participant_disconnected", room._caller)
    assert ending.reason is reason


async def test_whoever_asks_hears_how_well_the_caller_is_heard(room):
    told = []

    async def watch(_room, identity, hears):
        hears(identity)

    room._arrivals.watch = watch
    room.on_link(told.append)
    await room.start(Session(), "the agent")
    await room._counting
    assert told == ["sip_1"]


async def test_only_a_telephone_call_is_transferred(room, context):
    room._caller.kind = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    with pytest.raises(TransferFailed, match="only a telephone call"):
        await room.transfer("tel:+15550111")
    assert context.transfers == []


async def test_a_caller_who_leaves_because_of_the_transfer_did_not_hang_up(room, context, ending):
    context.leaves = Caller()
    await room.transfer("tel:+15550111")
    assert ending.reason is None  # the tool that asked for it decides


@pytest.mark.parametrize(
    ("error", "raised"), [(Unavailable(), TransferFailed), (RuntimeError(), RuntimeError)]
)
async def test_a_caller_who_leaves_a_transfer_that_failed_hung_up(
    room, context, ending, error, raised
):
    context.leaves, context.error = Caller(), error
    with pytest.raises(raised):
        await room.transfer("tel:+15550111")
    assert ending.reason is EndReason.CALLER_HANGUP
