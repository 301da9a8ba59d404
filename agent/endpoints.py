"""The worker's own HTTP endpoints: `/live`, `/ready` and `/metrics`, with a token where one is set.

The framework's port says "OK" also while draining or full, and has no credentials; these do.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from agent import metrics
from config.sections import Worker

Checks = Callable[[], Mapping[str, bool]]
"""What must be true of a worker that is ready, by name."""


class Endpoints:
    """Serves one worker's state until it is closed."""

    def __init__(self, section: Worker, checks: Checks, away_seconds: Callable[[], float]) -> None:
        """`away_seconds` tells how long LiveKit has been away."""
        self._section = section
        self._checks = checks
        self._away_seconds = away_seconds
        self._token = section.endpoints_token.get_secret_value()
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen, and return the port. Raises OSError when the port is taken."""
        app = web.Application(middlewares=[self._authorised])
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._section.endpoints_host, self._section.endpoints_port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def aclose(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    @web.middleware
    async def _authorised(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if self._token and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            raise web.HTTPUnauthorized(text="a bearer token is needed\n")
        return await handler(request)

    async def _live(self, _request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        checks = self._checks()
        ready = all(checks.values())
        body = {
            "ready": ready,
            "checks": dict(checks),
            "away_seconds": round(self._away_seconds(), 1),
        }
        return web.json_response(body, status=200 if ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        checks = dict(self._checks())
        for name, holds in {**checks, "ready": all(checks.values())}.items():
            metrics.WORKER.labels(name).set(holds)
        metrics.AWAY_SECONDS.set(self._away_seconds())
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
