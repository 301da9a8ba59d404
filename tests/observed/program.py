"""A server program of a distribution package, on a free port of the loopback that it picks."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Self

import aiohttp
import psutil

from tests.programs import PATIENCE


class Program:
    """One process, ended by whoever started it. Its log is `<name>.log` in `folder`."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""

    def arguments(self) -> list[str]:
        """What it is started with; here configuration files are written."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        log = self.folder / f"{self.name}.log"
        with log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                self.name,
                *self.arguments(),
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self._http = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self._is_ready():
                    assert self._process.returncode is None, log.read_text()[-2000:]
                    await asyncio.sleep(0.05)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    async def get(self, path: str, **params: str) -> Any:
        """What it answers, from JSON."""
        async with self._http.get(f"{self.url}{path}", params=params) as answer:
            told = await answer.json()
            assert answer.status == 200, told
            return told

    async def _is_ready(self) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess, aiohttp.ClientError):
            sockets = psutil.Process(self._process.pid).net_connections("tcp")
            for port in (one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN):
                self.url = f"http://127.0.0.1:{port}"
                async with self._http.get(f"{self.url}/-/ready") as answer:
                    return answer.status == 200
        return False
