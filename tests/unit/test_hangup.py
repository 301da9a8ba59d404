"""Hanging up deletes the room of that call and of no other."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from livekit import api

from agent.call import HANGUP_TOPIC, now
from agent.errors import Unavailable
from ops.rooms.hangup import NotOpen, hang_up

NAME = "voice-ai-call-desk"


class LiveKit:
    """One room, and what is deleted."""

    def __init__(self, sid):
        self.room, self.deleted, self._sid = self, [], sid
        self.told, self.job_listens = [], None

    async def list_rooms(self, _request):
        gone = self.told and self.job_listens
        return api.ListRoomsResponse(rooms=[] if gone else [api.Room(sid=self._sid, name=NAME)])

    async def send_data(self, request):
        if self.job_listens is None:
            raise Unavailable
        self.told.append((request.room, request.topic))

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


async def test_the_job_is_told_why_and_ends_its_room_by_itself():
    livekit = LiveKit("RM_1")
    livekit.job_listens = True
    await hang_up(livekit, call(), [])
    assert (livekit.told, livekit.deleted) == ([(NAME, HANGUP_TOPIC)], [])


async def test_a_job_that_does_not_listen_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("ops.rooms.hangup.LEAVES_WITHIN", 0.3)
    livekit = LiveKit("RM_1")
    livekit.job_listens = False
    await hang_up(livekit, call(), [])
    assert livekit.deleted == [NAME]
