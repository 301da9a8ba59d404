"""`python -m ops dial` against a stand-in for LiveKit's API, and the record of a call log."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest
from aiohttp import web
from livekit import api

from agent import outbound
from agent.call import Call, EndReason
from agent.events import CallEnded, CallOpened
from agent.store import CallLog
from config.sections import Livekit, Settings
from ops import dial
from tests.programs import INHERITED, PATIENCE, ROOT, News
from tests.sip_operator import invoke
from tests.sip_stand_in import KEY, SECRET

NUMBER = "+15555550123"


class LiveKit:
    """Has outbound trunks, makes rooms, and takes dispatches of agents."""

    def __init__(self):
        self.trunks = ["main"]
        self.rooms, self.dispatches, self.deleted = News(), News(), News()
        self.refusal = None
        """What the dispatch of an agent is answered with, if it is refused."""

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/twirp/livekit.SIP/ListSIPOutboundTrunk", self._on_list)
        app.router.add_post("/twirp/livekit.RoomService/CreateRoom", self._on_room)
        app.router.add_post("/twirp/livekit.AgentDispatchService/CreateDispatch", self._on_agent)
        app.router.add_post("/twirp/livekit.RoomService/DeleteRoom", self._on_delete)
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
        if self.refusal:
            return web.json_response({"code": self.refusal, "msg": "no"}, status=503)
        return answer(api.AgentDispatch(id="AD_1"))

    async def _on_delete(self, request):
        await self.deleted.add(api.DeleteRoomRequest.FromString(await request.read()).room)
        return answer(api.DeleteRoomResponse())


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
    assert sent.restart_policy == api.JobRestartPolicy.JRP_NEVER
    settings = Settings(livekit=Livekit(api_key=KEY, api_secret=SECRET, auth=None))
    placed = outbound.placed(sent.metadata, room, settings)
    assert (placed.order.to, placed.order.trunk, placed.persona) == (NUMBER, "ST_main", "ru")
    assert NUMBER not in room + out
    assert not list(livekit.deleted)


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
    assert not list(livekit.deleted)  # the job has ended its call itself


async def test_without_a_worker_it_is_said_so_and_nothing_rings_later(livekit, env, monkeypatch):
    monkeypatch.setattr(dial, "TAKEN_WITHIN", 0.1)
    code, _, err = await dials(env, NUMBER, "--wait")
    assert code == 2
    assert "no worker named voice-ai took the call" in err
    assert list(livekit.deleted) == [room.name for room in livekit.rooms]


async def test_a_dispatch_that_failed_is_sent_once_and_nothing_rings_later(livekit, env):
    livekit.refusal = "unavailable"
    code, _, err = await dials(env, NUMBER)
    assert (code, "did not take the call: agent_dispatch.create_dispatch: unavailable" in err) == (
        2,
        True,
    )
    assert len(list(livekit.dispatches)) == 1
    assert list(livekit.deleted) == [room.name for room in livekit.rooms]


async def test_whoever_interrupts_it_has_nothing_ring_later(livekit, env):
    asking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "dial", NUMBER, "--wait"),
        cwd=ROOT,
        env={**INHERITED, **env},
        stderr=asyncio.subprocess.DEVNULL,
    )
    sent = await livekit.dispatches.first(lambda _: True)
    asking.send_signal(signal.SIGINT)
    assert await livekit.deleted.first(lambda _: True) == sent.room
    assert await asyncio.wait_for(asking.wait(), PATIENCE) == 130


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
