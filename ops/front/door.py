"""What every request passes first, and every answer last: plain ASGI, because it is in every way.

In this order: whose request it is, how often that one comes, how long the body may be; on the way
back the headers that keep browsers from making more of an answer than it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent import log, metrics
from agent.errors import StoreError
from ops.front import problems
from ops.front.addresses import Addresses, site
from ops.front.clients import Client
from ops.front.plane import Plane

logger = log.get(__name__)

PUBLIC = frozenset({"/health", "/webhooks/livekit"})
"""Paths that are open without a client key, and not counted: a balancer must be answered, and
webhooks carry a signature."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STS = (b"strict-transport-security", b"max-age=31536000")
SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Door:
    """The front door of one application."""

    def __init__(self, app: ASGIApp, plane: Plane) -> None:
        self._app = app
        self._plane = plane
        serve = plane.settings.serve
        self._per_minute, self._max_body = serve.per_minute, serve.max_body
        # The route itself asks then where its reader comes from.
        self._public = PUBLIC | ({"/metrics"} if serve.metrics == "loopback" else set())
        self._addresses = Addresses(serve.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        peer = scope["client"][0] if scope.get("client") else ""
        told = (value for name, value in scope["headers"] if name == b"x-forwarded-for")
        address = self._addresses.client(peer, b",".join(told).decode("latin-1"))
        answer = _Answer(send, self._is_secure(scope, headers, peer))
        state = scope.setdefault("state", {})
        state["address"] = address
        try:
            client = state["client"] = await self._client(headers, address)
            if scope["path"] not in self._public and (wait := await self._wait(client, address)):
                self._plane.suspicion.note("burst", client.name if client else site(address))
                refusal = problems.answer(429, "too many requests", {"Retry-After": str(wait)})
                await refusal(scope, receive, answer.send)
            elif _length(headers) > self._max_body:
                await self._too_long()(scope, receive, answer.send)
            elif client is None and scope["path"] not in self._public:
                await (await self._closed())(scope, receive, answer.send)
            else:
                await self._app(scope, self._bounded(receive), answer.send)
        except Exception as error:  # the boundary: nobody above us could answer in our shape
            logger.error("a request failed", path=_route(scope), exc_info=error)
            if not answer.begun:
                refusal = problems.answer(500, "something went wrong here; the log says what")
                await refusal(scope, receive, answer.send)
        finally:
            metrics.HTTP_SECONDS.labels(
                scope["method"] if scope["method"] in METHODS else "", _route(scope), answer.status
            ).observe(answer.took)

    async def _client(self, headers: dict[bytes, bytes], address: str) -> Client | None:
        scheme, _, key = _text(headers, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return None
        try:
            client = await self._plane.clients.client(key.strip())
        except StoreError:  # `require` says so where a client is needed
            return None
        if client is None:
            self._plane.suspicion.note("bad_key", site(address))
        return client

    async def _wait(self, client: Client | None, address: str) -> int:
        """Seconds that this one has to wait. A limit of its own frees a client from the rest."""
        if client and client.per_minute is not None:
            return await self._plane.limits.wait(f"client:{client.id}", client.per_minute)
        if client and (
            wait := await self._plane.limits.wait(f"client:{client.id}", self._per_minute)
        ):
            return wait
        return await self._plane.limits.wait(f"address:{site(address)}", self._per_minute)

    def _is_secure(self, scope: Scope, headers: dict[bytes, bytes], peer: str) -> bool:
        if scope["scheme"] == "https":
            return True
        forwarded = _text(headers, b"x-forwarded-proto").rpartition(",")[2].strip()
        return forwarded == "https" and self._addresses.trusts(peer)

    def _bounded(self, receive: Receive) -> Receive:
        """The body with an end, also where its length was not told."""
        had = 0

        async def bounded() -> Message:
            nonlocal had
            message = await receive()
            had += len(message.get("body", b""))
            if had > self._max_body:
                raise HTTPException(413, self._too_long_text())
            return message

        return bounded

    async def _closed(self) -> ASGIApp:
        """Said before anything is read or looked up: a route that forgot to ask is closed, too."""
        try:
            if not await self._plane.clients.is_empty():
                headers = {"WWW-Authenticate": "Bearer"}
                return problems.answer(401, "a valid client key is needed", headers)
        except StoreError:
            return problems.answer(503, "client keys cannot be read now")
        return problems.answer(503, "no client key is configured: python -m ops clients add")

    def _too_long(self) -> ASGIApp:
        return problems.answer(413, self._too_long_text(), {"Connection": "close"})

    def _too_long_text(self) -> str:
        return f"the body is longer than {self._max_body} bytes"


class _Answer:
    """Passes an answer on with the headers of security, and keeps what became of it."""

    def __init__(self, send: Send, is_secure: bool) -> None:  # noqa: FBT001 - both in one place
        self._send = send
        self._headers: Iterable[tuple[bytes, bytes]] = (*SECURITY, STS) if is_secure else SECURITY
        self._since = time.perf_counter()
        self.status = 0
        self.took = 0.0

    @property
    def begun(self) -> bool:
        """Whether it is too late for another answer."""
        return self.status != 0

    async def send(self, message: Message) -> None:
        """See ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.took = time.perf_counter() - self._since
            own = list(message.get("headers", ()))
            names = {name for name, _ in own}
            message["headers"] = own + [one for one in self._headers if one[0] not in names]
        await self._send(message)


def _route(scope: Scope) -> str:
    """The path as it is declared: those of requests are without number, and may hold anything."""
    return getattr(scope.get("route"), "path", "")


def _text(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def _length(headers: dict[bytes, bytes]) -> int:
    told = headers.get(b"content-length", b"")
    return int(told[:20]) if told.isdigit() else 0
