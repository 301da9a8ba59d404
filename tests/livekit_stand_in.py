"""A tiny stand-in for LiveKit: the websocket of workers, and rooms that never let anybody in.

The protocol is that of `livekit.protocol.agent` (WorkerMessage and ServerMessage, one a frame).
"""

from __future__ import annotations

import asyncio
from typing import Self
from uuid import uuid4

from aiohttp import WSMsgType, web
from livekit import api
from livekit.protocol import agent, models

from tests.programs import News

KEY, SECRET = "key-of-a-test", "secret-of-a-test-that-is-long-enough"


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
