"""`ops serve` as an operator meets it: it ends gracefully, and outlives Redis and its database."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from tests.programs import News
from tests.serving import Serving, client_key, settings

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
        async with Serving(variables, key) as serve:
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
    async with Serving(variables) as serve:
        await serve.url()
        serve.terminate()
        assert await serve.ended(SECONDS) == 0
