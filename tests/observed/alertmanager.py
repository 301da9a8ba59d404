"""Alertmanager (Debian: prometheus-alertmanager) with the shipped routes, and who is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web

from tests.observed.program import Program
from tests.observed.prometheus import NOBODY
from tests.programs import ROOT, News

SHIPPED = ROOT / "ops" / "alertmanager" / "alertmanager.yml"
SECRETS = "/run/secrets"


@dataclass(frozen=True, slots=True)
class Told:
    """One notification."""

    path: str
    body: Any
    at: float
    authorization: str


class Receiver:
    """Takes what is posted: chat, pager and webhook in one, told apart by the path."""

    def __init__(self) -> None:
        self.told = News()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._on_post)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def first(self, wanted: Callable[[Told], bool], within: float) -> Told:
        """The first notification that is wanted, past or to come. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(TimeoutError):  # of a shorter patience
                    return await self.told.first(wanted)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _on_post(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        given = request.headers.get("Authorization", "")
        await self.told.add(Told(request.path, body, time.time(), given))
        # What the pager answers; the others look at the status only.
        return web.json_response({"status": "success"}, status=200)


class Alertmanager(Program):
    """Routes as shipped; only addresses and the places of secrets are the test's."""

    name = "prometheus-alertmanager"

    def __init__(self, folder: Path, receiver: str, secrets: Path) -> None:
        super().__init__(folder)
        self._receiver = receiver
        self._secrets = secrets

    def arguments(self) -> list[str]:
        config = yaml.safe_load(SHIPPED.read_text("utf-8").replace(SECRETS, str(self._secrets)))
        config["global"]["smtp_smarthost"] = NOBODY
        config["global"]["pagerduty_url"] = f"{self._receiver}/pager"
        for webhook in _all(config["receivers"], "webhook_configs"):
            webhook["url"] = f"{self._receiver}/webhook"
        file = self.folder / "alertmanager.yml"
        file.write_text(yaml.safe_dump(config))
        return [
            f"--config.file={file}",
            f"--storage.path={self.folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ]


def secrets(folder: Path, receiver: str) -> Mapping[str, str]:
    """Write the secrets that the shipped file names; the chat's is where it listens."""
    told = {
        "smtp-password": "a-password-of-a-test",
        "slack-webhook-url": f"{receiver}/chat",
        "pagerduty-routing-key": "a-routing-key-of-a-test",
        "voice-ops-incidents-key": "a-client-key-of-a-test",
    }
    for name, text in told.items():
        (folder / name).write_text(text)
    return told


def _all(receivers: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for receiver in receivers:
        yield from receiver.get(kind, ())
