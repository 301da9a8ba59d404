"""The rooms of a LiveKit server in memory, in the shape of `agent.livekit.LiveKit`."""

from __future__ import annotations

import asyncio
from collections import Counter

from livekit import api
from livekit.protocol.models import Room

from agent.errors import NotFound, Unavailable

NAME, SID = "voice-ai-call-1", "RM_1"


class Server:
    """The rooms of a LiveKit server, in the shape of its API."""

    def __init__(self):
        self.room = self.agent_dispatch = self
        self.rooms, self.people, self.dispatches = {}, {}, []
        self.deleted, self.asked = [], Counter()
        self.is_away, self.job_listens = False, False
        self.changed = asyncio.Event()

    def open(self, *people, name=NAME, sid=SID):
        self.rooms[name] = Room(sid=sid, name=name, creation_time=1_795_262_400)
        self.people[name] = list(people)

    async def list_rooms(self, _request):
        self._ask("list_rooms")
        return api.ListRoomsResponse(rooms=self.rooms.values())

    async def list_participants(self, request):
        self._ask("list_participants")
        if request.room not in self.rooms:
            raise NotFound
        return api.ListParticipantsResponse(participants=self.people[request.room])

    async def send_data(self, request):
        """The job of the call hears it, and ends its room."""
        self._ask("send_data")
        if not self.job_listens:
            raise Unavailable
        del self.rooms[request.room]
        return api.SendDataResponse()

    async def delete_room(self, request):
        self._ask("delete_room")
        del self.rooms[request.room]
        self.deleted.append(request.room)
        return api.DeleteRoomResponse()

    async def list_dispatch(self, _room):
        self._ask("list_dispatch")
        return list(self.dispatches)

    async def create_dispatch(self, request):
        self._ask("create_dispatch")
        self.dispatches.append(
            api.AgentDispatch(
                agent_name=request.agent_name, room=request.room, metadata=request.metadata
            )
        )
        return self.dispatches[-1]

    async def aclose(self):
        pass

    def _ask(self, method):
        self.asked[method] += 1
        self.changed.set()
        if self.is_away:
            raise Unavailable

    async def until(self, true):
        async with asyncio.timeout(20):
            while not true():
                self.changed.clear()
                await self.changed.wait()
