"""The LiveKit API when it fails: what is repeated and when, what is left alone, what is counted."""

from __future__ import annotations

import asyncio
import time

import pytest
from livekit import api
from prometheus_client import REGISTRY

from agent import framework_api, metrics
from agent.breaker import State
from agent.errors import (
    AuthError,
    LiveKitError,
    RateLimited,
    ServerFailed,
    Unavailable,
)
from agent.livekit import LiveKit
from agent.twirp import retry_after
from config.errors import SettingsError
from config.retries import Breaker, Change, Policy, RetryPolicies
from config.sections import Livekit
from tests.livekit_calls import CALLS
from tests.livekit_stand_in import KEY, SECRET, Fault, TwirpStandIn

SOON = RetryPolicies(
    default=Policy(attempts=3, first_wait=0.001, timeout=5),
    breaker=Breaker(failures=0),
    policies={"room.create_room": Change(repeatable=True)},
)
NEVER_TWICE = [
    "agent_dispatch.create_dispatch",
    "egress.start_room_composite_egress",
    "ingress.create_ingress",
    "sip.create_sip_participant",
    "sip.transfer_sip_participant",
]


@pytest.fixture
async def server():
    async with TwirpStandIn() as server:
        yield server


@pytest.fixture
async def livekit(server):
    async with LiveKit(server.url, server.credentials, SOON) as livekit:
        yield livekit


def list_rooms(livekit):
    return livekit.room.list_rooms(api.ListRoomsRequest())


def counted(service, method, status):
    labels = {"service": service, "method": method, "status": status}
    return REGISTRY.get_sample_value("livekit_api_requests_total", labels) or 0


def timed(service, method):
    labels = {"service": service, "method": method}
    return REGISTRY.get_sample_value("livekit_api_request_duration_seconds_count", labels) or 0


@pytest.mark.parametrize("name", ["room.list_rooms", "room.delete_room", "room.create_room"])
@pytest.mark.parametrize("fault", [Fault("unavailable"), Fault("internal"), Fault(breaks=True)])
async def test_what_is_safe_is_repeated(server, livekit, name, fault):
    server.faults = [fault, fault]
    await CALLS[name].on(livekit, name)
    assert len(server.asked) == 3
    assert len({asked.headers["x-livekit-request-id"] for asked in server.asked}) == 1


@pytest.mark.parametrize("name", NEVER_TWICE)
@pytest.mark.parametrize("fault", [Fault("unavailable"), Fault("internal"), Fault(breaks=True)])
async def test_what_may_have_been_done_is_not(server, livekit, name, fault):
    server.faults = [fault]
    with pytest.raises(LiveKitError):
        await CALLS[name].on(livekit, name)
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["room.list_rooms", *NEVER_TWICE])
async def test_what_was_certainly_not_done_is_repeated_whatever_it_is(server, livekit, name):
    server.faults = [Fault("resource_exhausted"), Fault(status=429)]
    await CALLS[name].on(livekit, name)
    assert len(server.asked) == 3


@pytest.mark.parametrize("name", ["room.list_rooms", *NEVER_TWICE])
async def test_where_nobody_listens_it_is_tried_again(server, unused_tcp_port, name):
    before = counted(*name.split("."), "unreachable")
    async with LiveKit(f"ws://127.0.0.1:{unused_tcp_port}", server.credentials, SOON) as livekit:
        with pytest.raises(Unavailable, match="no connection") as failed:
            await CALLS[name].on(livekit, name)
    assert failed.value.not_done
    service, method = failed.value.service, failed.value.method
    if f"{service}.{method}" == name:
        assert counted(service, method, "unreachable") == before + 3


@pytest.mark.parametrize("code", ["not_found", "invalid_argument", "unauthenticated", "aborted"])
async def test_what_would_fail_again_is_not_repeated(server, livekit, code):
    server.fault = Fault(code)
    with pytest.raises(LiveKitError):
        await list_rooms(livekit)
    assert len(server.asked) == 1


