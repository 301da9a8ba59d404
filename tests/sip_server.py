"""A real telephone side on loopback: redis-server, livekit-server and livekit-sip.

Always started here, also where LIVEKIT_URL names a server: trunks and rules are made and deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from ops.sip.options import Probe, probe
from tests.livekit_server import KEY, PROGRAM, SECRET, LiveKitServer
from tests.programs import PATIENCE
from tests.sip_operator import invoke

PROGRAMS = (PROGRAM, "livekit-sip", "redis-server", "sipp")
MEDIA_PORTS = 400
"""For RTP; a port rests for some seconds after its call."""


class SipServer(LiveKitServer):
    """`address` takes calls; everything that was logged about them is in `said`."""

    def __init__(self, folder: Path) -> None:
        if lacking := [program for program in PROGRAMS if not shutil.which(program)]:
            pytest.skip(f"{', '.join(lacking)} on PATH")
        super().__init__(folder)
        self.is_ours = True
        self.folder = folder
        self._beside: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        with _free(socket.SOCK_STREAM) as redis, _free(socket.SOCK_DGRAM) as self._sip_port:
            self._redis = f"127.0.0.1:{redis}"
        self.extra["redis"] = {"address": self._redis}
        options = ("--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        await self._run("redis-server", "--port", str(redis), *options)
        await _listens(redis)
        await super().__aenter__()
        config = self.folder / "livekit-sip.yaml"
        config.touch(mode=0o600)
        config.write_text(yaml.safe_dump(self._sip_config()))
        await self._run("livekit-sip", "--config", str(config))
        await self._answers()
        return self

    async def __aexit__(self, *error: object) -> None:
        for process in reversed(self._beside):
            if process.returncode is None:
                process.kill()
            await process.wait()
        await super().__aexit__(*error)

    @property
    def address(self) -> tuple[str, int]:
        """Where livekit-sip takes calls over UDP."""
        return "127.0.0.1", self._sip_port

    @property
    def redis(self) -> str:
        """Host and port of the Redis that both servers share."""
        return self._redis

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

    async def _answers(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while self._beside[-1].returncode is None:
                answer: Probe = await probe(f"127.0.0.1:{self._sip_port}", within=0.5)
                if answer.code is not None:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError(f"livekit-sip ended: {list(self.said())[-3:]}")

    async def _run(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._beside.append(process)


@contextlib.contextmanager
def _free(kind: socket.SocketKind) -> Iterator[int]:
    with socket.socket(type=kind) as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


async def _listens(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
