"""Ringing somebody: the request, the trunk, and what each outcome means."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from livekit import api

from agent import dialing, outbound, twirp
from agent.call import EndReason, Verdict
from agent.dialing import DialFailed, Order
from agent.errors import ServerFailed, SipFailed, Unavailable
from agent.outbound import Placed
from config.livekit_auth import KeyRing, NoKeys, load_ring
from config.sections import Livekit, Outbound, Settings

NUMBER = "+15555550123"


class LiveKit:
    """The SIP API, as far as dialling asks it."""

    def __init__(self, *trunks, error=None):
        self.sip = self
        self.requests, self.error = [], error
        self.trunks = [
            api.SIPOutboundTrunkInfo(sip_trunk_id=f"ST_{name}", name=name) for name in trunks
        ]

    async def list_outbound_trunk(self, request):
        return SimpleNamespace(items=self.trunks)

    async def create_sip_participant(self, request):
        self.requests.append(request)
        if self.error:
            raise self.error


def sip_error(status):
    return SipFailed(f"SIP {status}", sip_status=status, said=f"INVITE to {NUMBER} failed")


async def test_the_number_is_in_the_request_and_nowhere_else():
    livekit = LiveKit("main")
    order = Order(f"tel:{NUMBER}", "main", ringing=20)
    await dialing.dial(livekit, "room-1", order)
    (request,) = livekit.requests
    assert (request.sip_trunk_id, request.sip_call_to) == ("ST_main", NUMBER)
    assert (request.room_name, request.participant_identity) == ("room-1", "callee")
    assert (request.participant_name, request.hide_phone_number) == ("callee", True)
    assert (request.wait_until_answered, request.ringing_timeout.seconds) == (True, 20)
    assert not request.HasField("max_call_duration")  # the agent itself ends the call
    assert NUMBER not in repr(order)


async def test_a_leg_that_outlives_the_agent_has_an_end():
    livekit = LiveKit("main")
    await dialing.dial(livekit, "room-1", Order(NUMBER, "main", longest=1200.4))
    assert livekit.requests[0].max_call_duration.seconds == 1200


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (sip_error(486), EndReason.CALLEE_BUSY, "SIP 486"),
        (sip_error(600), EndReason.CALLEE_BUSY, "SIP 600"),
        (sip_error(480), EndReason.NOT_ANSWERED, "SIP 480"),
        (sip_error(408), EndReason.NOT_ANSWERED, "SIP 408"),
        (sip_error(603), EndReason.CALLEE_REFUSED, "SIP 603"),
        (sip_error(404), EndReason.CALLEE_REFUSED, "SIP 404"),
        (sip_error(403), EndReason.TRUNK_FAILURE, "SIP 403"),
        (sip_error(503), EndReason.TRUNK_FAILURE, "SIP 503"),
        (SipFailed("STR_BUSY"), EndReason.TRUNK_FAILURE, "LiveKit says STR_BUSY"),
        (Unavailable(code="canceled", status=408), EndReason.NOT_ANSWERED, "no answer in time"),
        (Unavailable(code=twirp.TIMED_OUT), EndReason.NOT_ANSWERED, "no answer in time"),
        (ServerFailed(said=NUMBER), EndReason.TRUNK_FAILURE, "LiveKit says"),
        (Unavailable("no connection", said=NUMBER), EndReason.TRUNK_FAILURE, "no connection"),
    ],
)
async def test_every_outcome_has_its_reason_and_never_the_number(error, reason, detail):
    with pytest.raises(DialFailed) as failed:
        await dialing.dial(LiveKit("main", error=error), "room-1", Order(NUMBER))
    assert failed.value.reason is reason
    assert detail in str(failed.value)
    assert NUMBER not in str(failed.value)


async def test_a_trunk_is_found_by_id_name_or_because_it_is_alone():
    assert await dialing.find_trunk(LiveKit(), "ST_x") == "ST_x"
    assert await dialing.find_trunk(LiveKit("a", "b"), "b") == "ST_b"
    assert await dialing.find_trunk(LiveKit("a"), "") == "ST_a"


@pytest.mark.parametrize(
    ("trunks", "wanted", "says"),
    [
        ((), "", "outbound.trunk names none .there are: none"),
        (("b", "a"), "", "outbound.trunk names none .there are: a, b"),
        (("a",), "c", "no outbound trunk c .there are: a"),
        (("a", "a"), "a", "several outbound trunks are named a"),
    ],
)
async def test_a_trunk_that_cannot_be_told_is_named(trunks, wanted, says):
    with pytest.raises(DialFailed, match=says):
        await dialing.find_trunk(LiveKit(*trunks), wanted)


ROOM, SECRET = "room-1", "secret-of-a-test-that-is-long-enough"
SETTINGS = Settings(
    livekit=Livekit(api_key="key", api_secret=SECRET, auth=None),
    outbound=Outbound(trunk="main", ringing=20),
)


def ordered(trunk="ST_1", to=NUMBER, **changes):
    """The metadata of an order, with what somebody else made of it."""
    body = json.loads(outbound.metadata(load_ring(SETTINGS), ROOM, to, trunk, "ru"))
    dialled = {**body["dial"], **changes.pop("dial", {})}
    return json.dumps({**body, "dial": dialled, **changes})


def test_a_job_is_told_whom_to_call_and_who_talks():
    placed = outbound.placed(ordered(), ROOM, SETTINGS)
    assert placed.persona == "ru"
    assert placed.order == Order(NUMBER, "ST_1", ringing=20)


def test_without_a_trunk_the_settings_name_it():
    assert outbound.placed(ordered(trunk=""), ROOM, SETTINGS).order.trunk == "main"


@pytest.mark.parametrize("told", ["", "{}", "not JSON", "[1]", '{"dial": 1}'])
def test_any_other_job_answers_a_call(told):
    assert outbound.placed(told, ROOM, SETTINGS) is None


@pytest.mark.parametrize(
    "told",
    [
        ordered(dial={"to": "+15555550124"}),
        ordered(dial={"trunk": "ST_2"}),
        ordered(dial={"trunk": None}),
        ordered(persona="en"),
        ordered(signature=""),
        ordered(signature="подпись"),
        ordered(signature=None),
        ordered(signature="\ud800"),
        ordered(direction="inbound"),
        ordered(to="sip:somebody@example.test"),
        ordered(to="+1555"),
        json.dumps({"dial": {"to": NUMBER}, "direction": "outbound"}),
        '{"dial": {"to": 1}}',
    ],
)
def test_an_order_that_is_not_ours_never_rings(told, caplog):
    with pytest.raises(DialFailed) as refused:
        outbound.placed(told, ROOM, SETTINGS)
    assert refused.value.reason is EndReason.REJECTED_BLOCKED
    (line,) = caplog.records
    assert line.message == "a call is not placed"
    assert NUMBER.removesuffix("23") not in f"{line.__dict__}{refused.value}"


def test_an_order_is_for_one_room():
    with pytest.raises(DialFailed, match="not signed"):
        outbound.placed(ordered(), "room-2", SETTINGS)


def test_an_order_is_worth_nothing_where_there_is_no_secret():
    with pytest.raises(DialFailed, match="not signed"):
        outbound.placed(ordered(), ROOM, Settings(livekit=Livekit(auth=None)))


def test_an_order_cannot_be_signed_without_a_secret():
    with pytest.raises(NoKeys):
        outbound.metadata(KeyRing(), ROOM, NUMBER, "", "")


class Leg:
    """Notes whom it rings."""

    def __init__(self):
        self.rung = []

    async def dial(self, order):
        self.rung.append(order)

    async def wait_for_caller(self, timeout):  # noqa: ASYNC109 - the contract of a leg
        return "who answered"


async def test_only_a_call_that_is_admitted_rings():
    leg, call = Leg(), Placed(Order(NUMBER))
    with pytest.raises(DialFailed) as refused:
        await call.ring(leg, Verdict.CLOSED, 1.0)
    assert refused.value.reason is EndReason.REJECTED_CLOSED
    assert leg.rung == []
    assert await call.ring(leg, Verdict.ADMITTED, 1.0) == "who answered"
    assert leg.rung == [call.order]
    assert not call.callee.is_telephone  # the lists of callers are about who calls us
