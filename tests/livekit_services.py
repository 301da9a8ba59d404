"""A real LiveKit server on a Redis of its own, with whatever other services a test puts beside it.

Always started here, also where LIVEKIT_URL names a server: a test makes and deletes what it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.livekit_server import PROGRAM, LiveKitServer, end
from tests.programs import PATIENCE

REDIS = "redis-server"


class LiveKitServices(LiveKitServer):
    """Skips the test where one of its programs is not on PATH."""

    programs: ClassVar[tuple[str, ...]] = (PROGRAM, REDIS)

    def __init__(self, folder: Path) -> None:
        if lacking := [program for program in self.programs if not shutil.which(program)]:
            pytest.skip(f"{', '.join(lacking)} on PATH")
        super().__init__(folder)
        self.is_ours = True
        self.folder = folder

    async def _begin(self) -> None:
        with free_port(socket.SOCK_STREAM) as port:
            self._redis = f"127.0.0.1:{port}"
        self.extra["redis"] = {"address": self._redis}
        options = ("--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        await self._run(REDIS, "--port", str(port), *options)
        await _listens(port)
        await super()._begin()

    @property
    def redis(self) -> str:
        """Host and port of the Redis that all of them share."""
        return self._redis

    async def _run(self, program: str, *arguments: str) -> asyncio.subprocess.Process:
        """Start a program beside the server; what it says is in `folder`/PROGRAM.log."""
        with (self.folder / f"{program}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._open.push_async_callback(end, process)
        return process


@contextlib.contextmanager
def free_port(kind: socket.SocketKind) -> Iterator[int]:
    """A port of the loopback that nobody has, held while this is open."""
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
