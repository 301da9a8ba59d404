"""Workers in the database: who is there, and what an operator wants reaches the worker."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from agent.call import now
from agent.errors import StoreUnavailable
from agent.roster import SEEN, Roster
from agent.store import CallLog
from agent.store.workers import Wanted, WorkerRow, Workers, WorkerState
from config.sections import Worker as Section
from ops.worker import app

pytest_plugins = ["tests.postgres"]

ME, OTHER = "host-1/aaaa", "host-2/bbbb"


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/calls.db"
    else:
        url = request.getfixturevalue("postgres_url")
    log = CallLog.open(url)
    yield log
    log.close()


def row(worker=ME, state=WorkerState.SERVING, ago=0.0, calls=0):
    at = now() - timedelta(seconds=ago)
    return WorkerRow(
        id=worker,
        agent_name="voice-ai",
        state=state.value,
        calls=calls,
        max_calls=10,
        started_at=at,
        seen_at=at,
    )


def test_a_worker_is_there_while_it_tells_of_itself(log):
    workers = Workers(log.engine)
    workers.tell(row(ago=SEEN + 1))
    workers.tell(row(OTHER))
    assert [one.id for one in workers.seen(SEEN)] == [OTHER]
    assert workers.tell(row(calls=3)) == ""
    there = {one.id: one for one in workers.seen(SEEN)}
    assert there[ME].calls == 3
    workers.leave(OTHER)
    assert [one.id for one in workers.seen(SEEN)] == [ME]


def test_what_is_wanted_stays_until_something_else_is(log):
    workers = Workers(log.engine)
    workers.tell(row())
    assert workers.want(ME, Wanted.REST, "operator")
    assert workers.tell(row()) == workers.tell(row()) == "rest"
    assert [(one.wanted, one.wanted_by) for one in workers.seen(SEEN)] == [("rest", "operator")]
    assert workers.want(ME, Wanted.SERVE, "operator")
    assert workers.tell(row()) == ""
    assert not workers.want("nobody", Wanted.REST, "operator")


def test_workers_that_were_silent_for_long_are_forgotten(log):
    workers = Workers(log.engine)
    workers.tell(row(OTHER, ago=90_000))
    workers.tell(row())
    assert [one.id for one in workers.seen(1e6)] == [ME]


class Worker:
    def __init__(self, log):
        self.log, self.left, self.is_registered, self.is_away = log, 0, True, False
        self.roster = Roster(
            Section(),
            ME,
            self._run,
            calls=lambda: 2,
            is_registered=lambda: self.is_registered,
            is_draining=lambda: False,
            leave=self._leave,
        )

    async def _run(self, work):
        if self.is_away:
            raise StoreUnavailable("away")
        return work(self.log)

    def _leave(self):
        self.left += 1

    @property
    def state(self):
        (told,) = Workers(self.log.engine).seen(SEEN)
        return told.state


@pytest.fixture
def worker(tmp_path):
    log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    yield Worker(log)
    log.close()


async def test_a_worker_rests_and_comes_back_as_it_is_told(worker):
    workers, roster = Workers(worker.log.engine), worker.roster
    await roster.tell()
    assert (worker.state, roster.is_resting) == ("serving", False)
    workers.want(ME, Wanted.REST, "operator")
    await roster.tell()
    worker.is_away = True
    with pytest.raises(StoreUnavailable):
        await roster.tell()
    assert roster.is_resting  # what was wanted last
    worker.is_away = False
    await roster.tell()
    assert worker.state == "resting"
    workers.want(ME, Wanted.SERVE, "operator")
    await roster.tell()
    assert not roster.is_resting


async def test_a_worker_that_is_to_leave_is_told_so_once_and_does_not_come_back(worker):
    workers, roster = Workers(worker.log.engine), worker.roster
    await roster.tell()
    for wanted in (Wanted.LEAVE, Wanted.SERVE):
        workers.want(ME, wanted, "operator")
        await roster.tell()
    await roster.tell()
    assert (worker.left, roster.is_resting, worker.state) == (1, True, "leaving")


async def test_a_worker_without_livekit_says_so_and_one_that_ends_is_gone(worker):
    worker.is_registered = False
    await worker.roster.tell()
    assert worker.state == "away"
    await worker.roster.aclose()
    assert Workers(worker.log.engine).seen(SEEN) == []


@pytest.fixture
def database(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/calls.db"
    monkeypatch.setenv("DATABASE_URL", url)
    log = CallLog.open(url)
    yield log
    log.close()


def ops(*arguments):
    return CliRunner().invoke(app, arguments)


def test_the_commands_drain_a_worker_and_the_audit_trail_says_so(database):
    workers = Workers(database.engine)
    assert "No worker" in ops("list").output
    workers.tell(row(calls=1))
    workers.tell(row(OTHER))
    assert "1 of 10" in ops("list").output
    done = ops("drain", "aa", "--json")
    assert json.loads(done.output) == {"worker": ME, "wanted": "rest", "calls": 1}
    assert workers.tell(row()) == "rest"
    assert [one["wanted"] for one in json.loads(ops("list", "--json").output)] == ["rest", ""]
    assert ops("drain", "aaaa", "--back").exit_code == 0
    assert workers.tell(row()) == ""
    told = [(line.what, line.object) for line in database.audit_trail()]
    assert told == [("worker.back", ME), ("worker.drain", f"{ME} rest")]


def test_the_last_worker_is_drained_only_by_somebody_who_means_it(database):
    workers = Workers(database.engine)
    workers.tell(row())
    workers.tell(row(OTHER, WorkerState.RESTING))
    assert "nobody answered" in str(ops("drain", "aaaa").exception)
    assert workers.tell(row()) == ""
    assert ops("drain", "aaaa", "--leave", "--yes").exit_code == 0
    assert workers.tell(row()) == "leave"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("cccc",), "no such worker (there are: aaaa, bbbb)"),
        (("host",), "2 workers begin so"),
        (("",), "which worker"),
        (("aaaa", "--back", "--leave"), "one of them"),
        (("bbbb", "--back"), "cannot be called back"),
    ],
)
def test_what_cannot_be_is_refused(database, arguments, why):
    workers = Workers(database.engine)
    workers.tell(row())
    workers.tell(row(OTHER, WorkerState.LEAVING))
    assert why in str(ops("drain", *arguments).exception)
