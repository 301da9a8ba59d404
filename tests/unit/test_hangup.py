"""Hanging up deletes the room of that call and of no other."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from livekit import api

from agent.call import now
from ops.rooms.hangup import NotOpen, hang_up

NAME = "voice-ai-call-desk"


class LiveKit:
    """One room, and what is deleted."""

    def __init__(self, sid):
        self.room, self.deleted, self._sid = self, [], sid

    async def list_rooms(self, _request):
        return api.ListRoomsResponse(rooms=[api.Room(sid=self._sid, name=NAME)])

    async def delete_room(self, request):
        self.deleted.append(request.room)


def call(**values):
    told = {"room": NAME, "room_sid": "RM_1", "ended_at": None, "end_provisional": False}
    return SimpleNamespace(**{**told, "end_reason": None, **values})


ENDED = {"ended_at": now() - timedelta(days=1), "end_provisional": True}


@pytest.mark.parametrize(("sid", "values"), [("RM_1", {}), ("RM_1", ENDED), ("RM_2", {})])
async def test_the_calls_own_room_is_deleted_after_a_restart_of_livekit_too(sid, values):
    livekit = LiveKit(sid)
    await hang_up(livekit, call(**values), others=["RM_9"])
    assert livekit.deleted == [NAME]


@pytest.mark.parametrize(("values", "others"), [(ENDED, []), ({}, ["RM_2"])])
async def test_a_later_call_in_a_room_of_that_name_goes_on(values, others):
    livekit = LiveKit("RM_2")
    with pytest.raises(NotOpen):
        await hang_up(livekit, call(**values), others)
    assert livekit.deleted == []