async def test_the_last_attempt_tells_what_it_met(server, livekit):
    server.faults = [Fault("unavailable"), Fault("unavailable"), Fault("internal")]
    with pytest.raises(ServerFailed):
        await list_rooms(livekit)
    assert len(server.asked) == 3


async def test_waits_grow_and_are_not_all_the_same(server, monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    policies = RetryPolicies(default=Policy(attempts=5, first_wait=0.2, max_wait=1))
    async with LiveKit(server.url, server.credentials, policies) as livekit:
        server.fault = Fault("unavailable")
        with pytest.raises(Unavailable):
            await list_rooms(livekit)
    bounds = [(0.2, 0.4), (0.4, 0.6), (0.8, 1.0), (1.0, 1.0)]
    assert len(waits) == len(bounds)
    for wait, (least, most) in zip(waits, bounds, strict=True):
        assert least <= wait <= most
    assert waits[0] != 0.2


async def test_no_request_comes_sooner_than_the_server_asks_for(server, livekit):
    server.faults = [Fault("resource_exhausted", headers={"Retry-After": "1"})]
    begun = time.monotonic()
    await list_rooms(livekit)
    assert time.monotonic() - begun >= 1
    assert len(server.asked) == 2


async def test_who_is_to_wait_for_too_long_is_told_at_once(server, livekit):
    server.fault = Fault("unavailable", headers={"Retry-After": "30"})
    with pytest.raises(Unavailable) as failed:
        await list_rooms(livekit)
    assert failed.value.retry_after == 30
    assert len(server.asked) == 1


def test_a_wait_may_be_told_as_a_date():
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert retry_after("Fri, 31 Dec 2199 23:59:59 GMT") > 1e9
    assert retry_after("7") == 7
    assert retry_after("soon") is None
    assert retry_after("") is None


async def test_no_answer_in_time(server):
    before = counted("room", "list_rooms", "timeout"), timed("room", "list_rooms")
    server.fault = Fault(hangs=True)
    policies = RetryPolicies(default=Policy(attempts=2, first_wait=0.001, timeout=0.05))
    async with LiveKit(server.url, server.credentials, policies) as livekit:
        with pytest.raises(
            Unavailable, match=r"room.list_rooms: no answer within 0.05 s"
        ) as failed:
            await list_rooms(livekit)
        assert not failed.value.not_done
        assert len(server.asked) == 2
        with pytest.raises(Unavailable):
            await CALLS["agent_dispatch.create_dispatch"].on(
                livekit, "agent_dispatch.create_dispatch"
            )
        assert len(server.asked) == 3
    after = counted("room", "list_rooms", "timeout"), timed("room", "list_rooms")
    assert after == (before[0] + 2, before[1] + 2)


async def test_a_telephone_may_ring_for_longer_than_other_requests_last(server):
    server.fault = Fault(hangs=True)
    policies = RetryPolicies(default=Policy(timeout=0.01))
    ring = api.CreateSIPParticipantRequest(wait_until_answered=True)
    ring.ringing_timeout.seconds = 30
    async with LiveKit(server.url, server.credentials, policies) as livekit:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(livekit.sip.create_sip_participant(ring), 0.2)


async def test_at_livekit_cloud_another_region_is_asked(server, livekit, monkeypatch):
    async with TwirpStandIn() as elsewhere:
        server.regions = [server.url, elsewhere.url]
        server.fault = Fault("unavailable")
        with pytest.raises(Unavailable):
            await list_rooms(livekit)
        assert elsewhere.asked == []  # a server of one's own has no regions

        monkeypatch.setattr(framework_api, "is_cloud", lambda _host: True)
        await list_rooms(livekit)
        (first, second) = server.asked[-1], elsewhere.asked[-1]
        assert len(server.asked) == 4
        assert first.headers["x-livekit-request-id"] == second.headers["x-livekit-request-id"]

        server.fault = Fault("resource_exhausted")
        with pytest.raises(RateLimited):
            await list_rooms(livekit)  # who has had enough of us is not gone around
        assert len(elsewhere.asked) == 1

        server.fault = Fault("unavailable")
        with pytest.raises(Unavailable):
            await CALLS["sip.create_sip_participant"].on(livekit, "sip.create_sip_participant")
        assert len(elsewhere.asked) == 1


async def test_a_key_is_replaced_between_two_requests(server):
    keys = [(KEY, SECRET)]
    server.keys["the-next-key"] = "secret-of-the-next-key-that-is-long-enough"
    async with LiveKit(server.url, lambda: keys[0], SOON) as livekit:
        rooms = livekit.room  # whoever holds a service has the new key as well
        await rooms.list_rooms(api.ListRoomsRequest())
        keys[0] = ("the-next-key", server.keys["the-next-key"])
        await rooms.list_rooms(api.ListRoomsRequest())
        assert [asked.claims["iss"] for asked in server.asked] == [KEY, "the-next-key"]
        del server.keys["the-next-key"]
        with pytest.raises(AuthError, match=r"unauthenticated .HTTP 401."):
            await rooms.list_rooms(api.ListRoomsRequest())


async def test_without_a_key_nothing_is_asked(server):
    async with LiveKit(server.url, lambda: ("", ""), SOON) as livekit:
        with pytest.raises(AuthError, match="no LiveKit API key"):
            await list_rooms(livekit)

    def empty():
        raise SettingsError("the ring is empty")

    async with LiveKit(server.url, empty, SOON) as livekit:
        with pytest.raises(AuthError, match="the ring is empty"):
            await list_rooms(livekit)
        assert not await livekit.delete_room("room-1")
    assert server.asked == []


async def test_a_service_that_keeps_failing_is_left_alone_and_rooms_are_deleted_all_the_same(
    server,
):
    policies = SOON.model_copy(update={"breaker": Breaker(failures=3, open=10)})
    async with LiveKit(server.url, server.credentials, policies) as livekit:
        now = [100.0]
        breaker = livekit._client._breakers["room"]
        breaker._clock = lambda: now[0]
        server.fault = Fault("unavailable")
        with pytest.raises(Unavailable, match="HTTP 503"):
            await list_rooms(livekit)
        assert breaker.state is State.OPEN
        before = counted("room", "list_rooms", "breaker_open"), timed("room", "list_rooms")
        with pytest.raises(Unavailable, match="not asked, as room keeps failing") as refused:
            await list_rooms(livekit)
        assert refused.value.not_done
        assert len(server.asked) == 3
        after = counted("room", "list_rooms", "breaker_open"), timed("room", "list_rooms")
        assert after == (before[0] + 1, before[1])  # what was not asked took no time

        assert not await livekit.delete_room("room-1")
        assert [asked.method for asked in server.asked[3:]] == ["DeleteRoom"] * 3
        with pytest.raises(Unavailable, match="HTTP 503"):
            await livekit.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())  # another one

        now[0] += 10
        tried = len(server.asked)
        with pytest.raises(Unavailable, match="HTTP 503"):
            await list_rooms(livekit)
        assert len(server.asked) == tried + 1  # one request found that it still fails
        assert breaker.state is State.OPEN
        now[0] += 10
        server.fault = None
        await list_rooms(livekit)
        assert breaker.state is State.CLOSED


