"""What all stand-ins share: a server on loopback, its key, and the faults that refuse a request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Self
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from tests import canaries
from tests.providers.faults import Fault, Faults, Kind, Pace

KEY = canaries.secret()
LARGEST = 32 * 2**20
"""Bytes in a request or message."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, or one message on a websocket that asks for something."""

    operation: str
    what: Mapping[str, Any]


class Cut(Exception):
    """The fault of an answer that ends there."""


class StandIn(ABC):
    """One provider's server: an async context manager, on a free port."""

    name: str
    path = ""
    """What the product's `base_url` has after host and port."""

    def __init__(self, script: Iterable[Fault] = (), pace: Pace | None = None) -> None:
        self.faults = Faults(script)
        self.key = self.told_key = KEY
        """What it asks for, and what it tells those who are to use it."""
        self.pace = pace or Pace()
        self.asked: list[Asked] = []
        self.turns: Counter[str] = Counter()
        """How many occasions each operation has had."""
        self.over = asyncio.Event()
        """Set when the server ends: whoever hangs is let go."""
        self._sockets: set[web.WebSocketResponse] = set()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=LARGEST, middlewares=[_let_go])
        app.add_routes(self.routes())
        app.on_response_prepare.append(_name)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.over.set()
        for socket in list(self._sockets):
            # A peer that was left half-open does not answer a close.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(socket.close(code=1001), 0.2)
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """What `providers.<name>.base_url` must be."""
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}{self.path}"

    @property
    def variables(self) -> dict[str, str]:
        """What points the product at this server."""
        name = self.name.upper()
        return {
            f"{name}_API_KEY": self.told_key,
            f"VOICE_AGENT__PROVIDERS__{name}__BASE_URL": self.base_url,
        }

    @abstractmethod
    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""

    @abstractmethod
    def key_of(self, request: web.Request) -> str:
        """The key that came with a request."""

    @abstractmethod
    def refusal(self, status: int) -> Mapping[str, Any]:
        """The body of an answer with an error's status."""

    async def admit(self, request: web.Request, on: str, turn: int, text: str = "") -> None:
        """Let a request in after `pace.connect`. Raises what it is refused with."""
        fault = self.faults.strike(on, turn, text, refusal=True)
        if fault:
            await self._refuse(request, fault)
        if self.key_of(request) != self.key:
            self.reject(401)
        await asyncio.sleep(self.pace.connect)

    def reject(self, status: int, why: str = "") -> NoReturn:
        """Answer with an error. Raises HTTPException."""
        body = {**self.refusal(status), **({"detail": why} if why else {})}
        error = web.HTTPException(text=json.dumps(body), content_type="application/json")
        error.set_status(status)
        raise error

    async def accept(self, request: web.Request) -> web.WebSocketResponse:
        """Open a websocket that is closed when the server ends."""
        socket = web.WebSocketResponse(max_msg_size=LARGEST)
        await socket.prepare(request)
        self._sockets.add(socket)
        return socket

    def forget(self, socket: web.WebSocketResponse) -> None:
        """The websocket is closed."""
        self._sockets.discard(socket)

    async def break_off(self, request: web.Request, fault: Fault) -> NoReturn:
        """Cut the connection, or leave it as it is until the client goes. Raises Cut."""
        if fault.kind is Kind.DROP:
            cut(request)
        else:
            await self.gone(request)
        raise Cut

    async def gone(self, request: web.Request) -> None:
        """Wait until the client has closed its connection, or the server ends."""
        while request.transport and not request.transport.is_closing() and not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 0.1)

    async def _refuse(self, request: web.Request, fault: Fault) -> NoReturn:
        if fault.kind is Kind.HANG:
            await self.gone(request)
        if fault.kind in (Kind.HANG, Kind.SHUT):
            cut(request)
        self.reject(401 if fault.kind is Kind.EXPIRED else fault.status)


@web.middleware
async def _let_go(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (Cut, ConnectionError):  # a fault that was scripted, or the client's own end
        return web.Response()


async def _name(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-request-id"] = str(uuid4())


def cut(request: web.Request) -> None:
    """Reset the connection of a request."""
    if request.transport:
        request.transport.abort()
