"""A stand-in for the RoomService of a LiveKit server: rooms, who is there, who was removed."""

from __future__ import annotations

from typing import Self

from aiohttp import web
from livekit import api

from tests.control_plane import KEY, SECRET
from tests.programs import News

TWIRP = "/twirp/livekit.RoomService/"


class RoomsStandIn:
    """Keeps rooms in memory: `rooms[room][identity]` are the attributes of a participant."""

    def __init__(self) -> None:
        self.rooms: dict[str, dict[str, dict[str, str]]] = {}
        self.removed = News()
        """The requests for which a participant was removed."""
        self.asked: list[api.RoomParticipantIdentity] = []
        """Every request to remove one."""
        self.is_down = False

    async def __aenter__(self) -> Self:
        app = web.Application()
        for method in ("ListRooms", "ListParticipants", "GetParticipant", "RemoveParticipant"):
            app.router.add_post(TWIRP + method, self._on_call)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    @property
    def variables(self) -> dict[str, str]:
        """What a control plane must be told to find it."""
        return {"LIVEKIT_URL": f"ws://127.0.0.1:{self._runner.addresses[0][1]}"}

    async def _on_call(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        api.TokenVerifier(KEY, SECRET).verify(token)
        if self.is_down:
            return web.json_response({"code": "unavailable", "msg": "down"}, status=503)
        answer = getattr(self, request.path.removeprefix(TWIRP))(await request.read())
        if answer is None:
            return web.json_response({"code": "not_found", "msg": "not there"}, status=404)
        if isinstance(answer, api.RoomParticipantIdentity):
            await self.removed.add(answer)
            answer = api.RemoveParticipantResponse()
        return web.Response(body=answer.SerializeToString(), content_type="application/protobuf")

    def ListRooms(self, body: bytes) -> api.ListRoomsResponse:  # noqa: N802 - the method's name
        names = api.ListRoomsRequest.FromString(body).names
        rooms = [api.Room(name=name) for name in self.rooms if name in names or not names]
        return api.ListRoomsResponse(rooms=rooms)

    def ListParticipants(self, body: bytes) -> api.ListParticipantsResponse:  # noqa: N802
        there = self.rooms.get(api.ListParticipantsRequest.FromString(body).room, {})
        return api.ListParticipantsResponse(
            participants=[
                api.ParticipantInfo(identity=who, attributes=told) for who, told in there.items()
            ]
        )

    def GetParticipant(self, body: bytes) -> api.ParticipantInfo | None:  # noqa: N802
        asked = api.RoomParticipantIdentity.FromString(body)
        there = self.rooms.get(asked.room, {}).get(asked.identity)
        return None if there is None else api.ParticipantInfo(attributes=there)

    def RemoveParticipant(self, body: bytes) -> api.RoomParticipantIdentity | None:  # noqa: N802
        asked = api.RoomParticipantIdentity.FromString(body)
        self.asked.append(asked)
        there = self.rooms.get(asked.room, {})
        return asked if there.pop(asked.identity, None) is not None else None
