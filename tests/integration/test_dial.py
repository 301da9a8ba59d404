"""`python -m ops dial` against a stand-in for LiveKit's API, and the record of a call log."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from livekit import api

from agent.call import Call, EndReason
from agent.events import CallEnded, CallOpened
from agent.store import CallLog
from ops import dial
from tests.programs import News
from tests.sip_operator import invoke
from tests.sip_stand_in import KEY, SECRET

NUMBER = "+15555550123"


class LiveKit:
    """Has outbound trunks, makes rooms, and takes dispatches of agents."""

    def __init__(self):
        self.trunks = ["main"]
        self.rooms, self.dispatches = News(), News()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/twirp/livekit.SIP/ListSIPOutboundTrunk", self._on_list)
        app.router.add_post("/twirp/livekit.RoomService/CreateRoom", self._on_room)
        app.router.add_post("/twirp/livekit.AgentDispatchService/CreateDispatch", self._on_agent)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _on_list(self, request):
        trunks = [api.SIPOutboundTrunkInfo(sip_trunk_id=f"ST_{n}", name=n) for n in self.trunks]
        return answer(api.ListSIPOutboundTrunkResponse(items=trunks))

    async def _on_room(self, request):
        asked = api.CreateRoomRequest.FromString(await request.read())
        await self.rooms.add(asked)
        return answer(api.Room(name=asked.name))

    async def _on_agent(self, request):
        await self.dispatches.add(api.CreateAgentDispatchRequest.FromString(await request.read()))
        return answer(api.AgentDispatch(id="AD_1"))


def answer(message):
    return web.Response(body=message.SerializeToString(), content_type="application/protobuf")


@pytest.fixture
async def livekit():
    async with LiveKit() as livekit:
        yield livekit


@pytest.fixture
def env(livekit, tmp_path):
    return {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path / 'calls.db'}",
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path),
    }


async def dials(env, *arguments):
    return await asyncio.to_thread(invoke, "dial", *arguments, env=env)


async def test_a_call_is_placed_by_sending_the_agent_into_a_room(livekit, env):
    code, out, err = await dials(env, NUMBER, "--persona", "ru", "--json")
    assert (code, err) == (0, "")
    room = json.loads(out)["room"]
    assert room.startswith("voice-ai-call-")
    (made,) = livekit.rooms
    assert (made.name, made.empty_timeout) == (room, dial.EMPTY)
    (sent,) = livekit.dispatches
    assert (sent.room, sent.agent_name) == (room, "voice-ai")
    told = json.loads(sent.metadata)
    assert told == {
        "persona": "ru",
        "direction": "outbound",
        "dial": {"to": NUMBER, "trunk": "ST_main"},
    }
    assert NUMBER not in room + out


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (EndReason.CALLER_HANGUP, 0),
        (EndReason.TRANSFERRED, 0),
        (EndReason.VOICEMAIL, 3),
        (EndReason.CALLEE_BUSY, 4),
        (EndReason.NOT_ANSWERED, 5),
        (EndReason.CALLEE_REFUSED, 6),
        (EndReason.TRUNK_FAILURE, 7),
        (EndReason.AGENT_ERROR, 1),
    ],
)
async def test_the_exit_code_tells_what_became_of_it(livekit, env, reason, code):
    dialling = asyncio.create_task(dials(env, NUMBER, "--wait"))
    sent = await livekit.dispatches.first(lambda _: True)
    await asyncio.to_thread(record, env["VOICE_AGENT__STORE__URL"], sent.room, reason)
    ended, out, _ = await asyncio.wait_for(dialling, 20)
    assert ended == code
    assert out.startswith(f"{reason} (SIP 999)")


async def test_without_a_worker_it_is_said_so(env, monkeypatch):
    monkeypatch.setattr(dial, "TAKEN_WITHIN", 0.1)
    code, _, err = await dials(env, NUMBER, "--wait")
    assert code == 2
    assert "no worker named voice-ai took the call" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("5555",), "NUMBER: expected a number such as +15550100"),
        ((NUMBER, "--persona", "de"), "--persona de: there are en, ru"),
        ((NUMBER, "--trunk", "spare"), "no outbound trunk spare (there are: main)"),
    ],
)
async def test_a_mistake_is_told_before_anything_rings(livekit, env, arguments, says):
    code, out, err = await dials(env, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert NUMBER not in err
    assert not list(livekit.rooms)


def record(url, room, reason):
    """What a worker writes about one call."""
    call = Call.new(room=room, room_sid="RM_1", job_id="AJ_1", agent_name="voice-ai")
    log = CallLog.open(url)
    try:
        opened = CallOpened(
            call_id=call.id,
            seq=1,
            room=room,
            room_sid="RM_1",
            job_id="AJ_1",
            agent_name="voice-ai",
            pid=1,
        )
        ended = CallEnded(call_id=call.id, seq=2, reason=reason, detail="SIP 999")
        log.apply("worker-1", [opened, ended])
    finally:
        log.close()
