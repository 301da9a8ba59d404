"""A LiveKit server's part, played in: its webhooks are signed, its API knows the same rooms."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from livekit import api

from tests import webhooks
from tests.livekit_stand_in import KEY, SECRET, Asked, TwirpStandIn

Post = Callable[[bytes, dict[str, str]], Awaitable[Any]]


class Answered(NamedTuple):
    """A request to the API. Moments are UNIX seconds."""

    method: str
    status: int
    begun: float
    ended: float


class LiveKitServer(TwirpStandIn):
    """Rooms come and go by `open`, `refuse`, `lose` and `close`; each tells by webhooks."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms: dict[int, list[dict[str, Any]]] = {}
        """Who is in each open room, by its number."""
        self.egress: list[dict[str, Any]] = []
        """Recordings that go on."""
        self.answered: list[Answered] = []
        self.told = 0
        """Webhooks that were sent."""
        self._hook: Post | None = None

    def tell(self, hook: Post) -> None:
        """Send webhooks there from now on."""
        self._hook = hook

    def answer(self, asked: Asked, empty: Message) -> Message:
        if asked.method == "ListRooms":
            rooms = [ParseDict(webhooks.room(number), api.Room()) for number in self.rooms]
            return api.ListRoomsResponse(rooms=rooms)
        if asked.method == "ListParticipants":
            there = next(
                (n for n in self.rooms if webhooks.room(n)["name"] == asked.message.room), 0
            )
            people = [ParseDict(one, api.ParticipantInfo()) for one in self.rooms.get(there, ())]
            return api.ListParticipantsResponse(participants=people)
        if asked.method == "ListEgress":
            wanted = asked.message.egress_id
            known = [one for one in self.egress if wanted in ("", one["egressId"])]
            return api.ListEgressResponse(items=[ParseDict(o, api.EgressInfo()) for o in known])
        return super().answer(asked, empty)

    async def open(self, number: int) -> None:
        """A telephone calls, and an agent comes."""
        caller, agent = webhooks.telephone(number), webhooks.agent(number)
        self.rooms[number] = []
        await self._say("room_started", number)
        for who in (caller, agent):
            self.rooms[number].append(who)
            await self._say("participant_joined", number, participant=who)

    async def refuse(self, number: int) -> None:
        """A participant's connection does not come about."""
        who = webhooks.telephone(number, sid=f"PA_refused{number}")
        await self._say("participant_connection_aborted", number, participant=who)

    async def close(self, number: int, why: str = "CLIENT_INITIATED") -> None:
        """The telephone leaves, then the agent, and the room is gone."""
        caller, agent = self.rooms.pop(number)
        for who, reason in ((caller, why), (agent, "CLIENT_INITIATED")):
            left = {**who, "disconnectReason": reason}
            await self._say("participant_left", number, participant=left)
        await self._say("room_finished", number)

    async def record(self, number: int, status: str = "") -> None:
        """An egress of the room begins, and ends if a status is given."""
        info = {
            "egressId": f"EG_{number:06}",
            "roomId": webhooks.room(number)["sid"],
            "roomName": webhooks.room(number)["name"],
            "status": "EGRESS_ACTIVE",
            "startedAt": str(time.time_ns()),
        }
        self.egress.append(info)
        await self._say("egress_started", number, egressInfo=info)
        if not status:
            return
        self.egress.remove(info)
        ended = {**info, "status": status, "endedAt": str(time.time_ns())}
        await self._say("egress_ended", number, egressInfo=ended)

    async def _on_call(self, request: web.Request) -> web.Response:
        begun = time.time()
        response = await super()._on_call(request)
        method = request.match_info["method"]
        self.answered.append(Answered(method, response.status, begun, time.time()))
        return response

    async def _say(self, name: str, number: int, **more: Any) -> None:
        assert self._hook is not None
        self.told += 1
        since_noon = int(time.time()) - webhooks.NOON
        if "egressInfo" not in more:
            more["room"] = webhooks.room(number)
        body = webhooks.body(webhooks.event(name, self.told, since_noon, **more))
        await self._hook(body, webhooks.headers(body, KEY, SECRET))
