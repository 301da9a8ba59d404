"""Who is sent notifications, on the loopback: a web server, and a mail server."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.message import Message
from typing import Any, Self

from aiohttp import web

from tests.programs import News


class HttpReceiver:
    """Takes JSON by POST; answers `status`, or nothing at all while it `hangs`."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.news = News()
        self.status = 200
        self.answer = ""
        self.hangs = False
        self._release = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.let_go()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Its address as apprise knows it, with a secret in it."""
        return f"json://user:very-secret-word@{self.address}/hook-secret-path"

    @property
    def titles(self) -> list[str]:
        """Of what was taken, in order."""
        return [one["title"] for one in self.got]

    def let_go(self) -> None:
        """Answer those who wait."""
        self.hangs = False
        self._release.set()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.hangs:
            await self._release.wait()
        if self.status == 200:
            self.got.append(body)
            await self.news.add(body)
        return web.Response(status=self.status, text=self.answer)


class SmtpReceiver:
    """A mail server without TLS that takes every mail."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        await say("220 mail.example.com")
        while line := await reader.readline():
            match line.split()[0].upper().decode():
                case "DATA":
                    await say("354 go on")
                    text = await reader.readuntil(b"\r\n.\r\n")
                    self.mails.append(message_from_bytes(text.removesuffix(b".\r\n")))
                    await say("250 taken")
                case "QUIT":
                    await say("221 bye")
                    break
                case _:
                    await say("250 mail.example.com")
        writer.close()
