"""Several processes at one call log and one spool: no row is lost, no lock is ever seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.call import EndReason
from agent.spool import Spool
from agent.store import CallLog

pytest_plugins = ["tests.postgres"]

ROOT = Path(__file__).parents[2]
CALLS, EVENTS = 10, 50

WRITER = """
import sys
from agent.events import CallEnded, CallNote, CallOpened, TurnCommitted, TurnFinished
from agent.call import EndReason
from agent.store import CallLog

url, worker = sys.argv[1:]
log = CallLog.open(url)
print("ready", flush=True)
sys.stdin.readline()
ids = [f"{worker}{n:031x}" for n in range(10)]
for seq in range(1, 51):
    for call_id in ids:
        key = {"call_id": call_id, "seq": seq}
        if seq == 1:
            event = CallOpened(**key, room="r", room_sid=call_id, job_id="j", agent_name="a", pid=1)
        elif seq == 50:
            event = CallEnded(**key, reason=EndReason.CALLER_HANGUP)
        elif seq % 2:
            event = TurnFinished(**key, turn=seq // 2, agent_text="yes")
        else:
            event = TurnCommitted(**key, turn=seq // 2, user_text="well")
        log.apply(worker, [event])
log.close()
print("done", flush=True)
"""

READER = """
import sys
from agent.store import CallLog

log = CallLog.open(sys.argv[1], readonly=True)
print("ready", flush=True)
sys.stdin.readline()
rounds = 0
while True:
    calls = log.list_calls(100)
    for call in calls[:3]:
        record = log.get_call(call.id)
        assert record.call.turn_count == len(record.turns)
    rounds += 1
    if len(calls) == 20 and all(call.ended_at for call in calls):
        break
log.close()
print("done", rounds, flush=True)
"""

OPENER = """
import sys
from agent.store import CallLog

print("ready", flush=True)
sys.stdin.readline()
CallLog.open(sys.argv[1]).close()
print("done", flush=True)
"""

SPOOLER = """
import sys
from agent.events import CallNote, encode
from agent.spool import Spool

spool = Spool(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for seq in range(1, 201):
    spool.append("d1" * 16, [encode(CallNote(call_id="d1" * 16, seq=seq, name="x"))], "w")
print("done", flush=True)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/calls.db"
    return request.getfixturevalue("postgres_url")


class Started:
    """Programs that wait until all of them are ready, and are judged by how they ended."""

    def __init__(self, *programs):
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for program, *arguments in programs
        ]

    def __enter__(self):
        for process in self.processes:
            line = process.stdout.readline()
            assert line == "ready\n", process.stderr.read()
        for process in self.processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        return self

    def finish(self):
        ends = [process.communicate(timeout=120) for process in self.processes]
        for process, (output, errors) in zip(self.processes, ends, strict=True):
            assert process.returncode == 0, errors
            assert errors == ""
            assert output.startswith("done")
        return [output for output, _ in ends]

    def __exit__(self, *error):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def test_two_writers_and_a_reader_lose_nothing_and_see_no_lock(url):
    CallLog.open(url).close()
    with Started((WRITER, url, "a"), (WRITER, url, "b"), (READER, url)) as programs:
        programs.finish()
    log = CallLog.open(url, readonly=True)
    calls = log.list_calls(100)
    assert len(calls) == 2 * CALLS
    assert {call.end_reason for call in calls} == {EndReason.CALLER_HANGUP}
    for call in calls:
        record = log.get_call(call.id)
        assert [event.seq for event in record.events] == list(range(1, EVENTS + 1))
        assert [turn.number for turn in record.turns] == list(range(1, EVENTS // 2))
    log.close()


def test_several_starts_at_once_on_an_empty_database_migrate_once(url):
    with Started(*[(OPENER, url)] * 4) as programs:
        programs.finish()
    log = CallLog.open(url)
    assert log.list_calls() == []
    log.close()


def test_a_killed_writer_leaves_a_database_that_goes_on(tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    with Started((WRITER, url, "a")) as programs:
        log = CallLog.open(url)
        while len(log.list_calls(100)) < CALLS:
            assert programs.processes[0].poll() is None
        programs.processes[0].kill()
        programs.processes[0].communicate()
    assert len(log.close_orphans(lambda worker: worker == "a")) == CALLS
    log.close()
    reader = CallLog.open(url, readonly=True)
    assert {call.end_reason for call in reader.list_calls()} == {EndReason.WORKER_KILLED}
    reader.close()


def test_a_replay_eats_nothing_that_a_live_process_is_writing(tmp_path):
    seen = []
    spool = Spool(tmp_path)
    with Started((SPOOLER, str(tmp_path))) as programs:
        while programs.processes[0].poll() is None:
            spool.replay(lambda worker, events: seen.extend(event.seq for event in events))
        programs.finish()
    spool.replay(lambda worker, events: seen.extend(event.seq for event in events))
    assert list(dict.fromkeys(seen)) == list(range(1, 201))
    assert list(tmp_path.iterdir()) == []
