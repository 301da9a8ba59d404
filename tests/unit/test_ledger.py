"""The worker's one writer: nothing that `add` took is lost, whatever becomes of the database."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent import ledger as module
from agent.call import EndReason
from agent.errors import CallUnknown, StoreError, StoreUnavailable
from agent.events import CallEnded, CallNote, CallOpened, TurnCommitted, encode
from agent.ledger import Ledger, Presence
from agent.spool import Spool
from agent.store import CallLog

A, B = "aa" * 16, "bb" * 16


@pytest.fixture
def file(tmp_path):
    return tmp_path / "calls.db"


async def abandoned(rooms):
    """Nobody's rooms are deleted here."""


class Rooms(list):
    """Rooms that a ledger said were left behind."""

    def __init__(self):
        super().__init__()
        self.told = asyncio.Event()

    async def __call__(self, rooms):
        self += rooms
        self.told.set()


@pytest.fixture
def rooms():
    return Rooms()


@pytest.fixture
async def ledger(tmp_path, file, monkeypatch, rooms):
    monkeypatch.setattr(module, "RETRY", 0.02)
    ledger = Ledger(f"sqlite:///{file}", tmp_path / "data", rooms)
    yield ledger
    if ledger._tasks:
        await ledger.aclose()


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "data" / "spool")


@pytest.fixture
def read(file):
    """Read the database as another process would."""
    opened = []

    def record(call_id):
        log = CallLog.open(f"sqlite:///{file}", readonly=True)
        opened.append(log)
        return log.get_call(call_id)

    yield record
    for log in opened:
        log.close()


def opened(call_id=A, seq=1):
    return CallOpened(
        call_id=call_id, seq=seq, room=call_id, room_sid="", job_id="j", agent_name="a", pid=7
    )


def turn(number, call_id=A):
    return TurnCommitted(call_id=call_id, seq=number + 1, turn=number, user_text=f"say {number}")


def ended(call_id=A):
    return CallEnded(call_id=call_id, seq=99, reason=EndReason.CALLER_HANGUP)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.01)


def away(file):
    """A database that does not answer: where its file should be there is a folder."""
    file.mkdir()


async def test_what_was_added_is_durable_at_once(ledger, read):
    await ledger.open()
    assert not ledger.is_degraded
    await ledger.add(opened())
    await ledger.add(turn(1))
    record = read(A)
    assert record.call.room == A
    assert [row.user_text for row in record.turns] == ["say 1"]


async def test_many_calls_at_once_lose_nothing(ledger, read):
    await ledger.open()
    calls = [f"{number:032x}" for number in range(10)]
    await asyncio.gather(
        *(ledger.add(event) for c in calls for event in (opened(c), turn(1, c), ended(c)))
    )
    for call in calls:
        record = read(call)
        assert (len(record.turns), record.call.end_reason) == (1, EndReason.CALLER_HANGUP)


async def test_a_database_that_is_away_at_start_stops_nobody(ledger, file, spool, read, caplog):
    away(file)
    await ledger.open()
    assert ledger.is_degraded
    await ledger.add(opened())
    for number in (1, 2, 3):
        await ledger.add(turn(number))
    assert spool.pending() == 1
    assert "the call log is away" in caplog.messages

    file.rmdir()
    await until(lambda: not ledger.is_degraded)
    assert spool.pending() == 0
    assert [row.user_text for row in read(A).turns] == ["say 1", "say 2", "say 3"]
    await ledger.add(ended())
    assert read(A).call.end_reason is EndReason.CALLER_HANGUP


async def test_what_was_spooled_while_away_is_replayed_in_order(ledger, file):
    away(file)
    await ledger.open()
    for event in (opened(), turn(1), turn(2), ended()):
        await ledger.add(event)
    file.rmdir()
    await until(lambda: not ledger.is_degraded)
    events = await ledger.run(lambda log: log.get_call(A).events)
    assert [event.seq for event in events] == [1, 2, 3, 99]


class Broken:
    """A call log that fails in its own way."""

    def __init__(self, error):
        self.error, self.closed = error, False

    def apply(self, _worker_id, _events):
        raise self.error

    def close(self):
        self.closed = True


async def test_a_database_that_goes_away_in_mid_call_is_found_again(ledger, read):
    await ledger.open()
    await ledger.add(opened())
    ledger._log.close()
    ledger._log = broken = Broken(StoreUnavailable("gone"))
    await ledger.add(turn(1))
    assert broken.closed
    await until(lambda: not ledger.is_degraded)
    await ledger.add(turn(2))
    assert [row.user_text for row in read(A).turns] == ["say 1", "say 2"]


