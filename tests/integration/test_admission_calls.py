"""More callers than places: bursts, the busy and closed phrases as they are heard, two workers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
import yaml

from agent import providers
from agent.call import EndReason
from agent.events import CallEnded, CallerJoined, CallNote, CallOpened
from agent.phrases import PhraseCache
from agent.rehearsal.troupe import Troupe
from agent.store import CallLog
from config.persona import load_personas
from config.settings import ROOT, load
from plugins.line import Clock, Ended, Hello, Phone, spans
from tests.callers import Ear, asks
from tests.livekit_stand_in import LiveKitStandIn
from tests.programs import PATIENCE, Worker, settings

pytestmark = pytest.mark.clocked

pytest_plugins = ["tests.redis_server"]

BURST = 10
ALL_NIGHT = {"zone": "UTC", "week": {}}
"""Hours of a shop that is never open."""


@pytest.fixture
async def livekit():
    async with LiveKitStandIn() as stand_in:
        stand_in.takes_workers.set()
        yield stand_in


@pytest.fixture
def variables(tmp_path, livekit):
    return {
        **settings(tmp_path),
        **livekit.variables,
        "VOICE_AGENT__WORKER__IDLE_PROCESSES": "1",
    }


async def test_ten_jobs_at_one_instant_on_an_idle_worker_are_all_taken(variables, livekit):
    async with Worker({**variables, "VOICE_AGENT__WORKER__MAX_CALLS": str(BURST)}) as worker:
        await worker.becomes(200)
        offers = await asyncio.gather(*(livekit.offer(f"room-{n}") for n in range(BURST)))
        assert [answer.available for _, answer in offers] == [True] * BURST
        assert not any("voice.verdict" in answer.participant_attributes for _, answer in offers)
        await asyncio.gather(*(livekit.assign(job) for job, _ in offers))
        _, answer = await livekit.offer("one-more")
        assert answer.participant_attributes["voice.verdict"] == "busy"
        livekit.lets_go.set()
        worker.terminate()
        await worker.ended()
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"], readonly=True)
    recorded = {call.job_id for call in log.list_calls()}
    log.close()
    assert recorded == {job.id for job, _ in offers}


@pytest.mark.needs("redis-server")
async def test_two_workers_fill_each_other_up_before_anybody_hears_that_all_is_busy(
    variables, livekit, redis_server, tmp_path
):
    one = {
        "REDIS_URL": redis_server.url,
        "VOICE_AGENT__WORKER__MAX_CALLS": "1",
        "VOICE_AGENT__ADMISSION__COURTESY_SLOTS": "1",
    }
    async with LiveKitStandIn() as elsewhere, AsyncExitStack() as workers:
        elsewhere.takes_workers.set()
        # A stand-in serves one worker: the second has one of its own, as on another node.
        a = await workers.enter_async_context(Worker({**variables, **one}))
        b = await workers.enter_async_context(
            Worker({**variables, **one, **settings(tmp_path / "b"), **elsewhere.variables})
        )
        await asyncio.gather(a.becomes(200), b.becomes(200))
        job, _ = await livekit.offer("room-1")
        await livekit.assign(job)
        passed, answer = await livekit.offer("room-2")
        assert (answer.available, answer.terminate) == (False, False)
        _, answer = await elsewhere.offer("room-2", passed)
        assert answer.available
        assert "voice.verdict" not in answer.participant_attributes
        _, answer = await livekit.offer("room-3")
        assert answer.participant_attributes["voice.verdict"] == "busy"
        assert list(livekit.deleted) == []
        livekit.lets_go.set()
        for worker in (a, b):
            worker.terminate()
            await worker.ended()


def phrase(variables, name):
    """The sound of an English phrase, from the worker's cache."""
    using = load(environ=variables)
    persona = load_personas(ROOT / "config" / "personas")["en"]
    text = getattr(persona.phrases, name)
    return PhraseCache.of(using).find(text, providers.voice_labels(using, persona)["offline"])


