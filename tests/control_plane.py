"""`ops serve` in the test's own event loop, over real HTTP on a free port of the loopback."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Self

import aiohttp
import uvicorn

from config import settings as configuration
from ops.front import listening
from ops.serve import app, server_config
from tests.programs import PATIENCE

KEY, SECRET = "key-of-a-test", "secret-of-a-test-that-is-long-enough"


class ControlPlane:
    """One application, started and ended by `async with`."""

    def __init__(self, folder: Path, **variables: str) -> None:
        """`variables` are settings by their names in the environment, above the test's own."""
        self.settings = configuration.load(
            environ={
                "VOICE_AGENT__STORE__URL": f"sqlite:///{folder / 'calls.db'}",
                "VOICE_AGENT__DATA__FOLDER": str(folder / "data"),
                "LIVEKIT_API_KEY": KEY,
                "LIVEKIT_API_SECRET": SECRET,
                **variables,
            }
        )
        self.app = app(self.settings)
        self.plane = self.app.state.plane

    async def __aenter__(self) -> Self:
        listener = listening.bound("127.0.0.1", 0)
        self.url = listening.url_of(listener, self.settings.serve)
        self._server = _Server(server_config(self.app, self.settings.serve))
        self._serving = asyncio.create_task(self._server.serve([listener]))
        self.http = aiohttp.ClientSession(self.url)
        async with asyncio.timeout(PATIENCE):
            while not self._server.started:
                assert not self._serving.done(), "it did not start"
                await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()
        self._server.should_exit = True
        await self._serving

    async def key(self, *scopes: str, name: str = "desk", per_minute: int | None = 0) -> str:
        """A new client key."""
        return await self.plane.clients.add(name, scopes, per_minute)

    async def ask(
        self, path: str, body: Any = None, key: str = "", method: str = "", **options: Any
    ) -> tuple[int, Any]:
        """Status and body (what JSON says) of an answer. A body is posted."""
        headers = {**options.pop("headers", {})}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        method = method or ("GET" if body is None else "POST")
        if body is not None:
            options["json"] = body
        async with self.http.request(method, path, headers=headers, **options) as answer:
            return answer.status, await answer.json()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        """Signals are the test runner's."""
        yield
