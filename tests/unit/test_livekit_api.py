"""Every method of the LiveKit API against a stand-in: what arrives, and what each refusal means."""

from __future__ import annotations

import inspect
import re
import warnings

import pytest
from livekit import api

from agent import errors
from agent.errors import LiveKitError
from agent.livekit import LiveKit
from config.retries import METHODS, SERVICES, Breaker, Policy, RetryPolicies, method_name
from tests.livekit_calls import BY_DEFAULT, CALLS, OLD_NAMES
from tests.livekit_stand_in import KEY, SECRET, STATUSES, Fault, TwirpStandIn

ONCE = RetryPolicies(default=Policy(attempts=1), breaker=Breaker(failures=0))


@pytest.fixture
async def server():
    async with TwirpStandIn() as server:
        yield server


@pytest.fixture
async def livekit(server):
    async with LiveKit(server.url, server.credentials, ONCE) as livekit:
        yield livekit


def installed(livekit):
    """Every public method of the services, by reflection."""
    return {
        f"{ours}.{name}"
        for ours, _ in SERVICES.values()
        for name, _ in inspect.getmembers(getattr(livekit, ours), callable)
        if not name.startswith("_")
    }


async def test_no_method_of_the_installed_api_is_missed(livekit):
    assert installed(livekit) == {*CALLS, *OLD_NAMES}


def test_no_service_of_the_installed_api_is_missed():
    services = {
        name
        for name, value in inspect.getmembers(api.LiveKitAPI)
        if isinstance(value, property) and not name.startswith("_")
    }
    assert services - {ours for ours, _ in SERVICES.values()} == {"connector"}  # LiveKit Cloud's


@pytest.mark.parametrize("name", [*CALLS, *OLD_NAMES])
async def test_what_arrives(server, livekit, name):
    call = CALLS[OLD_NAMES.get(name, name)]
    with warnings.catch_warnings():
        if name in OLD_NAMES:
            warnings.simplefilter("ignore", DeprecationWarning)
        await call.on(livekit, name)
    (asked,) = server.asked
    assert f"{asked.service}/{asked.method}" == call.path
    assert asked.message == call.message
    assert asked.headers["content-type"] == "application/protobuf"
    assert re.fullmatch(r"[0-9a-f-]{36}", asked.headers["x-livekit-request-id"])
    assert asked.claims["iss"] == KEY
    assert asked.claims["video"] == {**BY_DEFAULT, **call.video}
    assert asked.claims.get("sip") == call.sip
    assert f"{SERVICES[asked.service][0]}.{method_name(asked.method)}" in METHODS


async def test_the_answer_comes_back_as_it_was_given(server, livekit):
    rooms = api.ListRoomsResponse(rooms=[api.Room(name="room-1", num_participants=2)])
    dispatches = [api.AgentDispatch(id="AD_1"), api.AgentDispatch(id="AD_2")]
    server.answers = {
        "ListRooms": rooms,
        "ListDispatch": api.ListAgentDispatchResponse(agent_dispatches=dispatches),
    }
    assert await livekit.room.list_rooms(api.ListRoomsRequest()) == rooms
    assert await livekit.agent_dispatch.list_dispatch("room-1") == dispatches


KINDS = {
    "canceled": errors.Unavailable,
    "unknown": errors.ServerFailed,
    "invalid_argument": errors.InvalidRequest,
    "malformed": errors.InvalidRequest,
    "deadline_exceeded": errors.Unavailable,
    "not_found": errors.NotFound,
    "bad_route": errors.Unsupported,
    "already_exists": errors.AlreadyExists,
    "permission_denied": errors.PermissionDenied,
    "unauthenticated": errors.AuthError,
    "resource_exhausted": errors.RateLimited,
    "failed_precondition": errors.FailedPrecondition,
    "aborted": errors.FailedPrecondition,
    "out_of_range": errors.InvalidRequest,
    "unimplemented": errors.Unsupported,
    "internal": errors.ServerFailed,
    "unavailable": errors.Unavailable,
    "dataloss": errors.ServerFailed,
}
BARE = {
    301: errors.Unsupported,
    400: errors.InvalidRequest,
    401: errors.AuthError,
    403: errors.PermissionDenied,
    404: errors.Unsupported,
    408: errors.Unavailable,
    409: errors.FailedPrecondition,
    412: errors.FailedPrecondition,
    413: errors.InvalidRequest,
    418: errors.Unsupported,
    429: errors.RateLimited,
    500: errors.ServerFailed,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
    520: errors.ServerFailed,
}


