"""Webhooks are kept before they are acknowledged: in the database, else on the disk, in order."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from agent.errors import EventRefused, StoreUnavailable
from agent.pseudonym import Pseudonyms
from agent.store.webhooks import WebhookEvents
from ops.front.database import Database
from ops.webhooks import intake as intakes
from ops.webhooks.intake import Intake, NotKept
from ops.webhooks.reading import read
from ops.webhooks.spool import WebhookSpool
from tests import webhooks as hooks

LIMIT = 10_000_000


def row(number):
    return read(hooks.body(hooks.event("a", number)), Pseudonyms(b"salt"))


ROWS = [row(number) for number in range(1, 8)]


class Moody(Database):
    """A database that can be away, slow, or refuse an event."""

    def __init__(self, url):
        super().__init__(url)
        self.is_away = False
        self.refuses = ""
        self.slow = threading.Event()
        self.slow.set()
        self.transactions = []

    async def run(self, work):
        def moody(log):
            self.slow.wait()
            if self.is_away:
                raise StoreUnavailable
            self.transactions.append(work)
            return work(log)

        return await super().run(moody)


@pytest.fixture
def spool(tmp_path):
    return WebhookSpool(tmp_path / "spool", LIMIT)


@pytest.fixture
async def database(tmp_path):
    database = Moody(f"sqlite:///{tmp_path}/calls.db")
    yield database
    database.slow.set()
    await database.aclose()


@pytest.fixture
async def intake(database, spool, monkeypatch):
    monkeypatch.setattr(intakes, "RETRY", 0.05)
    monkeypatch.setattr(intakes, "PATIENCE", 1.0)
    news = []
    intake = Intake(database, spool, lambda: news.append(1))
    intake.start()
    yield intake
    database.slow.set()
    await intake.aclose()


async def kept(database):
    """What the database has, in the order in which it came."""
    found = await Database.run(database, lambda db: WebhookEvents(db.engine).claim("t", 99, 0))
    return [one.id for one in sorted(found, key=lambda one: one.received_at)]


async def back(intake):
    async with asyncio.timeout(10):
        while intake.is_spooling:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_what_is_sent_together_is_one_transaction(intake, database):
    await back(intake)
    before = len(database.transactions)
    told = await asyncio.gather(*(intake.keep(one) for one in [*ROWS, *ROWS]))
    assert told == [True] * 7 + [False] * 7
    assert len(database.transactions) - before <= 2
    assert await kept(database) == [one.id for one in ROWS]


async def test_while_the_database_is_away_the_disk_keeps_events_in_order(intake, database, spool):
    await back(intake)
    assert await intake.keep(ROWS[0])
    database.is_away = True
    for one in ROWS[1:5]:
        assert await intake.keep(one)
    assert intake.is_spooling
    assert spool.size() > 0
    database.is_away = False
    await intake.keep(ROWS[5])
    await back(intake)
    assert spool.size() == 0
    await intake.keep(ROWS[6])
    assert await kept(database) == [one.id for one in ROWS]


async def test_a_database_that_hangs_is_not_waited_for(intake, database, spool):
    await back(intake)
    database.slow.clear()
    async with asyncio.timeout(5):
        assert await intake.keep(ROWS[0])
        assert await intake.keep(ROWS[1])
    assert spool.size() > 0
    database.slow.set()
    await back(intake)
    assert await kept(database) == [one.id for one in ROWS[:2]]


async def test_what_another_process_left_is_found_at_the_start(database, spool):
    spool.append(ROWS)
    intake = Intake(database, spool, lambda: None)
    intake.start()
    await back(intake)
    await intake.aclose()
    assert await kept(database) == [one.id for one in ROWS]


async def test_if_both_fail_the_sender_is_told(database, tmp_path, monkeypatch):
    monkeypatch.setattr(intakes, "RETRY", 0.05)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    intake = Intake(database, WebhookSpool(blocked / "spool", LIMIT), lambda: None)
    database.is_away = True
    intake.start()
    for one in ROWS[:2]:
        with pytest.raises(NotKept):
            await intake.keep(one)
    database.is_away = False
    await back(intake)
    assert await intake.keep(ROWS[0])
    await intake.aclose()
    assert await kept(database) == [ROWS[0].id]


async def test_what_the_database_never_takes_is_put_aside_alone(intake, database, spool):
    await back(intake)
    bad = replace(row(9), room=None)
    told = await asyncio.gather(*(intake.keep(one) for one in [ROWS[0], bad, ROWS[1]]))
    assert told == [True, True, True]
    assert await kept(database) == [ROWS[0].id, ROWS[1].id]
    assert spool.size() == 0


def test_a_spool_is_bounded_and_refuses_whole_batches(tmp_path):
    spool = WebhookSpool(tmp_path, 2000)
    spool.append(ROWS[:2])
    with pytest.raises(OSError, match="full"):
        spool.append(ROWS * 5)
    got = []
    assert spool.replay(got.extend) is False
    assert got == ROWS[:2]


def test_a_torn_line_is_passed_over_and_a_damaged_one_put_aside(tmp_path):
    spool = WebhookSpool(tmp_path, LIMIT)
    spool.append(ROWS[:2])
    (file,) = tmp_path.glob("*.jsonl")
    file.write_bytes(b"damaged\n" + file.read_bytes() + b'{"id": "torn')
    spool.append(ROWS[2:3])
    got = []
    spool.replay(got.extend)
    assert got == ROWS[:3]
    assert list(tmp_path.glob("*.jsonl")) == []
    dead = b"".join(one.read_bytes() for one in (tmp_path / "dead").iterdir())
    assert dead.splitlines() == [b"damaged", b'{"id": "torn']


def test_a_spool_that_the_database_leaves_in_the_middle_is_replayed_whole(tmp_path):
    spool = WebhookSpool(tmp_path, LIMIT)
    spool.append(ROWS)

    def leaves(_rows):
        raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        spool.replay(leaves)
    got = []
    spool.replay(got.extend)
    assert got == ROWS


def test_an_event_that_spoils_a_batch_of_the_spool_is_put_aside(tmp_path):
    spool = WebhookSpool(tmp_path, LIMIT)
    spool.append(ROWS)
    got = []

    def picky(rows):
        if ROWS[3] in rows:
            raise EventRefused
        got.extend(rows)

    spool.replay(picky)
    assert got == [*ROWS[:3], *ROWS[4:]]
    assert len(list((tmp_path / "dead").iterdir())) == 1


def test_large_spools_are_several_files_replayed_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("ops.webhooks.spool.SEGMENT", 300)
    spool = WebhookSpool(tmp_path, LIMIT)
    for one in ROWS:
        spool.append([one])
    assert len(list(tmp_path.glob("*.jsonl"))) > 2
    got = []
    while spool.replay(got.extend):
        pass
    assert got == ROWS


async def test_a_spool_that_breaks_keeps_no_sender_waiting(intake, database, spool, monkeypatch):
    await back(intake)
    looked = asyncio.Event()

    def broken():
        loop.call_soon_threadsafe(looked.set)
        raise OSError("input/output error")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(intakes, "LOOK", 0.01)
    monkeypatch.setattr(spool, "size", broken)
    async with asyncio.timeout(5):
        await intake.keep(ROWS[0])
        await looked.wait()
        await intake.keep(ROWS[1])
    monkeypatch.undo()
    await back(intake)
    assert {one.id for one in ROWS[:2]} == set(await kept(database))


def test_a_damaged_line_is_put_aside_once_however_long_the_database_is_away(tmp_path):
    spool = WebhookSpool(tmp_path, LIMIT)
    spool.append(ROWS[:1])
    (file,) = tmp_path.glob("*.jsonl")
    file.write_bytes(b"no json\n" + file.read_bytes())

    def away(_rows):
        raise StoreUnavailable

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            spool.replay(away)
    spool.replay(lambda rows: None)
    assert len(list((tmp_path / "dead").glob("*.jsonl"))) == 1


async def test_a_spool_that_cannot_be_replayed_keeps_no_event_from_a_good_database(
    database, tmp_path
):
    spool = WebhookSpool(tmp_path / "spool", LIMIT)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "1.jsonl").mkdir()  # neither read nor written, whoever tries
    intake = Intake(database, spool, lambda: None)
    intake.start()
    async with asyncio.timeout(5):
        assert await intake.keep(ROWS[0])
    await intake.aclose()
    assert await kept(database) == [ROWS[0].id]
