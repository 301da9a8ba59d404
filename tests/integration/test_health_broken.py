"""Each thing that the product needs is broken by itself: its check tells, and no other changes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from livekit import api
from livekit.protocol import sip

from agent import probes, shared
from agent.phrases import PhraseCache
from agent.providers import voice_labels
from config.settings import load
from ops.front.plane import Plane
from ops.health.board import Board
from ops.health.check import Status
from tests.livekit_stand_in import KEY, SECRET
from tests.providers import Fault, Kind, Providers
from tests.providers.clients import Clients
from tests.providers.ears import personas

pytest_plugins = ["tests.postgres", "tests.redis_server"]
pytestmark = pytest.mark.needs("postgresql", "redis-server")

LISTS = {
    "RoomService/ListRooms": api.ListRoomsResponse(),
    "Egress/ListEgress": api.ListEgressResponse(),
    "Ingress/ListIngress": api.ListIngressResponse(),
    "SIP/ListSIPInboundTrunk": sip.ListSIPInboundTrunkResponse(),
}
METHODS = dict(zip(("room", "egress", "ingress", "sip"), LISTS, strict=True))
PROVIDERS = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}


class LiveKit:
    """The server's front page and its lists; what is in `broken` answers 500."""

    def __init__(self):
        self.broken = set()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/", self._front)
        app.router.add_post("/twirp/livekit.{service}/{method}", self._list)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()

    async def _front(self, request):
        return web.Response(text="OK", status=500 if "livekit" in self.broken else 200)

    async def _list(self, request):
        bearer = request.headers["Authorization"].removeprefix("Bearer ")
        api.TokenVerifier(KEY, SECRET).verify(bearer)
        name = "{service}/{method}".format(**request.match_info)
        if name in self.broken:
            return web.json_response({"code": "internal", "msg": "broken"}, status=500)
        body = LISTS[name].SerializeToString()
        return web.Response(body=body, content_type="application/protobuf")


class Gateway(asyncio.DatagramProtocol):
    """A SIP provider that answers OPTIONS."""

    def __init__(self):
        self.answer = b"SIP/2.0 200 OK\r\n\r\n"

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        self._transport.sendto(self.answer, addr)


class World:
    """Everything that is checked, each with a way to break it and to mend it."""

    def __init__(self, folder, postgres_url, outage, redis_server):
        self._folder, self._url = folder, postgres_url
        self._outage, self._redis = outage, redis_server
        self._open = AsyncExitStack()
        self._now = 0.0

    async def __aenter__(self):
        self.livekit = await self._open.enter_async_context(LiveKit())
        self.providers = await self._open.enter_async_context(Providers())
        self.transport, self.gateway = await asyncio.get_running_loop().create_datagram_endpoint(
            Gateway, local_addr=("127.0.0.1", 0)
        )
        self._open.callback(self.transport.close)
        port = self.transport.get_extra_info("sockname")[1]
        settings = load(
            environ={
                **self.providers.variables,
                "LIVEKIT_URL": self.livekit.url,
                "LIVEKIT_API_KEY": KEY,
                "LIVEKIT_API_SECRET": SECRET,
                "DATABASE_URL": self._url,
                "REDIS_URL": self._redis.url,
                "VOICE_AGENT__DATA__FOLDER": str(self._folder / "data"),
                "VOICE_AGENT__HEALTH__SIP_GATEWAYS": f"127.0.0.1:{port}",
                "VOICE_AGENT__HEALTH__WITHIN": "20",
            }
        )
        self.spool = settings.data.folder / "spool"
        await self._say_greeting(settings)
        plane = Plane.of(settings)
        self._open.push_async_callback(plane.aclose)
        self.board = Board.of(plane, lambda: self._now)
        self._open.push_async_callback(self.board.aclose)
        return self

    async def __aexit__(self, *error):
        await self._open.aclose()

    async def _say_greeting(self, settings):
        """As a worker's start leaves it: what the recogniser is asked about."""
        persona = personas()["en"]
        async with Clients(self.providers) as clients:
            label = voice_labels(settings, persona)["cartesia"]
            voice = clients.of("tts", "cartesia")
            await PhraseCache.of(settings).make(persona.phrases.greeting, label, voice)

    async def statuses(self):
        """Of all checks, asked anew."""
        self._now += 1000.0
        report = await self.board.everything()
        return report.status, {name: one.status for name, one in report.checks.items()}

    @asynccontextmanager
    async def without(self, name):
        """Break one thing, and mend it."""
        if name in {"livekit", *METHODS}:
            self.livekit.broken = {METHODS.get(name, name)}
            yield
            self.livekit.broken = set()
        elif name in PROVIDERS:
            faults = getattr(self.providers, PROVIDERS[name]).faults
            faults.add(Fault(kind=Kind.STATUS, times=0))
            yield
            faults.clear()
        elif name == "sip_gateway":
            self.gateway.answer = b"SIP/2.0 503 Service Unavailable\r\n\r\n"
            yield
            self.gateway.answer = b"SIP/2.0 200 OK\r\n\r\n"
        elif name == "redis":
            self._redis.kill()
            yield
            await asyncio.to_thread(self._redis.start)
        elif name == "database":
            await asyncio.to_thread(self._outage.begin)
            yield
            await asyncio.to_thread(self._outage.end)
        else:
            self.spool.rmdir()
            self.spool.write_text("a file in its place")
            yield
            self.spool.unlink()


@pytest.fixture
async def world(tmp_path, postgres_url, postgres_outage, redis_server, monkeypatch):
    monkeypatch.setattr(probes, "LIMIT", 20.0)
    monkeypatch.setattr(shared, "BOUND", 5.0)
    async with World(tmp_path, postgres_url, postgres_outage, redis_server) as world:
        yield world


async def test_what_is_broken_tells_and_nothing_else_changes_until_it_is_mended(world):
    overall, well = await world.statuses()
    assert set(well.values()) == {Status.HEALTHY}
    assert overall is Status.HEALTHY
    for name in well:
        if name == "keys":
            continue
        async with world.without(name):
            overall, broken = await world.statuses()
            assert broken == well | {name: Status.UNHEALTHY}
            assert overall is Status.DEGRADED
        assert await world.statuses() == (Status.HEALTHY, well), f"{name} is mended"


async def test_no_more_than_one_paid_request_a_kind_in_five_minutes(world):
    await world.statuses()
    before = [len(server.asked) for server in world.providers.all]
    for _ in range(5):
        world._now += 59.0
        await world.board.everything()
    assert [len(server.asked) for server in world.providers.all] == before
    world._now += 5.0
    await world.board.everything()
    assert [len(server.asked) for server in world.providers.all] != before


async def test_a_server_that_fails_whole_takes_nothing_else_with_it(world):
    world.livekit.broken = {"livekit", *METHODS.values()}
    overall, statuses = await world.statuses()
    assert overall is Status.DEGRADED
    assert {statuses[name] for name in ("livekit", *METHODS)} == {Status.UNHEALTHY}
    report = await world.board.everything()
    assert SECRET not in str(report)
