"""A worker's events on their way to `ops serve`: nothing that `add` took is lost or disordered."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from aiohttp import web

from agent import remote as module
from agent.call import EndReason
from agent.events import CallEnded, CallNote, CallOpened, encode
from agent.ledger import Presence
from agent.remote import RemoteLedger
from agent.spool import Spool
from config.settings import load

A, B = "aa" * 16, "bb" * 16
KEY = "vak_of_a_test"


class Desk:
    """The other side. `answers` are the next ones: a status, or None for a broken connection."""

    def __init__(self):
        self.reports, self.answers, self.refused, self.abandoned = [], [], [], []
        self.changed = asyncio.Condition()
        self.longest = 1 << 20

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/events", self._events)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()

    async def _events(self, request):
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        body = await request.text()
        status = self.answers.pop(0) if self.answers else 200
        if len(body) > self.longest:
            status = 413
        async with self.changed:
            self.reports.append((status, json.loads(body)))
            self.changed.notify_all()
        if status is None:
            request.transport.abort()
        refused = [
            {"index": index, "why": "no"}
            for index, told in enumerate(self.reports[-1][1]["events"])
            if told["event"]["seq"] in self.refused
        ]
        return web.json_response({"refused": refused, "abandoned": self.abandoned}, status=status)

    def taken(self):
        """(worker, call, number) of the events that were acknowledged."""
        return [
            (told["worker_id"], told["event"]["call_id"], told["event"]["seq"])
            for status, report in self.reports
            if status == 200
            for told in report["events"]
        ]

    async def has(self, wanted):
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(wanted)


@pytest.fixture
async def desk():
    async with Desk() as desk:
        yield desk


@pytest.fixture
def rooms():
    return []


@pytest.fixture
async def ledger(tmp_path, desk, monkeypatch, rooms):
    monkeypatch.setattr(module, "PACE", 0.01)
    monkeypatch.setattr(module, "BEAT", 0.2)
    monkeypatch.setattr(module, "delays", lambda _chance: iter([0.01] * 1000))
    ledger = made(tmp_path, desk, rooms)
    yield ledger
    if not ledger._thread._shutdown:
        await ledger.aclose()


def made(folder, desk, rooms):
    async def abandoned(told):
        rooms.extend(told)

    environ = {
        "VOICE_AGENT__WORKER__REPORT_TO": desk.url,
        "VOICE_AGENT__WORKER__REPORT_KEY": KEY,
    }
    return RemoteLedger(load(environ=environ).worker, folder / "data", abandoned)


def note(seq, call_id=A, **detail):
    return CallNote(call_id=call_id, seq=seq, name="x", detail=detail)


def outbox(ledger):
    return Spool(ledger._own)


async def test_events_arrive_in_order_and_leave_nothing_behind(desk, ledger):
    await ledger.open()
    for seq in range(1, 6):
        await ledger.add(note(seq))
    await desk.has(lambda: len(desk.taken()) == 5)
    assert desk.taken() == [(ledger.worker_id, A, seq) for seq in range(1, 6)]
    await ledger.aclose()
    assert outbox(ledger).pending() == 0
    assert not ledger.is_degraded
    assert desk.reports[-1][1]["leaving"]
    assert not any(report["leaving"] for _, report in desk.reports[:-1])


@pytest.mark.parametrize("answer", [503, 429, 401, 404, 302, None])
async def test_what_is_not_acknowledged_waits_and_is_sent_again(desk, ledger, answer):
    await ledger.open()
    await desk.has(lambda: desk.reports)
    desk.answers += [answer] * 3
    await ledger.add(note(1))
    await desk.has(lambda: len(desk.answers) < 3)
    await ledger.add(note(2))
    await desk.has(lambda: len(desk.taken()) == 2)
    assert desk.taken() == [(ledger.worker_id, A, 1), (ledger.worker_id, A, 2)]


async def test_without_an_answer_at_the_start_it_works_all_the_same(desk, ledger):
    desk.answers += [503] * 5
    await ledger.open()
    assert ledger.is_degraded
    await ledger.add(note(1))
    await desk.has(desk.taken)
    assert desk.taken() == [(ledger.worker_id, A, 1)]


async def test_a_heartbeat_comes_when_nothing_happens(desk, ledger):
    await ledger.open()
    await desk.has(lambda: len(desk.reports) >= 4)
    assert all(report["events"] == [] for _, report in desk.reports)
    assert {report["worker"] for _, report in desk.reports} == {ledger.worker_id}


async def test_much_that_waits_is_sent_in_pieces(desk, ledger, monkeypatch):
    monkeypatch.setattr(ledger, "_most", 4096)
    monkeypatch.setattr(module, "MOST", 4096)
    desk.answers += [503]
    await ledger.open()
    for seq in range(1, 40):
        await ledger.add(note(seq, A if seq % 2 else B, text="x" * 500))
    await desk.has(lambda: len(desk.taken()) >= 39)
    for call in (A, B):
        numbers = [seq for _, one, seq in desk.taken() if one == call]
        assert numbers == sorted(set(numbers))
    assert max(len(json.dumps(report)) for _, report in desk.reports) < 9000


async def test_a_report_that_is_too_long_goes_in_halves_and_one_event_aside(desk, ledger):
    desk.answers, desk.longest = [503], 2000
    await ledger.open()
    for seq in range(1, 10):
        await ledger.add(note(seq, text="x" * (3000 if seq == 5 else 100)))
    await desk.has(lambda: len(desk.taken()) == 8)
    assert [seq for *_, seq in desk.taken()] == [1, 2, 3, 4, 6, 7, 8, 9]
    await ledger.aclose()
    assert outbox(ledger).pending() == 0
    assert [file.name[:32] for file in (ledger._own / "bad").iterdir()] == [A]


async def test_what_is_refused_is_kept_aside_and_the_rest_goes_on(desk, ledger):
    desk.refused = [2]
    await ledger.open()
    for seq in range(1, 4):
        await ledger.add(note(seq))
    await ledger.add(note(1, B))
    await desk.has(lambda: len(desk.taken()) == 4)
    await ledger.aclose()
    assert outbox(ledger).pending() == 0
    assert [file.name[:32] for file in (ledger._own / "bad").iterdir()] == [A]


async def test_what_a_killed_worker_left_is_sent_by_the_next_one(tmp_path, desk, rooms, ledger):
    killed = made(tmp_path, desk, rooms)
    killed._reporter._url = "http://127.0.0.1:9/events"  # nobody takes its events
    await killed.open()
    opened = CallOpened(call_id=A, seq=1, room="r", room_sid="", job_id="j", agent_name="a", pid=1)
    await killed.add(opened)
    await asyncio.to_thread(
        Spool(tmp_path / "data" / "spool").append, A, [encode(note(2))], killed.worker_id
    )
    await module.tasks.end(killed._reporting)
    await killed._reporter.aclose()
    with suppress(OSError):
        module.Presence.leave(_dead(killed._presence))

    desk.abandoned = ["the room of a dead worker"]
    await ledger.open()
    await desk.has(lambda: len(desk.taken()) == 2)
    assert sorted(desk.taken()) == [(killed.worker_id, A, 1), (killed.worker_id, A, 2)]
    (gone,) = {tuple(report["gone"]) for status, report in desk.reports if report["gone"]}
    assert gone == (killed.worker_id,)
    assert not killed._own.exists()
    assert rooms[:1] == ["the room of a dead worker"]
    killed._thread.shutdown()


def _dead(presence):
    """What the death of a process does: the lock is let go of, its file stays."""
    presence._path = lambda _name: presence._folder / "no such file"
    return presence


async def test_a_worker_that_ends_unheard_keeps_its_events(tmp_path, desk, ledger, monkeypatch):
    monkeypatch.setattr(module, "FAREWELL", 0.3)
    await ledger.open()
    desk.answers += [503] * 1000
    await ledger.add(CallEnded(call_id=A, seq=1, reason=EndReason.WORKER_SHUTDOWN))
    await ledger.aclose()
    assert desk.taken() == []
    assert outbox(ledger).pending() == 1


async def test_what_a_worker_kept_that_ended_unheard_is_sent_by_the_next_one(
    tmp_path, desk, rooms, ledger, monkeypatch
):
    monkeypatch.setattr(module, "FAREWELL", 0.3)
    before = made(tmp_path, desk, rooms)
    desk.answers += [503] * 1000
    await before.open()
    await before.add(CallEnded(call_id=A, seq=1, reason=EndReason.WORKER_SHUTDOWN))
    await before.aclose()
    desk.answers.clear()
    await ledger.open()
    await desk.has(desk.taken)
    assert desk.taken() == [(before.worker_id, A, 1)]
    (gone,) = {tuple(report["gone"]) for _, report in desk.reports if report["gone"]}
    assert gone == (before.worker_id,)
    assert not before._own.exists()


async def test_the_outbox_of_a_worker_that_lives_is_left_alone(tmp_path, desk, rooms, ledger):
    other = made(tmp_path, desk, rooms)
    other._reporter._url = "http://127.0.0.1:9/events"  # nobody takes its events
    await other.open()
    await other.add(note(1))
    await ledger.open()
    await ledger.add(note(1, B))
    await desk.has(desk.taken)
    assert (desk.taken(), outbox(other).pending()) == ([(ledger.worker_id, B, 1)], 1)
    other._reporter._url = f"{desk.url}/events"
    await other.aclose()


async def test_what_jobs_left_in_the_spool_is_sent_while_others_talk(
    tmp_path, desk, ledger, monkeypatch
):
    """A busy worker is never without news."""
    monkeypatch.setattr(module, "BEAT", 0.5)
    await ledger.open()
    spool = Spool(tmp_path / "data" / "spool")
    await asyncio.to_thread(spool.append, B, [encode(note(1, B))], ledger.worker_id)

    async def talk():
        for seq in range(1, 10_000):
            await ledger.add(note(seq))
            await asyncio.sleep(0.01)

    talking = asyncio.create_task(talk())
    try:
        await desk.has(lambda: (ledger.worker_id, B, 1) in desk.taken())
    finally:
        await module.tasks.end(talking)


async def test_what_jobs_left_in_the_spool_is_sent_before_a_worker_leaves(tmp_path, desk, ledger):
    await ledger.open()
    spool = Spool(tmp_path / "data" / "spool")
    await asyncio.to_thread(spool.append, B, [encode(note(1, B))], ledger.worker_id)
    await ledger.aclose()
    assert desk.taken() == [(ledger.worker_id, B, 1)]
    assert spool.pending() == 0


async def test_whatever_breaks_the_next_report_is_sent(desk, ledger, monkeypatch):
    await ledger.open()
    report = ledger._report

    async def broken(*, ends):
        monkeypatch.setattr(ledger, "_report", report)
        raise RuntimeError("the first one")

    monkeypatch.setattr(ledger, "_report", broken)
    await ledger.add(note(1))
    await desk.has(desk.taken)
    assert desk.taken() == [(ledger.worker_id, A, 1)]


async def test_nothing_is_taken_that_is_no_call(ledger):
    await ledger.open()
    with pytest.raises(ValueError, match="not the id of a call"):
        await ledger.add(note(1, "../etc"))


async def test_presence_knows_who_left_a_lock_behind(tmp_path):
    here, dead, well = (Presence(tmp_path) for _ in range(3))
    for one in (here, dead, well):
        one.announce()
    assert here.gone() == []
    _dead(dead).leave()
    assert here.gone() == [dead.worker_id]
    well.leave()
    here.leave()
