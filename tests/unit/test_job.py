"""A call whose record cannot be opened: nobody is left ringing in its room."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent import job, room_leg
from config.retries import RetryPolicies
from config.settings import load


class Context:
    """What a job is given, as far as it comes before its record is open."""

    def __init__(self, house):
        self.job = Job(id="AJ_1", room=Room(sid="RM_1", name="room-1"))
        self.proc = SimpleNamespace(userdata={"house": house, "livekit": self})
        self.room = SimpleNamespace(on=lambda *_: None)
        self.deleted, self.ends, self.closed = [], [], False

    def is_fake_job(self):
        return False

    def shutdown(self, reason):
        self.ends.append(reason)

    async def delete_room(self, room):
        self.deleted.append(room)

    async def aclose(self):
        self.closed = True


@pytest.fixture
def context(tmp_path):
    return Context(
        job.House(load(environ={}), {}, tmp_path / "events.sock", "host/1", RetryPolicies())
    )


async def test_a_record_that_cannot_be_opened_ends_the_room_and_the_job(context, monkeypatch):
    async def broken(*_, **__):
        raise OSError("no more files")

    monkeypatch.setattr(job.Record, "open", broken)
    monkeypatch.setattr(room_leg, "LAST_WORDS", 0)
    with pytest.raises(OSError, match="no more files"):
        await job.answer(context)
    assert context.deleted == ["room-1"]
    assert context.ends == ["agent_error"]
    await job.close(context)  # there is no record to close
    assert context.closed
