"""Tiny stand-ins for LiveKit: the websocket of workers with rooms that never let anybody in, and
the API.

Their protocols are that of `livekit.protocol.agent` (WorkerMessage and ServerMessage, one a frame),
and Twirp: protobuf posted to `/twirp/livekit.SERVICE/METHOD`, errors in JSON.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import jwt
from aiohttp import WSMsgType, web
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from livekit import api
from livekit.protocol import agent, models

from config.retries import SERVICES
from tests import canaries
from tests.programs import News

STATUSES = {
    "canceled": 408,
    "unknown": 500,
    "invalid_argument": 400,
    "malformed": 400,
    "deadline_exceeded": 408,
    "not_found": 404,
    "bad_route": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "unauthenticated": 401,
    "resource_exhausted": 429,
    "failed_precondition": 412,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "dataloss": 500,
}
"""Twirp's error codes and the HTTP status of each (the specification, version 7)."""

KEY, SECRET = "key-of-a-test", canaries.secret()


class LiveKitStandIn:
    """Takes one worker, offers and assigns jobs, keeps whoever joins a room waiting."""

    def __init__(self) -> None:
        self.messages = News()
        """What the worker sent."""
        self.joins = News()
        """Identities that knocked at a room."""
        self.deleted = News()
        """Rooms that were deleted."""
        self.takes_workers = asyncio.Event()
        """Until it is set, a worker waits for the answer to its registration."""
        self.lets_go = asyncio.Event()
        """When it is set, those who wait at a room are turned away."""
        self.attempts = News()
        """Whether each worker that connected was taken in."""
        self.closes_at_once = asyncio.Event()
        """While it is set, a worker's connection is accepted and closed."""
        self._worker: web.WebSocketResponse | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/agent", self._on_worker)
        app.router.add_post("/twirp/livekit.RoomService/DeleteRoom", self._on_delete)
        app.router.add_get("/rtc{rest:.*}", self._on_join)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.lets_go.set()
        await self._runner.cleanup()

    @property
    def variables(self) -> dict[str, str]:
        """What a worker must be told to find it."""
        port = self._runner.addresses[0][1]
        return {
            "LIVEKIT_URL": f"ws://127.0.0.1:{port}",
            "LIVEKIT_API_KEY": KEY,
            "LIVEKIT_API_SECRET": SECRET,
        }

    async def offer(
        self, room: str, job: agent.Job | None = None
    ) -> tuple[agent.Job, agent.AvailabilityResponse]:
        """Offer a job, a new one or one that another worker passed on: the worker's answer."""
        job = job or agent.Job(
            id=f"AJ_{uuid4().hex[:12]}",
            type=agent.JobType.JT_ROOM,
            room=models.Room(sid=f"RM_{uuid4().hex[:12]}", name=room),
            agent_name="voice-ai",
        )
        await self._send(agent.ServerMessage(availability=agent.AvailabilityRequest(job=job)))
        message = await self.messages.first(lambda m: m.availability.job_id == job.id)
        return job, message.availability

    async def assign(self, job: agent.Job, *, joins: bool = True) -> None:
        """Give the job to the worker, and wait until its process knocks at the room if it does."""
        grants = api.VideoGrants(room_join=True, room=job.room.name, agent=True)
        token = api.AccessToken(KEY, SECRET).with_identity(job.id).with_grants(grants).to_jwt()
        assignment = agent.JobAssignment(job=job, token=token)
        await self._send(agent.ServerMessage(assignment=assignment))
        if joins:
            await self.joins.first(lambda identity: identity == job.id)

    async def hang_up(self) -> None:
        """Close the worker's connection."""
        assert self._worker is not None
        await self._worker.close()

    async def _send(self, message: agent.ServerMessage) -> None:
        assert self._worker is not None
        await self._worker.send_bytes(message.SerializeToString())

    async def _on_worker(self, request: web.Request) -> web.WebSocketResponse:
        assert _claims(request).video.agent
        self._worker = socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.attempts.add(not self.closes_at_once.is_set())
        if self.closes_at_once.is_set():
            await socket.close()
        async for frame in socket:
            assert frame.type is WSMsgType.BINARY
            message = agent.WorkerMessage.FromString(frame.data)
            await self.messages.add(message)
            if message.HasField("register"):
                await self.takes_workers.wait()
                answer = agent.RegisterWorkerResponse(worker_id="AW_1")
                await self._send(agent.ServerMessage(register=answer))
        return socket

    async def _on_join(self, request: web.Request) -> web.Response:
        await self.joins.add(_claims(request).identity)
        await self.lets_go.wait()
        raise web.HTTPUnauthorized

    async def _on_delete(self, request: web.Request) -> web.Response:
        assert _claims(request).video.room_create
        await self.deleted.add(api.DeleteRoomRequest.FromString(await request.read()).room)
        return web.Response(content_type="application/protobuf")


