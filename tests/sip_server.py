"""A real telephone side on loopback: redis-server, livekit-server and livekit-sip."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import yaml

from ops.sip.options import Probe, probe
from tests.livekit_server import KEY, SECRET
from tests.livekit_services import LiveKitServices, free_port
from tests.programs import PATIENCE
from tests.sip_operator import invoke

MEDIA_PORTS = 400
"""For RTP; a port rests for some seconds after its call."""


class SipServer(LiveKitServices):
    """`address` takes calls; everything that was logged about them is in `said`."""

    programs = (*LiveKitServices.programs, "livekit-sip", "sipp")

    async def _begin(self) -> None:
        with free_port(socket.SOCK_DGRAM) as self._sip_port:
            pass
        await super()._begin()
        config = self.folder / "livekit-sip.yaml"
        config.touch(mode=0o600)
        config.write_text(yaml.safe_dump(self._sip_config()))
        await self._answers(await self._run("livekit-sip", "--config", str(config)))

    @property
    def address(self) -> tuple[str, int]:
        """Where livekit-sip takes calls over UDP."""
        return "127.0.0.1", self._sip_port

    def said(self, about: str = "") -> Iterator[dict[str, Any]]:
        """What livekit-sip has logged so far, with these letters somewhere in it."""
        for line in (self.folder / "livekit-sip.log").read_text(errors="replace").splitlines():
            if about in line:
                with contextlib.suppress(ValueError):
                    yield json.loads(line)

    async def operate(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """`python -m ops ARGUMENTS` against this server: exit code, output, error."""
        env = {
            "VOICE_AGENT__DATA__FOLDER": str(self.folder / "data"),
            "VOICE_AGENT__STORE__URL": f"sqlite:///{self.folder / 'calls.db'}",
            "VOICE_AGENT__WORKER__AGENT_NAME": self.agent_name,
            **self.variables,
            **variables,
        }
        return await asyncio.to_thread(invoke, *arguments, env=env)

    async def declares(self, text: str, **variables: str) -> None:
        """`ops sip apply` of a file."""
        file = self.folder / "sip.yaml"
        file.write_text(text)
        code, out, err = await self.operate("sip", "apply", "--file", str(file), **variables)
        assert code == 0, out + err

    def _sip_config(self) -> dict[str, Any]:
        start = 20_000 + self._sip_port % 80 * MEDIA_PORTS
        return {
            "api_key": KEY,
            "api_secret": SECRET,
            "ws_url": self.variables["LIVEKIT_URL"],
            "redis": {"address": self._redis},
            "sip_port": self._sip_port,
            "listen_ip": "127.0.0.1",
            "nat_1_to_1_ip": "127.0.0.1",
            "media_nat_1_to_1_ip": "127.0.0.1",
            "rtp_port": f"{start}-{start + MEDIA_PORTS}",
            "rtp_draining_idle_timeout": "1s",
            "max_cpu_utilization": 1.0,
            "logging": {"json": True, "level": "debug"},
        }

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(PATIENCE):
            while process.returncode is None:
                answer: Probe = await probe(f"127.0.0.1:{self._sip_port}", within=0.5)
                if answer.code is not None:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError(f"livekit-sip ended: {list(self.said())[-3:]}")