@pytest.mark.parametrize("name", CALLS)
async def test_every_error_is_of_its_kind(server, livekit, name):
    assert KINDS.keys() == STATUSES.keys()
    faults = [(Fault(code), kind) for code, kind in KINDS.items()]
    faults += [(Fault(status=status), kind) for status, kind in BARE.items()]
    for fault, kind in faults:
        server.fault = fault
        with pytest.raises(LiveKitError) as failed:
            await CALLS[name].on(livekit, name)
        error = failed.value
        assert type(error) is kind, fault
        asked = server.asked[-1]
        assert (error.service, error.method) == (
            SERVICES[asked.service][0],
            method_name(asked.method),
        )
        assert error.code == (fault.code or "unknown")
        assert error.status == (fault.status or STATUSES[fault.code])
        assert error.said == ("no" if fault.code else "")
        assert error.not_done is (kind is errors.RateLimited)
        assert str(error).startswith(f"{error.service}.{error.method}: ")
        assert str(error.status) in str(error)


@pytest.mark.parametrize("name", ["sip.create_sip_participant", "sip.transfer_sip_participant"])
@pytest.mark.parametrize(
    ("meta", "sip_status", "says"),
    [
        ({"sip_status_code": "486", "sip_status": "Busy +15550100"}, 486, "SIP 486"),
        ({"sip_transfer_reason": "STR_RINGING_TIMEOUT"}, 0, "STR_RINGING_TIMEOUT"),
        (
            {"sip_transfer_reason": "STR_SIP_STATUS", "sip_status_code": "603"},
            603,
            "STR_SIP_STATUS, SIP 603",
        ),
        ({"sip_status_code": "+15550100"}, 0, "resource_exhausted"),
    ],
)
async def test_what_the_telephone_side_answered(server, livekit, name, meta, sip_status, says):
    server.fault = Fault("resource_exhausted", msg="INVITE to +15550100 failed", meta=meta)
    with pytest.raises(errors.SipFailed) as failed:
        await CALLS[name].on(livekit, name)
    assert failed.value.sip_status == sip_status
    assert str(failed.value) == f"{name}: {says}"
    assert not failed.value.not_done  # it has rung, however LiveKit calls it


async def test_what_is_no_livekit_at_all(server, livekit):
    server.fault = Fault(status=200)
    with pytest.raises(errors.Unsupported, match="what answers is not LiveKit"):
        await livekit.room.list_rooms(api.ListRoomsRequest())


@pytest.mark.parametrize("body", [b"[1]", b'"no"', b"\xff", b'{"code": 7, "meta": []}', b""])
async def test_an_error_that_is_no_twirp_error_is_told_by_its_status(server, livekit, body):
    server.fault = Fault(status=503, body=body)
    with pytest.raises(errors.Unavailable, match="HTTP 503"):
        await livekit.room.list_rooms(api.ListRoomsRequest())


async def test_no_secret_is_in_an_error(server, livekit):
    async def met(livekit):
        with pytest.raises(LiveKitError) as failed:
            await livekit.room.list_rooms(api.ListRoomsRequest())
        return failed.value

    server.fault = Fault("internal", echoes=True)
    echoed = await met(livekit)
    assert echoed.said == "who is ***"
    server.fault = Fault(breaks=True)
    found = [echoed, await met(livekit)]
    server.keys.clear()
    found.append(await met(livekit))
    async with LiveKit("ws://127.0.0.1:1", server.credentials, ONCE) as nowhere:
        found.append(await met(nowhere))
    token = server.asked[0].headers["authorization"].removeprefix("Bearer ")
    for error in found:
        told = f"{error!r} {error} {vars(error)}"
        assert not [secret for secret in (KEY, SECRET, token, token[:40]) if secret in told]
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
    assert SECRET not in f"{livekit!r} {vars(livekit)}"
