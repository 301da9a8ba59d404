"""`ops serve` as an operator meets it: it ends gracefully, and outlives Redis and its database."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web
from sqlalchemy import select

from agent.store import CallLog
from agent.store.room_tables import webhook_events
from agent.store.webhooks import WebhookEvents
from tests import webhooks as hooks
from tests.programs import News, eventually
from tests.serve_process import ServeProcess, client_key, settings

pytest_plugins = ["tests.postgres", "tests.redis_server"]

SECONDS = 30.0


class Slow:
    """A LiveKit server that answers the first time, and then when the test says so."""

    def __init__(self):
        self.asked, self.go_on = News(), asyncio.Event()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/", self._front)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error):
        self.go_on.set()
        await self._runner.cleanup()

    async def _front(self, request):
        number = len(list(self.asked)) + 1
        await self.asked.add(number)
        if number > 1:
            await self.go_on.wait()
        return web.Response(text="OK")


@pytest.fixture
def variables(tmp_path):
    return settings(tmp_path)


@pytest.fixture
def key(variables):
    return client_key(variables["VOICE_AGENT__STORE__URL"], "admin")


async def is_closed(url):
    """Wait until it takes no more connections."""
    host, port = url.removeprefix("http://").split(":")
    async with asyncio.timeout(SECONDS):
        with contextlib.suppress(ConnectionError):
            while True:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                await asyncio.sleep(0.05)


async def answer_of_the_slow(serve, livekit):
    """Ask until an answer has to be waited for: that one."""
    while True:
        answer = await serve.ask("/health/livekit")
        if livekit.go_on.is_set():
            return answer


async def test_requests_that_are_under_way_are_answered_before_it_ends(variables, key):
    async with Slow() as livekit:
        variables |= {
            "LIVEKIT_URL": livekit.url,
            "VOICE_AGENT__HEALTH__WITHIN": "30",
            "VOICE_AGENT__HEALTH__EVERY": "1",
        }
        async with ServeProcess(variables, key) as serve:
            url = await serve.url()
            asking = asyncio.create_task(answer_of_the_slow(serve, livekit))
            await livekit.asked.first(lambda number: number > 1)
            serve.terminate()
            await is_closed(url)
            assert not asking.done()
            livekit.go_on.set()
            status, told = await asking
            assert (status, told["checks"]["livekit"]["status"]) == (200, "healthy")
            assert await serve.ended(SECONDS) == 0
            assert not [one for one in serve.log if one.get("level") in {"error", "critical"}]


async def test_it_ends_with_0_when_nothing_is_under_way(variables):
    async with ServeProcess(variables) as serve:
        await serve.url()
        serve.terminate()
        assert await serve.ended(SECONDS) == 0


ASKED = {"kind": "participant", "identity": "desk", "room": "support"}


async def token_of(serve):
    status, told = await serve.ask("/tokens", "POST", json=ASKED)
    assert status == 200, told
    return told["token"]


async def judged(serve, token):
    """Status of the answer, and whether the token is good."""
    status, told = await serve.ask("/tokens/validate", "POST", json={"token": token})
    return status, told.get("valid")


async def known(serve, token):
    """As `judged`, when there is an answer again."""
    async with asyncio.timeout(SECONDS):
        while True:
            if (told := await judged(serve, token))[0] != 503:
                return told
            await asyncio.sleep(0.05)


async def revoke(serve, token):
    status, told = await serve.ask("/tokens/revoke", "POST", json={"token": token})
    assert status == 200, told


@pytest.mark.needs("redis-server")
async def test_without_redis_tokens_go_on_and_nothing_is_lost(variables, key, redis_server):
    variables |= {"REDIS_URL": redis_server.url, "VOICE_AGENT__HEALTH__EVERY": "1"}
    async with ServeProcess(variables, key) as serve:
        await serve.becomes_healthy("healthy", "redis")
        early, late = await token_of(serve), await token_of(serve)
        await revoke(serve, early)
        redis_server.kill()

        told = await serve.becomes_healthy("unhealthy", "redis")
        assert told["status"] == "degraded"
        assert (await serve.ask("/health"))[0] == 200
        assert await judged(serve, early) == (200, False)
        assert await judged(serve, late) == (200, True)
        await revoke(serve, late)
        other = await token_of(serve)

        await asyncio.to_thread(redis_server.start)
        told = await serve.becomes_healthy("healthy", "redis")
        assert await judged(serve, early) == (200, False)
        assert await judged(serve, late) == (200, False)
        assert await judged(serve, other) == (200, True)
        serve.terminate()
        assert await serve.ended(SECONDS) == 0


@pytest.mark.needs("postgresql")
async def test_without_its_database_it_answers_and_says_so(
    variables, postgres_url, postgres_outage
):
    key = await asyncio.to_thread(client_key, postgres_url, "admin")
    variables |= {"DATABASE_URL": postgres_url, "VOICE_AGENT__HEALTH__EVERY": "1"}
    del variables["VOICE_AGENT__STORE__URL"]
    async with ServeProcess(variables, key) as serve:
        await serve.becomes_healthy("healthy", "database")
        revoked, good = await token_of(serve), await token_of(serve)
        await revoke(serve, revoked)
        await asyncio.to_thread(postgres_outage.begin)

        told = await serve.becomes_healthy("unhealthy", "database")
        assert told["status"] == "degraded"
        assert (await serve.ask("/health"))[0] == 200
        assert (await judged(serve, good))[0] == 503
        assert await token_of(serve)

        await asyncio.to_thread(postgres_outage.end)
        await serve.becomes_healthy("healthy", "database")
        assert await known(serve, good) == (200, True)
        assert await judged(serve, revoked) == (200, False)


@pytest.mark.needs("postgresql", "redis-server")
async def test_two_behave_as_one(variables, postgres_url, redis_url, tmp_path):
    key = await asyncio.to_thread(client_key, postgres_url, "admin")
    del variables["VOICE_AGENT__STORE__URL"]
    variables |= {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "LIVEKIT_API_KEY": hooks.KEY,
        "LIVEKIT_API_SECRET": hooks.SECRET,
    }
    folder = {"VOICE_AGENT__DATA__FOLDER": str(tmp_path / "other")}
    async with (
        ServeProcess(variables, key) as one,
        ServeProcess(variables | folder, key) as other,
    ):
        for made, asked in ((one, other), (other, one)):
            token = await token_of(made)
            assert await judged(asked, token) == (200, True)
            await revoke(made, token)
            began = asyncio.get_running_loop().time()
            while (await judged(asked, token)) != (200, False):
                assert asyncio.get_running_loop().time() - began < 1.0
                await asyncio.sleep(0.02)
        await a_webhook_to_both_is_handled_once(one, other, postgres_url)


async def a_webhook_to_both_is_handled_once(one, other, postgres_url):
    body = hooks.body(hooks.event("room_started", 1, room=hooks.room()))
    sent = {"method": "POST", "headers": hooks.headers(body), "data": body}
    answers = await asyncio.gather(*(to.ask("/webhooks/livekit", **sent) for to in (one, other)))
    assert [status for status, _ in answers] == [200, 200]
    log = await asyncio.to_thread(CallLog.open, postgres_url)
    try:
        await eventually(lambda: WebhookEvents(log.engine).waiting().count == 0, "it is handled")
        with log.engine.connect() as connection:
            attempts = connection.scalars(select(webhook_events.c.attempts)).all()
        assert attempts == [1]
    finally:
        log.close()
