"""The API's client repeats what failed: a telephone must not ring for it again."""

from __future__ import annotations

import pytest
from livekit import api

from agent.call import EndReason
from agent.consultation import Briefing, consult
from agent.dialing import DialFailed, Order
from agent.ending import Ending
from agent.errors import TransferFailed, Unavailable
from agent.livekit import LiveKit, of_job
from agent.room_leg import RoomLeg
from config.retries import Policy, RetryPolicies
from tests.livekit_stand_in import Fault, TwirpStandIn
from tests.unit import test_consultation, test_leg

ORDER = Order("+15555550123", "ST_1", "colleague")


@pytest.fixture
async def server():
    """An API that answers 503 to whatever it is asked."""
    async with TwirpStandIn() as server:
        server.fault = Fault("unavailable")
        yield server


@pytest.fixture
def with_api(server):
    """Give the context of a job the API as jobs have it."""
    policies = RetryPolicies(default=Policy(first_wait=0.001))
    livekit = LiveKit(server.url, server.credentials, policies)

    def give(context):
        context.proc.userdata["livekit"] = livekit
        return context

    return give


@pytest.fixture(autouse=True)
async def closed(with_api):
    context = with_api(test_leg.Context())
    yield
    await of_job(context).aclose()


async def test_what_rings_nobody_is_repeated(server, with_api):
    with pytest.raises(Unavailable):
        await of_job(with_api(test_leg.Context())).room.list_rooms(api.ListRoomsRequest())
    assert [asked.method for asked in server.asked] == ["ListRooms"] * 3


async def test_an_order_is_dialled_once(server, with_api):
    leg = RoomLeg(with_api(test_leg.Context()), Ending())
    with pytest.raises(DialFailed) as failed:
        await leg.dial(ORDER)
    assert failed.value.reason is EndReason.TRUNK_FAILURE
    assert [asked.method for asked in server.asked] == ["CreateSIPParticipant"]


async def test_a_caller_is_referred_once(server, with_api):
    context = with_api(test_leg.Context())
    context.joined.set_result(test_leg.Caller())
    leg = RoomLeg(context, Ending())
    await leg.wait_for_caller(1.0)
    with pytest.raises(TransferFailed):
        await leg.transfer("tel:+15555550111")
    assert [asked.method for asked in server.asked] == ["TransferSIPParticipant"]


async def test_a_colleague_is_rung_once(server, with_api):
    context = with_api(test_consultation.Context())
    with pytest.raises(TransferFailed):
        await consult(context, "caller", None, Briefing(ORDER, ("hello",), "well?", "en"))
    assert [asked.method for asked in server.asked].count("CreateSIPParticipant") == 1