class Caller:
    """Rings, listens, and never says a word."""

    def __init__(self, troupe, ear, clock, room, number="+15550100"):
        self.room, self.ear, self._troupe = room, ear, troupe
        self.phone = Phone(clock, asks("silence"), Hello(number=number, called="+15550199"))

    async def call(self):
        """How the call ended, from the first ring to the end."""
        async with self.phone:
            await self._troupe.dial(self.room, self.phone.path)
            return await asyncio.wait_for(asyncio.shield(self.phone.ended), PATIENCE)

    @property
    def heard(self):
        """Seconds of sound from the agent's first to its last."""
        found = spans(self.phone.recording.agent)
        return found[-1][1] - found[0][0] if found else 0.0

    async def story(self):
        """The call's events, once its record is closed."""
        opened = await self.ear.when(lambda e: isinstance(e, CallOpened) and e.room == self.room)
        await self.ear.when(lambda e: isinstance(e, CallEnded) and e.call_id == opened.call_id)
        return self.ear.of(opened.call_id)


def told(events):
    """What admission left in the record: the verdict, the end, the providers that were built."""
    (note,) = [e.detail["verdict"] for e in events if isinstance(e, CallNote)]
    (end,) = [e.reason for e in events if isinstance(e, CallEnded)]
    made = [e.providers for e in events if isinstance(e, CallerJoined)]
    return note, end, made


@pytest.fixture
async def clock():
    async with Clock() as clock:
        yield clock


def house(tmp_path, **changes):
    return {
        **settings(tmp_path),
        "VOICE_AGENT__WORKER__IDLE_PROCESSES": "2",
        **{f"VOICE_AGENT__{name.upper()}": value for name, value in changes.items()},
    }


async def test_the_second_caller_hears_that_all_is_busy_and_the_third_does_not_ring_for_long(
    tmp_path, clock
):
    ear = Ear()
    variables = house(tmp_path, worker__max_calls="1", admission__courtesy_slots="1")
    async with Troupe(variables, tmp_path / "log", ear.hear) as troupe:
        callers = [Caller(troupe, ear, clock, f"room-{n}") for n in range(3)]
        first, second, third = callers
        calls = [asyncio.create_task(first.call())]
        await ear.when(lambda e: isinstance(e, CallerJoined))
        calls += [asyncio.create_task(caller.call()) for caller in (second, third)]
        away = await third.story()
        assert await calls[1] is Ended.AGENT_HANGUP
        assert not calls[0].done()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        busy = await second.story()
    assert told(busy) == ("busy", EndReason.REJECTED_BUSY, [{}])
    assert told(away) == ("busy", EndReason.REJECTED_BUSY, [])
    said = phrase(variables, "busy")
    assert second.heard == pytest.approx(said.duration, abs=0.6)
    assert third.heard == 0


async def test_outside_business_hours_the_caller_hears_so(tmp_path, clock):
    personas = tmp_path / "personas"
    personas.mkdir()
    body = yaml.safe_load((ROOT / "config" / "personas" / "en.yaml").read_text("utf-8"))
    (personas / "en.yaml").write_text(yaml.safe_dump({**body, "hours": ALL_NIGHT}))
    ear = Ear()
    variables = house(tmp_path, personas__folder=str(personas))
    async with Troupe(variables, tmp_path / "log", ear.hear) as troupe:
        caller = Caller(troupe, ear, clock, "room-1")
        assert await caller.call() is Ended.AGENT_HANGUP
        assert told(await caller.story()) == ("closed", EndReason.REJECTED_CLOSED, [{}])
    assert caller.heard == pytest.approx(phrase(variables, "closed").duration, abs=0.6)


async def test_nobody_picks_up_for_a_blocked_number_or_one_that_calls_too_often(tmp_path, clock):
    ear = Ear()
    variables = house(tmp_path, admission__blocked="+7900*", admission__calls_an_hour="1")
    async with Troupe(variables, tmp_path / "log", ear.hear) as troupe:
        blocked = Caller(troupe, ear, clock, "room-1", "7 900 123-45-67")
        assert await blocked.call() is Ended.AGENT_HANGUP
        story = told(await blocked.story())
        assert story == ("blocked", EndReason.REJECTED_BLOCKED, [{}])

        once = Caller(troupe, ear, clock, "room-2")
        call = asyncio.create_task(once.call())
        await ear.when(lambda e: isinstance(e, CallerJoined) and e.providers)
        again = Caller(troupe, ear, clock, "room-3")
        assert await again.call() is Ended.AGENT_HANGUP
        assert told(await again.story()) == ("too_often", EndReason.REJECTED_TOO_OFTEN, [{}])
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert blocked.heard == again.heard == 0
    log = (tmp_path / "log").read_text()
    assert "9001234567" not in log.replace("-", "").replace(" ", "")
    assert "15550100" not in log
