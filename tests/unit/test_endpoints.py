"""The worker's own endpoints over real HTTP."""

from __future__ import annotations

import aiohttp
import pytest
from pydantic import SecretStr

from agent.endpoints import Endpoints
from config.sections import Worker


class Site:
    """Endpoints on a free port; `checks` is what the worker says of itself."""

    def __init__(self, token=""):
        self.checks = {"registered": True, "not_full": True}
        self.away = 0.0
        section = Worker(endpoints_port=0, endpoints_token=SecretStr(token))
        self.endpoints = Endpoints(section, lambda: self.checks, lambda: self.away)

    async def get(self, path, **headers):
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{self.port}{path}"
            async with client.get(url, headers=headers) as answer:
                return answer.status, await answer.text(), answer.headers

    async def __aenter__(self):
        self.port = await self.endpoints.start()
        return self

    async def __aexit__(self, *_):
        await self.endpoints.aclose()


async def test_a_live_worker_says_so():
    async with Site() as site:
        assert (await site.get("/live"))[:2] == (200, "live\n")


async def test_ready_names_what_is_missing():
    async with Site() as site:
        status, body, _ = await site.get("/ready")
        assert (status, '"ready": true' in body) == (200, True)
        site.checks["not_full"] = False
        status, body, _ = await site.get("/ready")
        assert status == 503
        assert '"ready": false' in body
        assert '"not_full": false' in body
        assert '"registered": true' in body
        assert '"away_seconds": 0.0' in body


async def test_ready_tells_how_long_livekit_has_been_away():
    async with Site() as site:
        site.checks["registered"], site.away = False, 61.234
        status, body, _ = await site.get("/ready")
        assert status == 503
        assert '"away_seconds": 61.2' in body


async def test_metrics_are_in_the_format_of_prometheus():
    async with Site() as site:
        status, body, headers = await site.get("/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=")
        assert "# TYPE process_cpu_seconds_total counter" in body


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics"])
async def test_where_a_token_is_set_it_is_needed(path):
    async with Site("s3cret") as site:
        for wrong in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "s3cret"}):
            status, body, _ = await site.get(path, **wrong)
            assert (status, body) == (401, "a bearer token is needed\n")
        status, _, _ = await site.get(path, Authorization="Bearer s3cret")
        assert status == 200


async def test_a_header_that_is_not_ascii_is_refused_and_not_an_error():
    async with Site("s3cret") as site:
        status, _, _ = await site.get("/live", Authorization="Bearer sécret")
        assert status == 401


async def test_a_taken_port_is_an_os_error():
    async with Site() as site:
        other = Endpoints(Worker(endpoints_port=site.port), dict, float)
        with pytest.raises(OSError, match="in use"):
            await other.start()
        await other.aclose()


async def test_closing_without_a_start_is_fine():
    await Endpoints(Worker(), dict, float).aclose()
