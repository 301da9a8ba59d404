"""A real LiveKit server and our control plane: its events are handled, its callers helped."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest
from livekit import api, rtc
from sqlalchemy import select

from agent.call import EndReason
from agent.store.call_log import CallLog
from agent.store.room_tables import webhook_events
from agent.store.rooms import Rooms
from tests.livekit_server import KEY, SECRET, LiveKitServer
from tests.programs import PATIENCE, eventually, run, settings
from tests.serving import Serving

pytestmark = pytest.mark.livekit

ROOM = "voice-ai-call-control"
QUICK = {
    "VOICE_AGENT__ROOMS__LOOK_EVERY": "0.5",
    "VOICE_AGENT__ROOMS__DISPATCH_AFTER": "1",
    "VOICE_AGENT__ROOMS__DELETE_AFTER": "4",
    "VOICE_AGENT__ROOMS__RECONCILE_EVERY": "0.5",
}


@pytest.fixture
async def both(request, tmp_path):
    """The server, and the control plane that it tells, if the test is not about lost webhooks."""
    server = LiveKitServer(tmp_path)
    if not server.is_ours:
        pytest.skip("a LiveKit server of the test's own (livekit-server on PATH)")
    keys = {"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    hears = getattr(request, "param", True)
    async with server:
        more = {**keys, **QUICK, "LIVEKIT_URL": server.variables["LIVEKIT_URL"]}
        async with Serving(tmp_path, "--only", "webhooks,calls", **more) as plane:
            if hears:
                server.tell(f"{plane.url}/webhooks/livekit")
                await server.kill()
                await server.start()
            yield server, plane


@pytest.fixture
def log(tmp_path):
    log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    yield log
    log.close()


async def join(server, identity, kind):
    grants = api.VideoGrants(room_join=True, room=ROOM)
    token = server.token(grants).with_identity(identity).with_kind(kind)
    if kind == "sip":
        token = token.with_attributes({"sip.phoneNumber": "+15550100"})
    there = rtc.Room()
    await there.connect(server.variables["LIVEKIT_URL"], token.to_jwt())
    return there


def kept(log):
    with log.engine.connect() as connection:
        columns = (webhook_events.c.event, webhook_events.c.handled_at)
        return connection.execute(select(*columns)).all()


async def handled(log, wanted):
    """Wait until these events have come and are handled."""

    def all_there():
        events = kept(log)
        return Counter(event for event, at in events if at) == wanted

    await eventually(all_there, f"{wanted}; there is {kept(log)}")


async def test_every_event_that_the_server_sends_is_handled(both, log):
    server, _ = both
    caller, agent = await join(server, "sip_+15550100", "sip"), await join(server, "agent", "agent")
    source = rtc.AudioSource(48000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    published = await agent.local_participant.publish_track(track, rtc.TrackPublishOptions())
    seen = {"room_started": 1, "participant_joined": 2, "track_published": 1}
    await handled(log, seen)
    assert Rooms(log.engine).counts() == (1, 2)
    (call,) = log.list_calls()
    assert call.ended_at is None
    assert "15550100" not in f"{call.identity} {call.caller_number}"
    await agent.local_participant.unpublish_track(published.sid)
    await handled(log, seen | {"track_unpublished": 1})
    await source.aclose()
    await caller.disconnect()
    await agent.disconnect()
    await server.api.room.delete_room(api.DeleteRoomRequest(room=ROOM))
    await handled(log, seen | {"track_unpublished": 1, "participant_left": 2, "room_finished": 1})
    assert Rooms(log.engine).counts() == (0, 0)
    (call,) = log.list_calls()
    assert (call.end_reason, call.end_provisional) == (EndReason.CALLER_HANGUP, True)


async def test_who_never_connects_is_told_of_too(both, log):
    server, _ = both
    grants = api.VideoGrants(room_join=True, room=ROOM)
    token = server.token(grants).with_identity("sip_x").with_kind("sip").to_jwt()
    url = f"{server.variables['LIVEKIT_URL']}/rtc?access_token={token}&protocol=15"
    async with aiohttp.ClientSession() as client, client.ws_connect(url) as signal:
        await signal.receive()
        await server.api.room.delete_room(api.DeleteRoomRequest(room=ROOM))
    wanted = {"room_started": 1, "participant_connection_aborted": 1, "room_finished": 1}
    await handled(log, wanted)
    assert Rooms(log.engine).counts() == (0, 0)
    assert log.list_calls() == []


@pytest.mark.parametrize("both", [True, False], indirect=True, ids=["told", "webhooks-lost"])
async def test_a_caller_without_an_agent_is_helped_once_and_then_released(both, log):
    server, plane = both
    caller = await join(server, "sip_+15550100", "sip")
    gone = asyncio.Event()
    caller.on("disconnected", lambda _reason: gone.set())
    dispatched = []
    async with asyncio.timeout(60):
        while not gone.is_set():
            found = await server.api.agent_dispatch.list_dispatch(ROOM)
            dispatched += [one.id for one in found if one.id not in dispatched and one.agent_name]
            await asyncio.sleep(0.1)
    assert len(dispatched) == 1
    ended = lambda: [call for call in log.list_calls() if call.ended_at]  # noqa: E731
    (call,) = await eventually(ended, "the call is recorded")
    assert (call.end_reason, call.room) == (EndReason.NO_AGENT, ROOM)
    alerts = [entry.get("alert") for entry in plane.entries()]
    assert alerts.count("caller_without_agent") == alerts.count("call_without_agent_ended") == 1


@pytest.mark.parametrize("both", [True, False], indirect=True, ids=["told", "webhooks-lost"])
async def test_of_two_humans_the_one_who_is_left_is_released(both):
    server, _ = both
    caller = await join(server, "sip_caller", "sip")
    agent = await join(server, "agent", "agent")
    colleague = await join(server, "colleague", "sip")
    await agent.disconnect()
    gone = asyncio.Event()
    caller.on("disconnected", lambda _reason: gone.set())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gone.wait(), 12)
    await colleague.disconnect()
    await asyncio.wait_for(gone.wait(), 30)


async def test_an_operator_ends_a_call_from_the_command_line(both, log, tmp_path):
    server, _ = both
    caller, _agent = await join(server, "sip_x", "sip"), await join(server, "agent", "agent")
    gone = asyncio.Event()
    caller.on("disconnected", lambda _reason: gone.set())
    (call,) = await eventually(log.list_calls, "the call is recorded")
    variables = {**settings(tmp_path), **server.variables}
    command = ("-m", "ops", "calls", "hangup", call.id[:8], "--yes")
    done = await asyncio.to_thread(run, *command, variables=variables, within=PATIENCE)
    assert done.returncode == 0, done.stderr
    await asyncio.wait_for(gone.wait(), PATIENCE)
    ((what, which),) = [(line.what, line.object) for line in log.audit_trail()]
    assert (what, which) == ("calls.hangup", call.id)
    await server.gone(ROOM)
    again = await asyncio.to_thread(run, *command, variables=variables, within=PATIENCE)
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1
    assert "the call's room is gone" in again.stderr
