"""A real LiveKit server: the one at LIVEKIT_URL, else `livekit-server` from PATH on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import yaml
from aiohttp import web
from livekit import api

from tests import canaries
from tests.programs import PATIENCE, News

PROGRAM = "livekit-server"
KEY, SECRET = f"key-{secrets.token_hex(6)}", canaries.secret()


class LiveKitServer:
    """One server for one test. Only one that was started here can be killed and hears webhooks."""

    def __init__(self, folder: Path) -> None:
        self._given = {
            name: os.environ.get(name, "")
            for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
        }
        if not self._given["LIVEKIT_URL"] and not shutil.which(PROGRAM):
            pytest.skip(f"a LiveKit server (LIVEKIT_URL, or {PROGRAM} on PATH)")
        self.is_ours = not self._given["LIVEKIT_URL"]
        self.agent_name = f"voice-ai-{secrets.token_hex(4)}"  # a server may have other workers
        self.webhooks = News()
        """Every event that the server sent, its signature verified."""
        self.log = folder / "livekit-server.log"
        self.extra: dict[str, Any] = {}
        """More sections of its configuration."""
        self._config = folder / "livekit.yaml"
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as begun:
            begun.push_async_exit(self._open)
            await self._begin()
            begun.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def _begin(self) -> None:
        """Start what there is to start; `_open` ends it, also where only some of it began."""
        if self.is_ours:
            await self._write_config(await self._receive_webhooks())
            self._open.push_async_callback(self.kill)
            await self.start()
        self._api = api.LiveKitAPI(*self.variables.values())
        self._open.push_async_callback(self._api.aclose)

    @property
    def api(self) -> api.LiveKitAPI:
        """The server's API with all rights."""
        return self._api

    @property
    def variables(self) -> dict[str, str]:
        """What a worker must be told to find it."""
        if not self.is_ours:
            return self._given
        url = f"ws://127.0.0.1:{self._port}"
        return {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}

    def token(self, grants: api.VideoGrants) -> api.AccessToken:
        """A token to be finished by whoever joins."""
        _, key, secret = self.variables.values()
        return api.AccessToken(key, secret).with_grants(grants)

    async def rooms(self) -> set[str]:
        """The names of the rooms that there are."""
        listed = await self.api.room.list_rooms(api.ListRoomsRequest())
        return {room.name for room in listed.rooms}

    async def gone(self, room: str) -> None:
        """Wait until there is no such room. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while room in await self.rooms():  # noqa: ASYNC110 - the server tells nobody else
                await asyncio.sleep(0.1)

    def tell(self, url: str) -> None:
        """Have it tell another receiver, too, from its next start on."""
        config = yaml.safe_load(self._config.read_text())
        config["webhook"]["urls"].append(url)
        self._config.write_text(yaml.safe_dump(config))

    async def start(self) -> None:
        """Start the server and wait until it answers; also after `kill`, on the same ports."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM,
                *("--config", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as client:
            while self._process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"http://127.0.0.1:{self._port}/") as answer:
                        if answer.status == web.HTTPOk.status_code:
                            return
                await asyncio.sleep(0.05)
        raise AssertionError(f"{PROGRAM} ended: {self.log.read_text()[-500:]}")

    async def kill(self) -> None:
        """End it without a goodbye."""
        if self._process is not None:
            await end(self._process)

    async def _write_config(self, webhook_port: int) -> None:
        with _free_ports() as (self._port, tcp, udp):
            rtc = {
                "tcp_port": tcp,
                "udp_port": udp,
                "node_ip": "127.0.0.1",
                "use_external_ip": False,
                "enable_loopback_candidate": True,
                # Nobody answers there: else each client would look for a public one by its name.
                "stun_servers": [f"127.0.0.1:{udp}"],
            }
        config = {
            "port": self._port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": rtc,
            "keys": {KEY: SECRET},
            "webhook": {"api_key": KEY, "urls": [f"http://127.0.0.1:{webhook_port}/"]},
            "logging": {"level": "info"},
            **self.extra,
        }
        self._config.touch(mode=0o600)
        self._config.write_text(yaml.safe_dump(config))

    async def _receive_webhooks(self) -> int:
        receiver = api.WebhookReceiver(api.TokenVerifier(KEY, SECRET))

        async def receive(request: web.Request) -> web.Response:
            body = (await request.read()).decode()
            await self.webhooks.add(receiver.receive(body, request.headers["Authorization"]))
            return web.Response()

        app = web.Application()
        app.router.add_post("/", receive)
        hooks = web.AppRunner(app, access_log=None)
        await hooks.setup()
        self._open.push_async_callback(hooks.cleanup)
        await web.TCPSite(hooks, "127.0.0.1", 0).start()
        return hooks.addresses[0][1]


async def end(process: asyncio.subprocess.Process) -> None:
    """End it without a goodbye, if it still runs."""
    if process.returncode is None:
        process.kill()
    await process.wait()


@contextlib.contextmanager
def _free_ports() -> Iterator[tuple[int, int, int]]:
    """Two ports for TCP and one for UDP that nobody has."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
    with contextlib.ExitStack() as open_until_all_are_found:
        sockets = [
            open_until_all_are_found.enter_context(socket.socket(type=kind)) for kind in kinds
        ]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        yield tuple(one.getsockname()[1] for one in sockets)