@pytest.mark.parametrize(
    "fault",
    [
        Fault("not_found"),
        Fault("resource_exhausted"),
        Fault("deadline_exceeded"),
        Fault("unimplemented"),
        Fault("unavailable", meta={"sip_status_code": "503"}),
    ],
)
async def test_an_answer_is_no_outage(server, fault):
    policies = RetryPolicies(default=Policy(attempts=1), breaker=Breaker(failures=1))
    async with LiveKit(server.url, server.credentials, policies) as livekit:
        server.fault = fault
        for _ in range(2):
            with pytest.raises(LiveKitError):
                await CALLS["sip.create_sip_participant"].on(livekit, "sip.create_sip_participant")
    assert len(server.asked) == 2


async def test_each_request_is_counted_and_timed(server, livekit):
    method = ("room", "list_rooms")
    before = counted(*method, "503"), counted(*method, "200"), timed(*method)
    server.faults = [Fault("unavailable"), Fault("unavailable")]
    await list_rooms(livekit)
    after = counted(*method, "503"), counted(*method, "200"), timed(*method)
    assert [new - old for old, new in zip(before, after, strict=True)] == [2, 1, 3]


async def test_a_request_that_is_given_up_is_counted_as_such(server, livekit):
    before = counted("room", "list_rooms", "cancelled")
    server.fault = Fault(hangs=True)
    asking = asyncio.create_task(list_rooms(livekit))
    await server.news.first(lambda _: True)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert counted("room", "list_rooms", "cancelled") == before + 1


