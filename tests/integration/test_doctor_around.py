"""`python -m ops doctor`: stores, providers, webhooks, disk, ports, certificate."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess

import pytest
import redis
from aiohttp import web

from agent.store import CallLog
from ops.doctor import network
from ops.doctor.finding import Level
from tests.front_door import CANARY, changed
from tests.programs import Worker, settings
from tests.providers import Fault, Kind

pytest_plugins = ["tests.doctor", "tests.postgres", "tests.redis_server"]


@pytest.mark.needs("redis-server")
async def test_redis(doctor, redis_server, impatient):
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
async def test_a_call_log_in_postgresql(doctor, postgres_url):
    def finding(told):
        (one,) = [one for tried, one in told.items() if tried.startswith("call log at")]
        return one["level"], one["came_back"]

    _, before = await doctor(VOICE_AGENT__STORE__URL=postgres_url)
    assert finding(before) == ("ok", "not there yet: the worker's first start makes it")
    CallLog.open(postgres_url).close()
    code, after = await doctor(VOICE_AGENT__STORE__URL=postgres_url)
    assert (code, finding(after)[0]) == (0, "ok")
    nowhere = f"postgresql://tester:{CANARY}@127.0.0.1:9/postgres"
    code, after = await doctor(VOICE_AGENT__STORE__URL=nowhere)
    assert (code, finding(after)[0]) == (1, "degraded")


@pytest.mark.parametrize("name", ["deepgram", "openai", "groq", "cartesia"])
async def test_a_provider(doctor, providers, impatient, name):
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


async def test_a_host_that_is_not_there():
    (found,) = await network.name("wss://doctor.invalid")
    assert (found.level, "doctor.invalid" in found.tried) == (Level.BROKEN, True)


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