def _claims(request: web.Request) -> api.access_token.Claims:
    """Who asks. Raises HTTPUnauthorized for a token that was not signed with the secret."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        return api.TokenVerifier(KEY, SECRET).verify(
            bearer or request.query.get("access_token", "")
        )
    except Exception as error:
        raise web.HTTPUnauthorized from error


@dataclass(frozen=True)
class Fault:
    """What a request is answered with instead of what it asked for."""

    code: str = ""
    """Twirp's; empty: an answer that is none of Twirp's, such as a proxy's."""
    status: int = 0
    """0: the code's own."""
    msg: str = "no"
    meta: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"<html>no</html>"
    echoes: bool = False
    """Whether the message repeats the token that came with the request."""
    hangs: bool = False
    breaks: bool = False
    """Whether the connection is cut."""


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    service: str
    method: str
    headers: dict[str, str]
    claims: dict[str, Any]
    message: Message
    peer: Any = None
    """The other end of the connection it came by."""


class TwirpStandIn:
    """The API of a LiveKit server: takes every method that the protocol has, and keeps what came.

    What it answers is in `answers` by method, else an empty message of the right kind.
    """

    def __init__(self) -> None:
        self.keys = {KEY: SECRET}
        """The API keys that the server knows, with their secrets."""
        self.asked: list[Asked] = []
        self.news = News()
        """The same, for whoever waits."""
        self.answers: dict[str, Message] = {}
        self.fault: Fault | None = None
        self.faults: list[Fault] = []
        """What the next requests meet, the first first; then `fault`, if there is one."""
        self.regions: list[str] = []
        """URLs of the same API in other regions, as LiveKit Cloud tells them."""
        self.pace = 0.0
        """Seconds to each answer."""
        self._released = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/twirp/livekit.{service}/{method}", self._on_call)
        app.router.add_get("/settings/regions", self._on_regions)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._released.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._runner.addresses[0][1]}"

    def credentials(self) -> tuple[str, str]:
        """A key that the server knows."""
        return KEY, SECRET

    async def _on_call(self, request: web.Request) -> web.Response:
        service, method = request.match_info["service"], request.match_info["method"]
        described = SERVICES[service][1].DESCRIPTOR.services_by_name[service]
        asks, answers = (
            GetMessageClass(getattr(described.methods_by_name[method], kind))
            for kind in ("input_type", "output_type")
        )
        claims = self._claims(request)
        if claims is None:
            return _error(Fault("unauthenticated", msg="invalid token"))
        headers = {name.lower(): value for name, value in request.headers.items()}
        message = asks.FromString(await request.read())
        peer = request.transport and request.transport.get_extra_info("peername")
        asked = Asked(service, method, headers, claims, message, peer)
        self.asked.append(asked)
        await self.news.add(asked)
        if fault := self.faults.pop(0) if self.faults else self.fault:
            return await self._faulty(request, fault)
        await asyncio.sleep(self.pace)
        body = self.answer(asked, answers()).SerializeToString()
        return web.Response(body=body, content_type="application/protobuf")

    def answer(self, asked: Asked, empty: Message) -> Message:
        """What a request is answered with; `empty` is of the right kind."""
        return self.answers.get(asked.method, empty)

    async def _on_regions(self, request: web.Request) -> web.Response:
        assert self._claims(request)
        return web.json_response({"regions": [{"url": url} for url in self.regions]})

    async def _faulty(self, request: web.Request, fault: Fault) -> web.Response:
        if fault.hangs:
            await self._released.wait()
        if fault.breaks:
            assert request.transport is not None
            request.transport.abort()
        if fault.echoes:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            return _error(Fault(fault.code, fault.status, f"who is {token}"))
        return _error(fault)

    def _claims(self, request: web.Request) -> dict[str, Any] | None:
        """What the token says, if a key of ours has signed it."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            key = jwt.decode(token, options={"verify_signature": False})["iss"]
            claims: dict[str, Any] = jwt.decode(
                token, self.keys[key], algorithms=["HS256"], options={"require": ["exp", "nbf"]}
            )
        except (jwt.InvalidTokenError, KeyError):
            return None
        return claims


def _error(fault: Fault) -> web.Response:
    status = fault.status or STATUSES.get(fault.code, 500)
    if not fault.code:
        return web.Response(status=status, body=fault.body, headers=fault.headers)
    body = {"code": fault.code, "msg": fault.msg, "meta": fault.meta}
    return web.json_response(body, status=status, headers=fault.headers)