async def test_a_connection_is_kept(server, livekit):
    for _ in range(3):
        await list_rooms(livekit)
    assert len({asked.peer for asked in server.asked}) == 1


async def test_a_room_that_is_gone_is_deleted(server, livekit, caplog):
    assert await livekit.delete_room("room-1")
    server.fault = Fault("not_found")
    assert await livekit.delete_room("room-1")
    assert caplog.messages == []


async def test_a_room_that_cannot_be_deleted_is_logged(server, livekit, caplog):
    server.fault = Fault("permission_denied", msg="with +15550100")
    assert not await livekit.delete_room("room-1")
    (record,) = caplog.records
    assert record.message == "a room could not be deleted"
    assert record.error == "room.delete_room: permission_denied (HTTP 403)"
    server.fault = Fault(status=404)  # not LiveKit's words: who knows whether there is a room
    assert not await livekit.delete_room("room-1")


async def test_a_repeated_request_is_told_in_the_log_and_not_on_standard_output(
    server, livekit, caplog, capsys
):
    caplog.set_level("INFO", "agent.livekit_client")
    server.faults = [Fault("unavailable")]
    await list_rooms(livekit)
    (record,) = [one for one in caplog.records if one.name == "agent.livekit_client"]
    assert record.message == "a request to LiveKit is repeated"
    assert (record.attempt, record.error) == (2, "room.list_rooms: unavailable (HTTP 503)")
    assert capsys.readouterr().out == ""


async def test_what_is_closed_or_has_no_server_asks_nothing(server):
    section = Livekit(url=server.url)
    async with LiveKit.of(section, server.credentials, SOON) as livekit:
        await list_rooms(livekit)
    with pytest.raises(Unavailable, match="closed"):
        await list_rooms(livekit)
    assert len(server.asked) == 1
    async with LiveKit.of(Livekit(), server.credentials, SOON) as nowhere:
        assert await nowhere.delete_room("room-1")


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_a_url_may_have_a_path(server, scheme):
    host = server.url.partition("://")[2]
    async with LiveKit(f"{scheme}://{host}/", server.credentials, SOON) as livekit:
        await list_rooms(livekit)
    assert len(server.asked) == 1


def test_metrics_are_defined_once_also_where_a_process_forks():
    names = [family.name for family in REGISTRY.collect()]
    assert names.count("livekit_api_requests") == 1
    assert names.count("livekit_api_request_duration_seconds") == 1
    assert metrics.API_SECONDS._upper_bounds[0] == 0.005
    assert metrics.API_SECONDS._upper_bounds[-2] == 10


async def test_too_many_requests_that_go_on_are_told_as_such(server, livekit):
    server.fault = Fault("resource_exhausted")
    with pytest.raises(RateLimited):
        await list_rooms(livekit)
    assert len(server.asked) == 3
