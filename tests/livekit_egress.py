"""A real egress beside a real LiveKit server: it writes files where its caller may read them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from tests.livekit_server import KEY, SECRET
from tests.livekit_services import LiveKitServices, free_port
from tests.programs import PATIENCE

EGRESS = "egress"

COSTS = {
    "room_composite_cpu_cost": 0.5,
    "audio_room_composite_cpu_cost": 0.2,
    "web_cpu_cost": 0.5,
    "audio_web_cpu_cost": 0.2,
    "participant_cpu_cost": 0.5,
    "track_composite_cpu_cost": 0.5,
    "track_cpu_cost": 0.2,
    "max_cpu_utilization": 0.99,
}
"""Cores that it takes a recording to cost. With its own figures it starts on four cores only."""


class EgressServer(LiveKitServices):
    """`telling(url)` has LiveKit and egress tell another receiver of webhooks."""

    programs = (EGRESS, *LiveKitServices.programs)

    async def _begin(self) -> None:
        await super()._begin()
        with free_port(socket.SOCK_STREAM) as self._health, free_port(socket.SOCK_STREAM) as pages:
            config = self._egress_config(pages)
        path = self.folder / "egress.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        await self._is_healthy(await self._run(EGRESS, "--config", str(path)))

    async def telling(self, url: str) -> None:
        """Have it tell `url` of everything from now on. Rooms that there are end."""
        self.tell(url)
        await self.kill()
        await self.start()

    def _egress_config(self, pages: int) -> dict[str, Any]:
        return {
            "api_key": KEY,
            "api_secret": SECRET,
            "ws_url": self.variables["LIVEKIT_URL"],
            "redis": {"address": self.redis},
            "health_port": self._health,
            "template_port": pages,
            "cpu_cost": COSTS,
            "insecure": True,
        }

    async def _is_healthy(self, egress: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as client:
            while egress.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"http://127.0.0.1:{self._health}/") as answer:
                        if answer.status == web.HTTPOk.status_code:
                            return
                await asyncio.sleep(0.05)
        said = (self.folder / f"{EGRESS}.log").read_text(errors="replace")
        raise AssertionError(f"{EGRESS} ended: {said[-500:]}")
