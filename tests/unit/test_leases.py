"""Places over all workers, with a real Redis: exact under a race, free after a death, bounded."""

from __future__ import annotations

import asyncio
import time

import pytest
from livekit.agents import JobRequest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent import leases, shared
from agent.admission import Admission
from agent.errors import SharingLost
from agent.leases import SharedPlaces
from agent.places import Capacity, LocalPlaces, Place
from agent.starts import Starts
from config.persona import load_personas
from config.sections import Admission as Section
from config.settings import ROOT

pytest_plugins = ["tests.redis_server"]
pytestmark = pytest.mark.needs("redis-server")

PERSONAS = load_personas(ROOT / "config" / "personas")


class Worker:
    """One worker's places and admission; its jobs run until they are told to end."""

    def __init__(self, url, name, capacity):
        self.running, self.answers = set(), []
        self.is_draining, self.is_registered = False, True
        self.connections = shared.pool(url)
        self.places = SharedPlaces(
            LocalPlaces(capacity, lambda: self.running),
            self.connections,
            group="voice-ai",
            worker=name,
            is_draining=lambda: self.is_draining,
            is_registered=lambda: self.is_registered,
        )
        starts = Starts(lambda: self.running, self._turn_away)
        self.admission = Admission(
            Section(), PERSONAS, self.places, self._anybody, self._turn_away, starts
        )

    async def offer(self, job):
        """What becomes of the job."""

        async def accept(arguments):
            self.running.add(job)
            self.answers.append((arguments.attributes or {}).get("voice.verdict", "accepted"))

        async def reject(terminate):
            self.answers.append("dropped" if terminate else "passed on")

        offered = Job(id=job, room=Room(sid=f"RM of {job}", name=job))
        await self.admission.decide(JobRequest(job=offered, on_reject=reject, on_accept=accept))
        return self.answers[-1]

    async def _anybody(self, number):
        return True

    async def _turn_away(self, job, reason, detail):
        self.answers.append("deleted")


@pytest.fixture
def patient(monkeypatch):
    """A machine that is slow is no outage."""
    monkeypatch.setattr(shared, "BOUND", 30.0)


@pytest.fixture
async def hire(redis_server):
    """Workers that share the Redis."""
    hired = []

    async def hire(name, calls=10, courtesy=0, overall=0):
        worker = Worker(redis_server.url, name, Capacity(calls, courtesy, overall))
        hired.append(worker)
        await worker.places.renew()
        return worker

    yield hire
    for worker in hired:
        await worker.places.aclose()
        await worker.connections.aclose()


@pytest.mark.usefixtures("patient")
async def test_fifty_requests_at_once_and_ten_places_over_two_workers(hire):
    workers = [await hire(name, calls=50, overall=10) for name in ("a", "b")]
    await asyncio.gather(*(workers[n % 2].offer(f"AJ_{n}") for n in range(50)))
    answers = [answer for worker in workers for answer in worker.answers]
    assert answers.count("accepted") == 10
    assert answers.count("dropped") == 40
    assert sum(len(worker.running) for worker in workers) == 10


@pytest.mark.usefixtures("patient")
async def test_a_full_worker_passes_on_while_another_has_room(hire):
    a, b = await hire("a", calls=1, courtesy=1), await hire("b", calls=1, courtesy=1)
    assert await a.offer("AJ_1") == "accepted"
    assert await a.offer("AJ_2") == "passed on"
    assert await b.offer("AJ_2") == "accepted"
    assert await a.offer("AJ_3") == "busy"
    assert await a.offer("AJ_4") == "passed on"
    assert await b.offer("AJ_4") == "busy"
    assert await b.offer("AJ_5") == "deleted"


@pytest.mark.usefixtures("patient")
async def test_nobody_counts_upon_a_worker_that_passed_the_job_on(hire):
    a, b = await hire("a", calls=1), await hire("b", calls=1)
    await b.offer("AJ_1")
    assert await b.offer("AJ_2") == "passed on"
    b.running.clear()
    await b.places.renew()  # b has room again, but LiveKit will not ask it twice
    await a.offer("AJ_3")
    assert await a.offer("AJ_2") == "deleted"
    assert await a.offer("AJ_4") == "passed on"


@pytest.mark.usefixtures("patient")
async def test_a_draining_worker_has_no_room_for_others(hire):
    a, b = await hire("a", calls=1), await hire("b")
    await a.offer("AJ_1")
    assert await a.offer("AJ_2") == "passed on"
    b.is_draining = True
    await b.places.renew()
    assert await a.offer("AJ_3") == "deleted"


@pytest.mark.usefixtures("patient")
async def test_nobody_counts_upon_a_worker_that_livekit_cannot_ask(hire):
    a, b = await hire("a", calls=1, courtesy=1), await hire("b")
    b.is_registered = False
    await b.places.renew()
    assert await a.places.take("AJ_1") is Place.CALL
    assert await a.places.take("AJ_2") is Place.COURTESY
    assert await b.places.take("AJ_3") is Place.CALL  # whoever asks it, it has room
    assert await a.places.take("AJ_4") is Place.NOWHERE
    b.is_registered = True
    await b.places.renew()
    assert await a.places.take("AJ_5") is Place.ELSEWHERE


