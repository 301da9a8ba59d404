"""`python -m ops serve` as a process of its own, that a test can kill, stop and start again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests import webhooks
from tests.programs import INHERITED, PATIENCE, ROOT, settings


class Serving:
    """One control plane. Whatever happens to the process, its folder and database stay."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.folder = folder
        self.log = folder / f"serve-{id(self):x}.log"
        self.url = ""
        self._arguments = arguments
        self._variables = {
            **INHERITED,
            **settings(folder),
            "VOICE_AGENT__SERVE__PER_MINUTE": "0",
            "LIVEKIT_API_KEY": webhooks.KEY,
            "LIVEKIT_API_SECRET": webhooks.SECRET,
            **variables,
        }
        self._process: asyncio.subprocess.Process | None = None
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connections = aiohttp.TCPConnector(limit=50)
        self._client = aiohttp.ClientSession(connector=connections)
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.kill()
        await self._client.close()

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        begun = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "ops", "serve", "--port", "0", *self._arguments),
                cwd=ROOT,
                env=self._variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self._process.returncode is None, self.log.read_text()[-3000:]
                told = [entry for entry in self.entries(begun) if entry["event"] == "listening"]
                if told:
                    self.url = told[-1]["url"]
                    return
                await asyncio.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def kill(self) -> None:
        """End it without a goodbye."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """End it as an operator does: its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), PATIENCE)

    def entries(self, start: int = 0) -> list[dict[str, Any]]:
        """What it logged."""
        if not self.log.exists():
            return []
        lines = self.log.read_bytes()[start:].decode(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """Status and answer."""
        async with self._client.post(f"{self.url}{path}", data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str, key: str = "") -> tuple[int, Any]:
        """Status and answer."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with self._client.get(f"{self.url}{path}", headers=headers) as answer:
            return answer.status, await answer.json()

    async def hook(self, body: bytes, token: str = "") -> tuple[int, Any]:
        """Send a webhook, signed unless its token is given."""
        headers = webhooks.headers(body)
        if token:
            headers["Authorization"] = token
        return await self.post("/webhooks/livekit", body, headers)

    async def deliver(self, body: bytes, token: str) -> None:
        """Send a webhook as LiveKit does: until somebody acknowledges it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    status, told = await self.hook(body, token)
                except (aiohttp.ClientError, OSError):
                    status, told = 0, None
                if status == 200:
                    return
                assert status in {0, 503}, (status, told)
                await asyncio.sleep(0.1)
