"""Asking the processes of this machine: what listens there may be another one."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from config.control import Serve
from config.sections import Worker
from ops.health import here


@pytest.fixture
async def listening():
    """Have something listen on loopback that says `what` to whoever connects: its port."""
    servers = []

    async def listen(what):
        async def told(_reader, writer):
            writer.write(what)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(told, "127.0.0.1", 0)
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    yield listen
    for server in servers:
        server.close()


async def test_nothing_listens_or_the_port_is_unknown(unused_tcp_port):
    assert await here.health(Serve(host="127.0.0.1", port=unused_tcp_port)) is None
    assert await here.health(Serve(host="127.0.0.1", port=0)) is None


async def test_what_speaks_no_http_is_something(listening):
    port = await listening(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert await here.health(Serve(host="127.0.0.1", port=port)) == here.Answer(0, {})


@pytest.mark.parametrize("body", [b"[1]", b"<html>", b""])
async def test_what_is_no_object_is_nothing(listening, body):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    port = await listening(head + body)
    assert await here.health(Serve(host="0.0.0.0", port=port)) == here.Answer(200, {})
    assert await here.ready(Worker(endpoints_host="127.0.0.1", endpoints_port=port)) is None


async def test_a_worker_is_asked_with_its_token():
    asked = []

    async def ready(request):
        asked.append(request.headers.get("Authorization"))
        return web.json_response({"checks": {"registered": False}}, status=503)

    app = web.Application()
    app.router.add_get("/ready", ready)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    section = Worker(endpoints_port=runner.addresses[0][1], endpoints_token="t" * 16)
    assert await here.ready(section) == {"checks": {"registered": False}}
    assert asked == [f"Bearer {'t' * 16}"]
    await runner.cleanup()