async def test_an_error_of_the_database_does_not_end_the_writer(ledger, spool, read, caplog):
    await ledger.open()
    whole = ledger._log
    ledger._log = Broken(StoreError("no permission"))
    await ledger.add(opened())
    assert spool.pending() == 1
    assert "events were not written" in caplog.messages
    ledger._log = whole
    await ledger.add(opened(B))
    assert read(B).call.room == B


async def test_a_refused_event_is_put_aside_and_the_others_are_written(ledger, spool, read):
    await ledger.open()
    wrong = TurnCommitted(call_id=A, seq=2**40, turn=1)
    await asyncio.gather(*map(ledger.add, (opened(), wrong, turn(2), opened(B))))
    assert [row.number for row in read(A).turns] == [2]
    assert read(B).call.room == B
    assert spool.pending() == 1


async def test_what_is_no_calls_id_is_refused_and_the_writer_goes_on(ledger, file, read):
    away(file)
    await ledger.open()
    with pytest.raises(ValueError, match="not the id"):
        await ledger.add(CallNote(call_id="../evil", seq=1, name="x"))
    await ledger.add(opened())
    file.rmdir()
    await until(lambda: not ledger.is_degraded)
    assert read(A).call.room == A


async def test_when_no_disk_takes_an_event_its_sender_is_told(ledger, file, tmp_path, caplog):
    away(file)
    await ledger.open()
    (tmp_path / "data" / "spool").touch()
    with pytest.raises(OSError, match="spool"):
        await ledger.add(opened())
    assert "events could not be kept" in caplog.messages


async def test_closing_writes_what_waits(file, tmp_path, read):
    ledger = Ledger(f"sqlite:///{file}", tmp_path / "data", abandoned)
    await ledger.open()
    adding = [asyncio.create_task(ledger.add(turn(number))) for number in range(1, 30)]
    await asyncio.sleep(0)
    await ledger.aclose()
    assert all(task.done() for task in adding)
    assert len(read(A).turns) == 29


async def test_a_dead_workers_calls_are_closed_and_a_living_ones_are_not(
    ledger, tmp_path, file, rooms
):
    dead, alive = (Presence(tmp_path / "data" / "run") for _ in range(2))
    dead.announce()
    alive.announce()
    log = CallLog.open(f"sqlite:///{file}")
    log.apply(dead.worker_id, [opened(A)])
    log.apply(alive.worker_id, [opened(B)])
    dead.leave()
    await ledger.open()
    assert log.get_call(A).call.end_reason is EndReason.WORKER_KILLED
    await rooms.told.wait()
    assert rooms == [log.get_call(A).call.room]  # a caller sits in it, and hears nothing
    assert log.get_call(B).call.end_reason is None
    log.close()
    alive.leave()


async def test_a_dead_workers_spool_has_the_last_word(ledger, tmp_path, file, spool, read):
    dead = Presence(tmp_path / "data" / "run")
    dead.announce()
    dead.leave()
    log = CallLog.open(f"sqlite:///{file}")
    log.apply(dead.worker_id, [opened(A)])
    log.close()

    spool.append(A, [encode(turn(1)), encode(ended(A))], dead.worker_id)
    await ledger.open()
    record = read(A)
    assert record.call.end_reason is EndReason.CALLER_HANGUP
    assert [row.user_text for row in record.turns] == ["say 1"]


def with_cost(events):
    return [
        replace(event, cost={"total": "0.5"}) if isinstance(event, CallEnded) else event
        for event in events
    ]


async def test_a_call_that_ends_is_written_with_its_cost(tmp_path, file, rooms, read):
    ledger = Ledger(f"sqlite:///{file}", tmp_path / "data", rooms, with_cost)
    await ledger.open()
    await ledger.add(opened())
    await ledger.add(ended())
    assert read(A).call.cost == {"total": "0.5"}
    await ledger.aclose()


async def test_a_call_out_of_the_spool_has_its_cost_too(tmp_path, file, rooms, spool, read):
    spool.append(A, [encode(opened()), encode(ended())], "")
    ledger = Ledger(f"sqlite:///{file}", tmp_path / "data", rooms, with_cost)
    await ledger.open()
    assert read(A).call.cost == {"total": "0.5"}
    await ledger.aclose()


async def test_a_url_that_names_no_database_stops_the_start(tmp_path):
    with pytest.raises(StoreError, match=r"store\.url"):
        await Ledger("mysql://h/d", tmp_path, abandoned).open()


async def test_an_unknown_call_is_not_there(ledger, read):
    await ledger.open()
    with pytest.raises(CallUnknown):
        read(A)
