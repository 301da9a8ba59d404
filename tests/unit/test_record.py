"""The record that a job writes, as its worker receives it."""

from __future__ import annotations

import asyncio

import pytest

from agent.call import Call, Caller, EndReason
from agent.channel import ChannelServer
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    TurnCommitted,
    TurnFinished,
)
from agent.record import Record
from agent.spool import Spool

CALL = Call.new(room="room-1", room_sid="RM_1", job_id="AJ_1", agent_name="voice-ai")


@pytest.fixture
async def told(tmp_path):
    """What a worker on `events.sock` was told."""
    events = []

    async def keep(event):
        events.append(event)

    async def lose(job):
        events.append(job)

    server = ChannelServer(tmp_path / "events.sock", keep, lose)
    await server.start()
    yield events
    await server.aclose()


async def open_record(tmp_path):
    return await Record.open(
        CALL, socket=tmp_path / "events.sock", spool=tmp_path / "s", worker_id="host/1", pid=42
    )


async def test_a_call_is_told_from_its_opening_to_its_end(told, tmp_path):
    record = await open_record(tmp_path)
    caller = Caller("sip_1", "+15550100", "+15550199")
    record.caller_joined(caller, persona="en", language="en", providers={"stt": "offline"})
    record.turn_committed(1, user_text="hello", stt="offline")
    record.turn_finished(1, agent_text="Hello.", tools=("end_call",))
    record.note("dtmf", key="5")
    record.memory_bytes = 41_000_000
    await record.close(EndReason.AGENT_HANGUP, "farewell", {"models": []})

    assert [type(event) for event in told] == [
        CallOpened,
        CallerJoined,
        TurnCommitted,
        TurnFinished,
        CallNote,
        CallEnded,
    ]
    assert [event.seq for event in told] == [1, 2, 3, 4, 5, 6]
    assert {event.call_id for event in told} == {CALL.id}
    opened, joined, _, finished, note, ended = told
    assert (opened.room, opened.room_sid, opened.job_id) == ("room-1", "RM_1", "AJ_1")
    assert opened.pid == 42
    assert (joined.number, joined.called) == ("+15550100", "+15550199")
    assert finished.tools == ("end_call",)
    assert (note.name, note.detail) == ("dtmf", {"key": "5"})
    assert (ended.reason, ended.detail) == (EndReason.AGENT_HANGUP, "farewell")
    assert ended.memory_bytes == 41_000_000


async def test_a_record_is_closed_once(told, tmp_path):
    record = await open_record(tmp_path)
    await asyncio.gather(
        record.close(EndReason.SILENCE, "", {}), record.close(EndReason.AGENT_ERROR, "", {})
    )
    ends = [event for event in told if isinstance(event, CallEnded)]
    assert [end.reason for end in ends] == [EndReason.SILENCE]


async def test_a_record_without_a_worker_waits_in_the_spool(tmp_path):
    record = await open_record(tmp_path)
    await record.close(EndReason.CALLER_HANGUP, "", {})
    found = []
    Spool(tmp_path / "s").replay(
        lambda worker, events: found.extend((worker, event.kind) for event in events)
    )
    assert found == [("host/1", "call_opened"), ("host/1", "call_ended")]
