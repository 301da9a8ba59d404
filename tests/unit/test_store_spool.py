"""The spool keeps events that could not be handed over, whatever happens to its files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent import durable
from agent.call import EndReason
from agent.errors import EventRefused, StoreError, StoreUnavailable
from agent.events import CallEnded, CallNote, encode
from agent.spool import Spool

ROOT = Path(__file__).parents[2]
CALL, OTHER = "c1" * 16, "c2" * 16


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "spool" / f"{CALL}.jsonl"


def lines(*numbers, call_id=CALL):
    return [encode(CallNote(call_id=call_id, seq=n, name="x")) for n in numbers]


class Applied:
    """Takes events as a call log would; `fail` is raised for the calls that it names."""

    def __init__(self, **fail):
        self.events = []
        self.fail = fail

    def __call__(self, worker_id, events):
        for event in events:
            if error := self.fail.get(event.call_id) or self.fail.get(f"n{event.seq}"):
                raise error
        self.events += [(worker_id, event.call_id, event.seq) for event in events]


def test_what_was_appended_is_replayed_in_order_and_then_gone(spool, file):
    spool.append(CALL, lines(1, 2), "host/1")
    spool.append(CALL, lines(3))
    assert spool.pending() == 1
    applied = Applied()
    done = spool.replay(applied)
    assert applied.events == [("host/1", CALL, 1), ("host/1", CALL, 2), ("", CALL, 3)]
    assert (done.applied, done.finished, done.kept, done.bad) == (3, 1, 0, [])
    assert not file.exists()
    assert spool.pending() == 0


def test_the_end_that_a_newer_release_spooled_is_no_damage(spool, file):
    end = CallEnded(call_id=CALL, seq=2, reason=EndReason.SILENCE)
    spool.append(CALL, [*lines(1), encode(end).replace("silence", "boredom")])
    applied = Applied()
    done = spool.replay(applied)
    assert [seq for *_, seq in applied.events] == [1, 2]
    assert (done.finished, done.bad) == (1, [])


def test_an_empty_spool_needs_no_folder(spool, tmp_path):
    assert spool.replay(Applied()).applied == 0
    assert list(tmp_path.iterdir()) == []


def test_only_ids_of_calls_name_files(spool):
    for wrong in ("../evil", "", "A1" * 16, CALL + "0"):
        with pytest.raises(ValueError, match="not the id"):
            spool.append(wrong, lines(1))


def test_nothing_is_lost_when_the_call_log_is_away(spool, file):
    spool.append(CALL, lines(1))
    spool.append(OTHER, lines(1, call_id=OTHER))
    away = Applied(**{CALL: StoreUnavailable("away"), OTHER: StoreUnavailable("away")})
    assert spool.replay(away).kept == 2
    applied = Applied()
    assert spool.replay(applied).finished == 2
    assert len(applied.events) == 2


def test_a_call_that_cannot_be_written_does_not_block_the_others(spool):
    spool.append(CALL, lines(1))
    spool.append(OTHER, lines(1, call_id=OTHER))
    done = spool.replay(Applied(**{CALL: StoreError("no permission")}))
    assert (done.kept, done.finished) == (1, 1)
    assert spool.pending() == 1


def test_a_torn_last_line_is_passed_over(spool, file):
    spool.append(CALL, lines(1))
    with file.open("a") as torn:
        torn.write('{"worker_id":"","event":{"kind":"no')
    applied = Applied()
    done = spool.replay(applied)
    assert [seq for *_, seq in applied.events] == [1]
    assert (done.finished, done.bad) == (1, [])
    assert not file.exists()


def test_what_follows_a_torn_line_is_read(spool, file):
    spool.append(CALL, lines(1))
    with file.open("a") as torn:
        torn.write('{"worker_id":"","event":{"kind":"no')
    spool.append(CALL, lines(2))
    applied = Applied()
    spool.replay(applied)
    assert [seq for *_, seq in applied.events] == [1, 2]


def test_a_whole_event_without_its_newline_is_no_loss(spool, file):
    spool.append(CALL, lines(1))
    os.truncate(file, file.stat().st_size - 1)
    applied = Applied()
    assert spool.replay(applied).finished == 1
    assert len(applied.events) == 1


@pytest.mark.parametrize(
    "garbage",
    [b"garbage\n", b"\xff\xfe\x00\n", b"[]\n", b"[" * 100_000 + b"\n", b'{"event":{}}\n'],
    ids=["text", "bytes", "list", "deep", "no worker"],
)
def test_a_damaged_file_gives_what_it_has_and_is_put_aside(spool, file, garbage):
    spool.append(CALL, lines(1))
    with file.open("ab") as damaged:
        damaged.write(garbage)
    spool.append(CALL, lines(2))
    spool.append(OTHER, lines(1, call_id=OTHER))
    applied = Applied()
    done = spool.replay(applied)
    assert [(call, seq) for _, call, seq in applied.events] == [(CALL, 1), (CALL, 2), (OTHER, 1)]
    assert (done.bad, done.finished) == ([file.name], 1)
    (aside,) = (file.parent / "bad").iterdir()
    assert garbage in aside.read_bytes()
    assert spool.pending() == 0


def test_an_event_of_another_call_is_damage(spool, file):
    spool.append(CALL, lines(1, call_id=OTHER))
    applied = Applied()
    assert spool.replay(applied).bad == [file.name]
    assert applied.events == []


def test_a_refused_event_does_not_take_its_neighbours_along(spool, file):
    spool.append(CALL, lines(1, 2, 3))
    applied = Applied(n2=EventRefused("no"))
    done = spool.replay(applied)
    assert [seq for *_, seq in applied.events] == [1, 3]
    assert (done.bad, done.applied) == ([file.name], 2)


def test_an_unreadable_file_is_kept_and_blocks_nobody(spool, file):
    spool.append(OTHER, lines(1, call_id=OTHER))
    file.mkdir()
    applied = Applied()
    done = spool.replay(applied)
    assert (done.finished, done.kept) == (1, 1)
    assert len(applied.events) == 1


def test_events_that_arrive_during_a_replay_wait_for_the_next(spool, file):
    spool.append(CALL, lines(1))
    applied = Applied()

    def meanwhile(worker_id, events):
        applied(worker_id, events)
        spool.append(CALL, lines(2))

    done = spool.replay(meanwhile)
    assert (done.kept, done.finished) == (1, 0)
    spool.replay(applied)
    assert [seq for *_, seq in applied.events] == [1, 1, 2]
    assert not file.exists()


def test_two_replays_at_once_do_not_fail(spool):
    spool.append(CALL, lines(1))
    applied = Applied()

    def another_first(worker_id, events):
        spool.replay(applied)
        applied(worker_id, events)

    assert spool.replay(another_first).finished == 1
    assert len(applied.events) == 2


def test_what_is_written_to_a_file_that_a_replay_just_removed_is_not_lost(spool, monkeypatch):
    spool.append(CALL, lines(1))
    applied = Applied()
    flock = durable.fcntl.flock
    raced = []

    def replay_wins_the_race(descriptor, operation):
        if not raced:
            raced.append(True)
            spool.replay(applied)
        flock(descriptor, operation)

    monkeypatch.setattr(durable.fcntl, "flock", replay_wins_the_race)
    spool.append(CALL, lines(2))
    spool.replay(applied)
    assert [seq for *_, seq in applied.events] == [1, 2]


def test_a_full_disk_leaves_the_file_as_it_was(spool, file):
    spool.append(CALL, lines(1))
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            spool.append(CALL, lines(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.read_bytes() == before


def test_the_spool_does_not_load_the_database_library():
    program = "import agent.spool, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = done.stdout.split()
    assert "agent.spool" in loaded
    assert "sqlalchemy" not in loaded