@pytest.mark.usefixtures("patient")
async def test_a_worker_that_is_registered_is_counted_upon_before_its_next_renewal(
    hire, monkeypatch
):
    a, b = await hire("a", calls=1, courtesy=1), await hire("b")
    assert await a.places.take("AJ_1") is Place.CALL
    b.is_registered, told = False, asyncio.Queue()
    renew = b.places.renew

    async def renewed():
        await renew()
        told.put_nowait(b.is_registered)

    monkeypatch.setattr(b.places, "renew", renewed)
    monkeypatch.setattr(leases, "RENEWAL", 60.0)
    b.places.start()
    assert await told.get() is False
    b.is_registered = True
    b.places.tell()
    assert await asyncio.wait_for(told.get(), 30) is True
    assert await a.places.take("AJ_2") is Place.ELSEWHERE


@pytest.mark.usefixtures("patient")
async def test_nobody_counts_upon_a_worker_that_misses_its_renewals(hire, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL", 0.1)
    a, _killed = await hire("a", calls=1, courtesy=1), await hire("b")
    assert await a.places.take("AJ_1") is Place.CALL
    await asyncio.sleep(1.1 * leases.FRESH * leases.RENEWAL)  # nothing tells of it
    assert await a.places.take("AJ_2") is Place.COURTESY


@pytest.mark.usefixtures("patient")
async def test_a_worker_that_left_has_no_room_for_others_and_holds_nothing(hire):
    a, b = await hire("a", calls=1, overall=2), await hire("b", overall=2)
    await b.offer("AJ_1")
    await b.places.aclose()
    await a.offer("AJ_2")
    assert await a.offer("AJ_3") == "deleted"
    c = await hire("c", overall=2)
    assert await c.offer("AJ_4") == "accepted"


@pytest.mark.usefixtures("patient")
async def test_a_place_is_free_for_all_after_the_next_renewal(hire):
    a, b = await hire("a", overall=1), await hire("b", overall=1)
    await a.offer("AJ_1")
    assert await b.offer("AJ_2") == "deleted"
    a.running.clear()
    await a.places.renew()
    assert await b.offer("AJ_3") == "accepted"


@pytest.mark.usefixtures("patient")
async def test_the_leases_of_a_killed_worker_expire_and_those_of_a_living_one_do_not(
    hire, monkeypatch
):
    monkeypatch.setattr(leases, "LEASE", 0.4)
    monkeypatch.setattr(leases, "RENEWAL", 0.05)
    killed, living, third = [await hire(name, overall=2) for name in ("a", "b", "c")]
    living.places.start()
    assert await killed.offer("AJ_1") == "accepted"
    assert await living.offer("AJ_2") == "accepted"
    assert await third.offer("AJ_3") == "deleted"
    await asyncio.sleep(0.5)  # nothing tells that a lease has expired
    assert await third.offer("AJ_4") == "accepted"
    assert await third.offer("AJ_5") == "deleted"


async def test_a_redis_that_hangs_costs_one_job_a_quarter_of_a_second_and_others_nothing(
    hire, redis_server, caplog
):
    worker = await hire("a", calls=2, courtesy=1)
    redis_server.hang()
    began = time.monotonic()
    answers = [await worker.offer(f"AJ_{n}") for n in range(4)]
    assert time.monotonic() - began < 2 * shared.BOUND
    assert answers == ["accepted", "accepted", "busy", "deleted"]
    assert caplog.messages.count("Redis is away") == 1
    redis_server.go_on()


@pytest.mark.usefixtures("patient")
async def test_after_an_outage_the_others_are_told_what_is_held_before_anything_else(
    hire, redis_server, caplog
):
    caplog.set_level("INFO")
    a, b = await hire("a", overall=2), await hire("b", overall=2)
    redis_server.kill()
    assert [await a.offer("AJ_1"), await a.offer("AJ_2")] == ["accepted", "accepted"]
    redis_server.start()
    await a.places.renew()
    assert "Redis is back" in caplog.messages
    assert await b.offer("AJ_3") == "deleted"


async def test_a_lease_is_given_back_that_ended_during_an_outage(hire, redis_server):
    a, b = await hire("a", overall=1), await hire("b", overall=1)
    await a.offer("AJ_1")
    redis_server.hang()
    a.running.clear()
    with pytest.raises(SharingLost):
        await a.places.renew()
    redis_server.go_on()
    await a.places.renew()
    assert await b.offer("AJ_2") == "accepted"


@pytest.mark.usefixtures("patient")
async def test_a_call_of_another_agents_name_is_no_matter_of_ours(redis_server, hire):
    ours = await hire("a", overall=1)
    await ours.offer("AJ_1")
    other = SharedPlaces(
        LocalPlaces(Capacity(1, 0, 1), set), ours.connections, group="other", worker="b"
    )
    assert await other.take("AJ_2") is Place.CALL
