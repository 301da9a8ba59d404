"""`python -m ops doctor`: each thing broken behind stand-ins, and only that finding changes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess

import pytest
import redis
from aiohttp import web
from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from agent.store import CallLog
from ops.doctor import attempt, examine, network, services
from ops.doctor.finding import Level
from tests.front_door import FrontDoor
from tests.livekit_server import LiveKitServer
from tests.postgres import postgres_server, postgres_url  # noqa: F401 - fixtures
from tests.programs import Worker, settings
from tests.providers import Fault, Kind, Providers
from tests.redis_server import redis_server  # noqa: F401 - fixture
from tests.sip_operator import invoke
from tests.sip_stand_in import SECRET, RealSip

CANARY = "canary-that-must-not-sing"


@pytest.fixture
async def door():
    async with FrontDoor() as door:
        trunk = SIPInboundTrunkInfo(name="main", numbers=["+70000000100"], sip_trunk_id="ST_1")
        door.kept["InboundTrunk"]["ST_1"] = trunk
        door.kept["Rule"]["SDR_1"] = a_rule("voice-ai")
        yield door


def a_rule(agent):
    rule = SIPDispatchRuleInfo(name="voice-ai-dispatch", sip_dispatch_rule_id="SDR_1")
    rule.room_config.agents.add(agent_name=agent)
    return rule


@pytest.fixture
async def providers():
    async with Providers() as providers:
        yield providers


@pytest.fixture
def doctor(tmp_path, door, providers, monkeypatch):
    """Ask it, with everything well: exit code and findings. `variables` change one thing."""
    monkeypatch.setattr(attempt, "WITHIN", 1.0)
    monkeypatch.setattr(services, "WITHIN", 1.0)
    well = {
        **settings(tmp_path),
        **door.variables,
        **providers.variables,
        "VOICE_AGENT__WORKER__ENDPOINTS_TOKEN": CANARY,
        "SIP_NUMBER": "+70000000100",
        "SIP_ALLOWED_ADDRESSES": "203.0.113.7",
    }

    async def ask(*arguments, **variables):
        env = {**well, **variables}
        code, out, err = await asyncio.to_thread(invoke, "doctor", "--json", *arguments, env=env)
        secrets = [CANARY, SECRET, *(server.key for server in providers.all)]
        assert not [secret for secret in secrets if secret in out + err]
        told = json.loads(out)
        assert code == told["exit"]
        return code, {one["tried"]: one for one in told["findings"]}

    return ask


def changed(before, after):
    """What is now told with another level, by the words it begins with."""
    return {
        tried: one["level"]
        for tried, one in after.items()
        if before.get(tried, {}).get("level", "ok") != one["level"]
    }


async def test_all_is_well_and_told_from_the_outside_in(doctor, door):
    code, found = await doctor()
    assert code == 0, found
    order = [tried.split()[0] for tried in found]
    outside_in = ["settings", "DNS", "clock", "key", "grant", "trunks", "Redis", "openai", "data"]
    places = [order.index(first) for first in outside_in if first in order]
    assert places == sorted(places)
    assert {"deepgram", "openai", "groq", "cartesia", "webhooks", "Redis"} <= set(order)
    (call,) = [call for call in door.calls if not call.sip_trunk_id]
    assert call.trunk.hostname.endswith(".invalid")
    assert call.room_name in door.deleted  # the room that the service made is taken away
    assert all(room.startswith("voice-ai-doctor-") for room in door.deleted)


GRANTS = {
    "agent": ("grant agent (the door of workers)", "broken"),
    "DeleteRoom": ("grant room create (delete no room)", "broken"),
    "ListParticipants": ("grant room admin (participants of no room)", "broken"),
    "ListDispatch": ("grant agent dispatch (those of no room)", "broken"),
    "ListEgress": ("grant egress (list)", "degraded"),
    "ListIngress": ("grant ingress (list)", "degraded"),
}


@pytest.mark.parametrize("method", GRANTS)
async def test_a_grant_that_is_refused(doctor, door, method):
    _, before = await doctor()
    door.refuses.add(method)
    code, after = await doctor()
    tried, level = GRANTS[method]
    assert changed(before, after) == {tried: level}
    assert "refused (401)" in after[tried]["came_back"]
    assert after[tried]["todo"]
    assert code == {"degraded": 1, "broken": 2}[level]


async def test_a_grant_that_is_never_answered(doctor, door):
    _, before = await doctor()
    door.hangs.add("ListIngress")
    _, after = await doctor()
    assert changed(before, after) == {"grant ingress (list)": "degraded"}


async def test_a_key_that_the_server_does_not_know_is_told_once(doctor, door):
    _, before = await doctor()
    door.knows_key = False
    code, after = await doctor()
    inside = "grants, trunks, SIP and egress"
    assert changed(before, after) == {
        "key at 127.0.0.1 (list rooms)": "broken",
        inside: "broken",
    }
    assert (code, after[inside]["came_back"]) == (2, "not tried: see above")


@pytest.mark.parametrize(("ahead", "level"), [(30, "degraded"), (-3600, "broken")])
async def test_a_clock_that_is_wrong(doctor, door, ahead, level):
    _, before = await doctor("--without", "grants,sip,egress,trunks")
    door.ahead = ahead
    _, after = await doctor("--without", "grants,sip,egress,trunks")
    assert changed(before, after)["clock against 127.0.0.1"] == level
    assert ("behind" if ahead > 0 else "ahead") in after["clock against 127.0.0.1"]["came_back"]


async def test_services_that_do_not_answer(doctor, door):
    _, before = await doctor()
    door.has_sip = False
    _, after = await doctor()
    assert changed(before, after) == {"SIP service (a call to doctor.invalid)": "degraded"}
    door.has_sip, door.has_egress = True, False
    _, after = await doctor()
    assert changed(before, after) == {"egress service (a recording of nothing)": "degraded"}


async def test_a_server_without_redis(doctor, door):
    _, before = await doctor()
    door.has_redis = False
    code, after = await doctor()
    assert changed(before, after) == {
        "trunks and rules": "degraded",
        "SIP service (a call to doctor.invalid)": "degraded",
        "egress service (a recording of nothing)": "degraded",
    }
    assert (code, "redis" in after["trunks and rules"]["came_back"]) == (1, True)


async def test_rules_that_ask_for_somebody_else(doctor, door):
    _, before = await doctor()
    door.kept["Rule"]["SDR_1"] = a_rule("another-agent")
    _, after = await doctor()
    assert list(changed(before, after).values()) == ["broken"]
    door.kept["Rule"].clear()
    assert changed(before, (await doctor())[1]) == {"dispatch rules": "broken"}
    door.kept["InboundTrunk"].clear()
    assert changed(before, (await doctor())[1]) == {"trunks and rules": "degraded"}


async def test_the_configuration(doctor, tmp_path):
    _, before = await doctor()
    code, after = await doctor(VOICE_AGENT__WORKER__MAX_CALLS="none")
    assert (code, [one["level"] for one in after.values()]) == (2, ["broken"])
    assert "worker.max_calls" in after["settings"]["came_back"]

    _, after = await doctor(SIP_NUMBER="")
    assert changed(before, after) == {"config/sip.yaml": "degraded"}
    assert "SIP_NUMBER" in after["config/sip.yaml"]["came_back"]

    code, after = await doctor(LIVEKIT_API_SECRET="")
    assert changed(before, after) == {"settings of LiveKit": "broken"}
    assert code == 2

    folder = tmp_path / "personas"
    shutil.copytree("config/personas", folder)
    (folder / "ru.yaml").write_text("nonsense: 1\n")
    _, after = await doctor(VOICE_AGENT__PERSONAS__FOLDER=str(folder))
    assert changed(before, after) == {"personas": "broken"}


@pytest.mark.needs("redis-server")
async def test_redis(doctor, redis_server):  # noqa: F811
    url = redis_server.url
    _, before = await doctor(REDIS_URL=url)
    assert before[f"Redis at {url}"]["came_back"].startswith("PONG from version ")
    with redis.Redis.from_url(url) as client:
        client.config_set("requirepass", CANARY)
        _, after = await doctor(REDIS_URL=url)
        assert changed(before, after) == {f"Redis at {url}": "degraded"}
        assert "password" in after[f"Redis at {url}"]["came_back"]
        code, found = await doctor(REDIS_URL=url.replace("//", f"//:{CANARY}@"))
        assert (code, CANARY in str(found)) == (0, False)
        client.config_set("requirepass", "")
    redis_server.hang()
    _, after = await doctor(REDIS_URL=url)
    redis_server.go_on()
    assert changed(before, after) == {f"Redis at {url}": "degraded"}
    redis_server.kill()
    _, after = await doctor(REDIS_URL=url)
    assert changed(before, after) == {f"Redis at {url}": "degraded"}


async def test_a_call_log_in_a_file(doctor, tmp_path):
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    tried = f"call log at {url}"
    _, before = await doctor()
    assert "not there yet" in before[tried]["came_back"]
    CallLog.open(url).close()
    _, after = await doctor()
    assert "is applied" in after[tried]["came_back"]
    (tmp_path / "calls.db").write_text(
        "this is no database, but long enough to look like one\n" * 9
    )
    _, after = await doctor()
    assert changed(before, after) == {tried: "degraded"}


@pytest.mark.needs("postgresql")
async def test_a_call_log_in_postgresql(doctor, postgres_url):  # noqa: F811
    def finding(told):
        (one,) = [one for tried, one in told.items() if tried.startswith("call log at")]
        return one["level"], one["came_back"]

    _, before = await doctor(VOICE_AGENT__STORE__URL=postgres_url)
    assert finding(before)[0] == "degraded"
    assert "no call log of this release yet" in finding(before)[1]
    CallLog.open(postgres_url).close()
    code, after = await doctor(VOICE_AGENT__STORE__URL=postgres_url)
    assert (code, finding(after)[0]) == (0, "ok")
    nowhere = f"postgresql://tester:{CANARY}@127.0.0.1:9/postgres"
    code, after = await doctor(VOICE_AGENT__STORE__URL=nowhere)
    assert (code, finding(after)[0]) == (1, "degraded")


@pytest.mark.parametrize("name", ["deepgram", "openai", "groq", "cartesia"])
async def test_a_provider(doctor, providers, name):
    _, before = await doctor()
    server = getattr(providers, name)
    (tried,) = [tried for tried in before if tried.startswith(name)]
    # The chains of the stand-ins name one provider of each kind, and groq in none.
    level = "degraded" if name == "groq" else "broken"
    for fault, said in (
        (Fault(kind=Kind.EXPIRED, times=0), "401"),
        (Fault(kind=Kind.STATUS, status=429, times=0), "429"),
        (Fault(kind=Kind.SHUT, times=0), "no answer"),
        (Fault(kind=Kind.HANG, times=0), "no answer within"),
    ):
        server.faults.add(fault)
        _, after = await doctor()
        server.faults.clear()
        assert changed(before, after) == {tried: level}
        assert said in after[tried]["came_back"]


async def test_a_provider_without_a_key_is_not_asked(doctor):
    _, found = await doctor(GROQ_API_KEY="")
    assert not [tried for tried in found if tried.startswith("groq")]


async def test_webhooks(doctor):
    statuses = [401, 200, 404]

    async def receive(_request):
        return web.Response(status=statuses.pop(0))

    app = web.Application()
    app.router.add_post("/hooks", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    asking = ("--webhook", f"http://127.0.0.1:{runner.addresses[0][1]}/hooks?token={CANARY}")
    try:
        _, before = await doctor(*asking)
        for level in ("broken", "degraded"):
            _, after = await doctor(*asking)
            assert list(changed(before, after).values()) == [level]
    finally:
        await runner.cleanup()
    _, after = await doctor(*asking)
    assert list(changed(before, after).values()) == ["degraded"]


async def test_the_disk(doctor, monkeypatch):
    _, before = await doctor()
    (tried,) = [tried for tried in before if tried.startswith("data folder")]
    for free, level in ((500, "degraded"), (50, "broken")):
        usage = shutil.disk_usage("/")._replace(free=free * 2**20)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, usage=usage: usage)
        assert changed(before, (await doctor())[1]) == {tried: level}
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert changed(before, (await doctor())[1]) == {tried: "broken"}


async def test_a_port_that_somebody_else_holds(doctor):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        _, before = await doctor()
        code, after = await doctor(VOICE_AGENT__WORKER__PORT=str(port))
    assert (code, changed(before, after)) == (2, {f"worker.port 127.0.0.1:{port}": "broken"})


async def test_ports_that_our_own_worker_holds(doctor, tmp_path, door):
    folder = tmp_path / "worker"
    folder.mkdir()
    token = {"VOICE_AGENT__WORKER__ENDPOINTS_TOKEN": CANARY}
    nobody = {"LIVEKIT_URL": "ws://127.0.0.1:9"}
    async with Worker({**settings(folder), **door.variables, **token, **nobody}) as worker:
        ready = await worker.said("the worker is ready")
        ports = [ready[key].rpartition(":")[2] for key in ("http", "endpoints")]
        code, found = await doctor(
            VOICE_AGENT__WORKER__PORT=ports[0], VOICE_AGENT__WORKER__ENDPOINTS_PORT=ports[1]
        )
    assert found[f"worker.port 127.0.0.1:{ports[0]}"]["came_back"] == "held by the worker voice-ai"
    assert "held by" in found[f"worker.endpoints_port 127.0.0.1:{ports[1]}"]["came_back"]
    told = found["worker on this machine (/ready)"]
    assert (code, told["level"]) == (1, "degraded")
    assert "not registered" in told["came_back"]


async def test_what_is_left_out_is_not_tried_and_a_wrong_name_is_refused(doctor, door):
    _, found = await doctor("--without", "egress,sip,providers,sip-file")
    assert not [one for one in found if one.startswith(("SIP service", "egress service", "openai"))]
    assert not [call for call in door.calls if not call.sip_trunk_id]
    code, _, err = await asyncio.to_thread(invoke, "doctor", "--without", "nothing", env={})
    assert (code, "no nothing: there are" in err) == (2, True)


async def test_a_host_that_is_not_there():
    (found,) = await network.name("wss://doctor.invalid")
    assert (found.level, "doctor.invalid" in found.tried) == (Level.BROKEN, True)


async def test_a_server_that_is_not_there(doctor):
    code, found = await doctor(LIVEKIT_URL="ws://127.0.0.1:9")
    assert (code, found["connection to 127.0.0.1:9"]["level"]) == (2, "broken")
    assert not [tried for tried in found if tried.startswith("grant ")]


@pytest.mark.parametrize(
    ("days", "trusted", "level", "said"),
    [
        (90, True, Level.WELL, "days)"),
        (3, True, Level.DEGRADED, "(2 days)"),
        (90, False, Level.BROKEN, "self-signed"),
    ],
)
def test_a_certificate(tmp_path, days, trusted, level, said):
    file, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days))
    where = ("-keyout", key, "-out", file)
    whose = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run([*make, *where, *whose], check=True, capture_output=True)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(file, key)
    context = ssl.create_default_context(cafile=file) if trusted else None

    async def look():
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=serving
        )
        async with server:
            url = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
            return await network.certificate(url, context)

    (found,) = asyncio.run(look())
    assert (found.level, said in found.came_back) == (level, True), found


def test_people_are_told_what_to_do(tmp_path):
    env = {**settings(tmp_path), "LIVEKIT_URL": "", "LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}
    code, out, err = invoke("doctor", env=env)
    assert (code, err) == (2, "")
    assert "broken  settings of LiveKit: LIVEKIT_URL" in out
    assert "    -> set it where the worker is started" in out


async def test_a_check_that_breaks_is_told_in_a_line(doctor, monkeypatch):
    _, before = await doctor()

    async def breaks(_section):
        raise ValueError(SECRET)

    monkeypatch.setattr(examine.livekit, "grants", breaks)
    code, after = await doctor()
    assert (code, changed(before, after)) == (1, {"grants": "degraded"})
    assert "the check itself failed (ValueError)" in after["grants"]["came_back"]


@pytest.mark.livekit
async def test_a_real_server_without_redis(doctor, tmp_path):
    async with LiveKitServer(tmp_path) as server:
        _, found = await doctor(**server.variables)
        assert {one["level"] for tried, one in found.items() if "grant" in tried} == {"ok"}
        assert found["key at 127.0.0.1 (list rooms)"]["level"] == "ok"
        assert found["clock against 127.0.0.1"]["level"] == "ok"
        if server.is_ours:
            assert "redis" in found["trunks and rules"]["came_back"]
        refused = {**server.variables, "LIVEKIT_API_SECRET": CANARY * 2}
        code, found = await doctor(**refused)
        assert (code, found["key at 127.0.0.1 (list rooms)"]["level"]) == (2, "broken")


@pytest.mark.livekit
@pytest.mark.skipif(bool(RealSip.lacking()), reason="livekit-server and redis-server on PATH")
async def test_a_real_server_with_redis_and_without_services(doctor, tmp_path):
    async with RealSip(tmp_path) as server:
        _, found = await doctor(**server.variables)
        assert found["trunks and rules"]["came_back"].startswith("there are none")
        assert found["SIP service (a call to doctor.invalid)"]["level"] == "degraded"
        assert found["egress service (a recording of nothing)"]["level"] == "degraded"
        assert {one["level"] for tried, one in found.items() if "grant" in tried} == {"ok"}
