"""`python -m ops serve` as a process of its own, and a client key for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from agent.store import CallLog
from agent.store.access import Access
from ops.front.clients import new_key
from tests.programs import Worker


def settings(folder: Path) -> dict[str, str]:
    """Variables of a control plane that keeps all it writes in `folder`."""
    return {
        "VOICE_AGENT__DATA__FOLDER": str(folder / "data"),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{folder / 'calls.db'}",
        "VOICE_AGENT__SERVE__PORT": "0",
        "VOICE_AGENT__SERVE__PER_MINUTE": "0",
        "LIVEKIT_API_KEY": "key-of-a-test",
        "LIVEKIT_API_SECRET": "secret-of-a-test-that-is-long-enough",
    }


def client_key(url: str, *scopes: str) -> str:
    """A new client key in the database at `url`."""
    log = CallLog.open(url)
    try:
        row, key = new_key("a test", scopes)
        Access(log.engine).add_key(row)
    finally:
        log.close()
    return key


class ServeProcess(Worker):
    """One process, ended by whoever started it."""

    def __init__(self, variables: Mapping[str, str], key: str = "") -> None:
        super().__init__(variables, "-m", "ops", "serve")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def said(self, message: str) -> dict[str, Any]:
        """The first log record with this message."""
        return await self.log.first(lambda record: message in record.get("event", ""))

    async def url(self) -> str:
        """Where it listens, once it does."""
        return (await self.said("listening"))["url"]

    async def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, **body: Any
    ) -> tuple[int, Any]:
        """Status and body of one request with the client key; the body as JSON where it is."""
        async with (
            aiohttp.ClientSession(headers={**self._headers, **(headers or {})}) as client,
            client.request(method, f"{await self.url()}{path}", **body) as answer,
        ):
            text = await answer.text()
            return answer.status, _read(text)

    async def becomes_healthy(self, status: str, check: str) -> dict[str, Any]:
        """Wait until a check has this status: all of /health/detailed then."""
        async with asyncio.timeout(60):
            while True:
                _, told = await self.ask("/health/detailed")
                if told["checks"][check]["status"] == status:
                    return told
                await asyncio.sleep(0.1)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
