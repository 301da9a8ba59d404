"""At LiveKit Cloud the API's client repeats what failed: a telephone must not ring for it again."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from livekit import api
from livekit.agents.utils import http_context
from livekit.api import twirp_client

from agent.call import EndReason
from agent.consultation import Briefing, consult
from agent.dialing import DialFailed, Order
from agent.ending import Ending
from agent.errors import TransferFailed
from agent.room_leg import RoomLeg
from tests.unit import test_consultation, test_leg

KEY, SECRET = "key-of-a-test", "secret-of-a-test-that-is-long-enough"
ORDER = Order("+15555550123", "ST_1", "colleague")


@asynccontextmanager
async def failing(monkeypatch):
    """An API that answers 503: what it was asked. Every client takes it for LiveKit Cloud's."""
    attempts, asked = twirp_client.failover_attempts, []

    def as_in_the_cloud(enabled, host, _force, timeout):
        return attempts(enabled, host, True, timeout)

    async def refuse(request):
        asked.append(request.path.rpartition(".")[2])
        return web.json_response({"code": "unavailable", "msg": "no"}, status=503)

    app = web.Application()
    app.router.add_post("/twirp/{method:.*}", refuse)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(twirp_client, "failover_attempts", as_in_the_cloud)
    monkeypatch.setenv("LIVEKIT_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("LIVEKIT_API_KEY", KEY)
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    try:
        async with http_context.open():
            yield asked
    finally:
        await runner.cleanup()


def in_the_cloud(context):
    """The job's context with the framework's own client."""
    context.api = api.LiveKitAPI(session=http_context.http_session())
    return context


async def test_the_frameworks_own_client_repeats_a_request(monkeypatch):
    async with failing(monkeypatch) as asked:
        with pytest.raises(api.ServerError):
            await in_the_cloud(test_leg.Context()).api.room.list_rooms(api.ListRoomsRequest())
    assert len(asked) > 1


async def test_an_order_is_dialled_once(monkeypatch):
    async with failing(monkeypatch) as asked:
        leg = RoomLeg(in_the_cloud(test_leg.Context()), Ending())
        with pytest.raises(DialFailed) as failed:
            await leg.dial(ORDER)
    assert failed.value.reason is EndReason.TRUNK_FAILURE
    assert asked == ["SIP/CreateSIPParticipant"]


async def test_a_caller_is_referred_once(monkeypatch):
    async with failing(monkeypatch) as asked:
        context = in_the_cloud(test_leg.Context())
        context.joined.set_result(test_leg.Caller())
        leg = RoomLeg(context, Ending())
        await leg.wait_for_caller(1.0)
        with pytest.raises(TransferFailed):
            await leg.transfer("tel:+15555550111")
    assert asked == ["SIP/TransferSIPParticipant"]


async def test_a_colleague_is_rung_once(monkeypatch):
    async with failing(monkeypatch) as asked:
        context = in_the_cloud(test_consultation.Context())
        with pytest.raises(TransferFailed):
            await consult(context, "caller", None, Briefing(ORDER, ("hello",), "well?", "en"))
    assert asked.count("SIP/CreateSIPParticipant") == 1
