"""What dies in mid-call takes nothing with it: a job process, a worker, the database."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil
import pytest

from agent.call import EndReason
from agent.events import (
    WORKER_SEQ,
    CallEnded,
    CallOpened,
    TurnCommitted,
    TurnFinished,
    is_passing,
)
from agent.rehearsal.troupe import Troupe
from agent.store import CallLog
from plugins.line import Clock, Ended
from tests.callers import Ear, asks, place
from tests.programs import eventually, settings

pytestmark = pytest.mark.clocked

pytest_plugins = ["tests.postgres"]

CLOSED_WITHIN = 2.0


def record_of(url, call_id):
    log = CallLog.open(url, readonly=True)
    try:
        return log.get_call(call_id)
    finally:
        log.close()


def told(events):
    """The turns that a call's events tell, as the call log must have them."""
    turns = {}
    for event in events:
        if isinstance(event, TurnCommitted):
            turns[event.turn] = (event.user_text, "")
        if isinstance(event, TurnFinished):
            turns[event.turn] = (turns[event.turn][0], event.agent_text)
    return [(number, *texts) for number, texts in sorted(turns.items())]


def kept(record):
    return [(turn.number, turn.user_text, turn.agent_text) for turn in record.turns]


def first_answer(room):
    """Wanted: the end of the first answer in `room`, when the next question is to come."""
    opened = {}

    def wanted(event):
        if isinstance(event, CallOpened):
            opened[event.call_id] = event.room
        return (
            isinstance(event, TurnFinished)
            and event.turn == 1
            and event.agent_text
            and opened[event.call_id] == room
        )

    return wanted


async def test_a_killed_job_takes_its_own_call_only(tmp_path):
    ear, variables = Ear(), settings(tmp_path)
    url = variables["VOICE_AGENT__STORE__URL"]
    variables["VOICE_AGENT__WORKER__IDLE_PROCESSES"] = "3"
    async with Troupe(variables, tmp_path / "worker.log", ear.hear) as troupe, Clock() as clock:
        rooms = ["room-killed", "room-one", "room-two"]
        calls = [asyncio.create_task(place(troupe, clock, room, asks())) for room in rooms]
        call_id = (await ear.when(first_answer("room-killed"))).call_id
        pid = next(event.pid for event in ear.of(call_id) if isinstance(event, CallOpened))
        before = told(ear.of(call_id))
        os.kill(pid, signal.SIGKILL)
        killed_at = time.time()

        ended = await ear.when(lambda event: isinstance(event, CallEnded))
        seen_after = time.time() - killed_at
        record = record_of(url, call_id)
        killed, *others = await asyncio.gather(*calls)

    assert (ended.call_id, ended.seq) == (call_id, WORKER_SEQ)
    assert seen_after < CLOSED_WITHIN
    assert record.call.end_reason is EndReason.PROCESS_KILLED
    assert record.call.ended_at.timestamp() - killed_at < CLOSED_WITHIN
    assert kept(record) == before
    assert record.call.turn_count == 1
    assert killed.ended is Ended.LOST
    for other in others:
        assert (other.ended, other.missed) == (Ended.AGENT_HANGUP, [])
        assert record_of(url, other.events[0].call_id).call.end_reason is EndReason.AGENT_HANGUP


async def test_what_a_killed_worker_missed_is_replayed_when_the_next_one_closes_its_call(tmp_path):
    ear, variables = Ear(), settings(tmp_path)
    url = variables["VOICE_AGENT__STORE__URL"]
    spool = tmp_path / "data" / "spool"
    variables["VOICE_AGENT__WORKER__IDLE_PROCESSES"] = "1"
    async with Troupe(variables, tmp_path / "first.log", ear.hear) as troupe, Clock() as clock:
        worker = psutil.Process(troupe._process.pid)
        caller = asks()
        call = asyncio.create_task(place(troupe, clock, "room", caller))
        call_id = (await ear.when(first_answer("room"))).call_id
        family = worker.children(recursive=True)
        worker.suspend()  # it hears nothing of the next turn, and its death ends the suspense
        await eventually(lambda: len(caller.log) == 3, "the question after the next answer")
        worker.kill()
        lost = await call
    _, left = await asyncio.to_thread(psutil.wait_procs, family, 30)
    assert left == []
    assert lost.ended is Ended.LOST
    assert record_of(url, call_id).call.ended_at is None
    assert [file.stem for file in spool.iterdir()] == [call_id]

    async with Troupe(variables, tmp_path / "second.log", Ear().hear):
        record = record_of(url, call_id)

    assert record.call.end_reason is EndReason.WORKER_KILLED
    assert kept(record)[:2] == told(ear.of(call_id))
    _, question, answer = kept(record)[2]
    assert "tune up" in question
    assert "sixty dollars" in answer
    assert list(spool.iterdir()) == []


@pytest.mark.needs("postgresql")
async def test_a_database_that_goes_away_and_comes_back_disturbs_no_call(
    tmp_path, postgres_url, postgres_outage
):
    ear, variables = Ear(), {**settings(tmp_path), "VOICE_AGENT__STORE__URL": postgres_url}
    variables["VOICE_AGENT__WORKER__IDLE_PROCESSES"] = "1"
    spool = tmp_path / "data" / "spool"
    async with Troupe(variables, tmp_path / "worker.log", ear.hear) as troupe, Clock() as clock:
        call = asyncio.create_task(place(troupe, clock, "room", asks()))
        call_id = (await ear.when(first_answer("room"))).call_id
        await asyncio.to_thread(postgres_outage.begin)
        await ear.when(lambda event: isinstance(event, TurnFinished) and event.turn == 2)
        spooled = list(spool.glob("*.jsonl"))
        await asyncio.to_thread(postgres_outage.end)
        placed = await call
        await eventually(lambda: not list(spool.glob("*.jsonl")), "the spool is replayed")
        record = record_of(postgres_url, call_id)

    assert [file.stem for file in spooled] == [call_id]
    assert placed.missed == []
    assert placed.ended is Ended.AGENT_HANGUP
    lasting = [event.seq for event in placed.events if not is_passing(event)]
    assert [event.seq for event in record.events] == lasting
    assert kept(record) == told(placed.events)
    assert record.call.end_reason is EndReason.AGENT_HANGUP
