"""Webhooks at a running control plane: refused, kept and handled, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3

import pytest
from sqlalchemy import select

from agent.store.call_log import CallLog
from agent.store.room_tables import webhook_events
from agent.store.rooms import Rooms
from agent.store.webhooks import WebhookEvents
from ops.rooms.changes import change
from ops.rooms.ended import judge
from ops.webhooks.reading import read
from tests import webhooks as hooks
from tests.programs import eventually
from tests.room_facts import PREFIX, PSEUDONYMS, facts, told
from tests.serving import Serving

pytest_plugins = ["tests.postgres"]

ONLY = ("--only", "webhooks")
STORM, AT_ONCE = 10_000, 40


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/calls.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
async def serving(tmp_path, url):
    salt = {"VOICE_AGENT__SECURITY__CALLER_SALT": "salt"}
    async with Serving(tmp_path, *ONLY, VOICE_AGENT__STORE__URL=url, **salt) as serving:
        yield serving


@pytest.fixture
def log(url):
    log = CallLog.open(url)
    yield log
    log.close()


async def handled(log, count):
    """Wait until so many events are kept and each is handled, for as long as it goes on."""
    left = None
    while left != 0:
        before = left

        def is_less(before=before):
            waiting = WebhookEvents(log.engine).waiting()
            assert waiting.given_up == 0
            now_left = waiting.count + count - known(log)
            return (now_left,) if before is None or now_left < before else None

        (left,) = await eventually(is_less, f"{count} events are handled; {before} are left")


def known(log):
    return len(WebhookEvents(log.engine).ids())


async def test_what_is_refused_and_what_is_taken(serving, log):
    good = hooks.body(hooks.story(1, 1)[0])
    assert (await serving.hook(good, "x.y.z"))[0] == 401
    assert (await serving.hook(good, hooks.token(b"other")))[0] == 401
    assert (await serving.hook(good, hooks.token(good, secret="x" * 40)))[0] == 401
    assert (await serving.post("/webhooks/livekit", good, {}))[0] == 401
    large = hooks.body(hooks.event("a", 1, x="y" * 1_000_000))
    assert (await serving.hook(large))[0] == 413
    assert (await serving.hook(b"{"))[0] == 400
    assert (await serving.hook(b"\xff"))[0] == 400
    assert await serving.hook(good) == (200, {"id": "EV_000020", "status": "stored"})
    assert await serving.hook(good) == (200, {"id": "EV_000020", "status": "ignored"})
    await handled(log, 1)
    assert Rooms(log.engine).counts() == (1, 0)
    await serving.stop()
    assert hooks.CALLER[1:] not in serving.log.read_text()


async def in_parallel(work):
    """Do it all, AT_ONCE at a time."""
    rest = iter(work)

    async def one_after_another():
        for one in rest:
            await one()

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))


async def test_a_storm_and_two_kills_leave_what_the_ordered_run_leaves(serving, log, tmp_path):
    ordered, deliveries = hooks.storm(STORM, seed=4711)
    assert len(deliveries) == STORM
    count = itertools.count()
    kills = {STORM // 3, 2 * STORM // 3}

    async def deliver(body, token):
        if next(count) in kills:
            await serving.kill()
            await serving.start()
        await serving.deliver(body, token)

    await in_parallel(lambda one=one: deliver(*one) for one in hooks.presigned(deliveries))
    await handled(log, len(ordered))
    other = CallLog.open(f"sqlite:///{tmp_path}/ordered.db")
    try:
        at_once = WebhookEvents(other.engine)
        for start in range(0, len(ordered), 500):
            at_once.add([read(body, PSEUDONYMS) for body in ordered[start : start + 500]])
            changes = [change(told(row), PREFIX) for row in at_once.claim("me", 500, 60)]
            Rooms(other.engine).apply("me", changes, judge)
        assert facts(log) == facts(other)
    finally:
        other.close()


async def test_two_processes_on_one_database_handle_each_event_once(serving, log, url, tmp_path):
    ordered, deliveries = hooks.storm(600, seed=1)
    folder = tmp_path / "second"
    folder.mkdir()
    async with Serving(folder, *ONLY, VOICE_AGENT__STORE__URL=url) as second:
        both = itertools.cycle((serving, second))
        pairs = hooks.presigned(deliveries)
        await in_parallel(
            lambda one=one, to=to: to.deliver(*one) for one, to in zip(pairs, both, strict=False)
        )
        await handled(log, len(ordered))
    assert set(column(log, webhook_events.c.attempts)) == {1}


async def test_sqlite_is_locked_for_a_while(tmp_path):
    path = tmp_path / "calls.db"
    async with Serving(tmp_path, *ONLY) as serving:
        await serving.hook(hooks.body(hooks.event("a", 0)))
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        for number in range(1, 30):
            status, _ = await serving.hook(hooks.body(hooks.event("a", number)))
            assert status == 200
        assert list((tmp_path / "data" / "webhooks").glob("*.jsonl"))
        lock.execute("ROLLBACK")
        lock.close()
        await spool_is_empty(tmp_path)
        log = CallLog.open(f"sqlite:///{path}")
        try:
            await handled(log, 30)
            assert in_order(log) == [f"EV_{number:06}" for number in range(30)]
        finally:
            log.close()


def in_order(log):
    """The ids of events, by when they were received."""
    return WebhookEvents(log.engine).ids()


def column(log, wanted):
    """One column of all events."""
    with log.engine.connect() as connection:
        statement = select(wanted).order_by(webhook_events.c.received_at)
        return list(connection.scalars(statement))


async def spool_is_empty(folder):
    spool = folder / "data" / "webhooks"
    await eventually(lambda: not list(spool.glob("*.jsonl")), "the spool is replayed")


async def test_postgresql_goes_away_and_comes_back(tmp_path, postgres_url, postgres_outage):
    async with Serving(tmp_path, *ONLY, VOICE_AGENT__STORE__URL=postgres_url) as serving:
        story = [hooks.body(one) for number in (1, 2, 3) for one in hooks.story(number, number)]
        for body in story[:5]:
            assert (await serving.hook(body))[0] == 200
        postgres_outage.begin()
        for body in story[5:15]:
            assert (await serving.hook(body))[0] == 200
        await serving.kill()
        await serving.start()  # without a database
        for body in [*story[15:], *story[3:8]]:
            assert (await serving.hook(body))[0] == 200
        postgres_outage.end()
        await spool_is_empty(tmp_path)
        log = CallLog.open(postgres_url)
        try:
            await handled(log, len(story))
            wanted = [read(body, PSEUDONYMS).id for body in story]
            assert in_order(log) == wanted
            assert len([call for call in log.list_calls() if call.ended_at]) == 3
        finally:
            log.close()
        await serving.stop()


async def test_a_disk_that_refuses_is_told_of_and_ends_nothing(tmp_path):
    path, data = tmp_path / "calls.db", tmp_path / "data"
    async with Serving(tmp_path, *ONLY) as serving:
        await serving.hook(hooks.body(hooks.event("a", 0)))
        (data / "webhooks").write_text("in the way of the spool")
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        status, _ = await serving.hook(hooks.body(hooks.event("a", 1)))
        assert status == 503
        lock.execute("ROLLBACK")
        lock.close()
        await serving.deliver(
            hooks.body(hooks.event("a", 1)), hooks.token(hooks.body(hooks.event("a", 1)))
        )
        assert "critical" in {entry["level"] for entry in serving.entries()}
        await serving.stop()
