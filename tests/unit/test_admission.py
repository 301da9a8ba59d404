"""Who is let in: load and hours in the request, the number once the caller is there."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from livekit.agents import AssignmentTimeoutError, JobRequest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent.admission import Admission
from agent.call import EndReason, Verdict
from agent.pause import FILE, Pause
from agent.places import Capacity, LocalPlaces
from agent.starts import Starts
from config.hours import Hours
from config.persona import load_personas
from config.sections import Admission as Section
from config.settings import ROOT

PERSONAS = load_personas(ROOT / "config" / "personas")
MONDAY_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TUESDAY_NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MONDAYS = Hours.model_validate({"zone": "UTC", "week": {"monday": "09:00-18:00"}})


def open_on_mondays(*names):
    return {
        name: persona.model_copy(update={"hours": MONDAYS}) if name in names else persona
        for name, persona in PERSONAS.items()
    }


class House:
    """One worker's admission, and LiveKit's side of its requests."""

    def __init__(self, calls=2, courtesy=1, personas=PERSONAS, at=MONDAY_NOON, **settings):
        self.running = set()
        self.answers, self.deleted, self.counted = [], [], []
        self.accepting, self.assigned = asyncio.Event(), asyncio.Event()
        self.assigned.set()
        self.calls_left = True
        self.refuses = None
        section = Section(**settings)
        capacity = Capacity(calls, courtesy, section.max_calls_overall)
        self.places = LocalPlaces(capacity, lambda: self.running)
        self.starts = Starts(lambda: self.running, self._delete)
        self.admission = Admission(
            section, personas, self.places, self._count, self._delete, self.starts, lambda: at
        )

    def request(self, job="AJ_1", metadata="", room=None):
        async def accept(arguments):
            if self.refuses:
                raise self.refuses
            verdict = (arguments.attributes or {}).get("voice.verdict", "accepted")
            self.answers.append(verdict)
            self.accepting.set()
            await self.assigned.wait()
            self.running.add(job)

        async def reject(terminate):
            self.answers.append("dropped" if terminate else "passed on")

        room = Room(sid=f"RM of {room or job}", name=f"room of {room or job}")
        offered = Job(id=job, room=room, metadata=metadata)
        return JobRequest(job=offered, on_reject=reject, on_accept=accept)

    async def decide(self, job="AJ_1", metadata="", room=None):
        await self.admission.decide(self.request(job, metadata, room))
        return self.answers[-1]

    async def judge(self, number, job="AJ_1", persona="en", *, is_telephone=True):
        return await self.admission.judge(job, persona, number, is_telephone=is_telephone)

    async def _count(self, number):
        self.counted.append(number)
        return self.calls_left

    async def _delete(self, job, reason, _detail):
        self.deleted.append((job.room.name, reason))


async def test_a_worker_with_room_accepts():
    house = House()
    assert await house.decide() == "accepted"
    assert await house.judge("+15550100") is Verdict.ADMITTED


async def test_a_full_worker_that_is_alone_says_that_it_is_busy_and_the_next_room_is_deleted(
    caplog,
):
    house = House(calls=1, courtesy=1)
    jobs = "AJ_1", "AJ_2", "AJ_3"
    assert [await house.decide(job) for job in jobs] == ["accepted", "busy", "dropped"]
    assert house.deleted == [("room of AJ_3", EndReason.REJECTED_BUSY)]
    assert await house.judge("+15550100", "AJ_2") is Verdict.BUSY
    assert await house.judge("+15550100", "AJ_1") is Verdict.ADMITTED
    assert "a call was turned away" in caplog.messages


async def test_a_place_is_free_again_when_its_job_has_ended():
    house = House(calls=1, courtesy=1)
    assert [await house.decide(job) for job in ("AJ_1", "AJ_2")] == ["accepted", "busy"]
    house.running.discard("AJ_2")
    assert await house.decide("AJ_3") == "busy"
    house.running.clear()
    assert await house.decide("AJ_4") == "accepted"


async def test_calls_that_are_being_accepted_count():
    house = House(calls=2, courtesy=0)
    house.assigned.clear()
    burst = [asyncio.create_task(house.decide(f"AJ_{n}")) for n in range(3)]
    await asyncio.wait(burst, return_when=asyncio.FIRST_COMPLETED)
    assert sorted(house.answers) == ["accepted", "accepted", "dropped"]
    house.assigned.set()
    await asyncio.gather(*burst)


async def test_jobs_that_nobody_asked_for_count():
    house = House(calls=1, courtesy=0)
    house.running.add("AJ_of_connect")
    assert await house.decide() == "dropped"


async def test_an_acceptance_that_livekit_does_not_follow_gives_its_place_back():
    house = House(calls=1, courtesy=0)
    house.refuses = AssignmentTimeoutError()
    with pytest.raises(AssignmentTimeoutError):
        await house.decide("AJ_1")
    house.refuses = None
    assert await house.decide("AJ_2") == "accepted"
    assert house.deleted == []  # another worker may have it


async def test_a_call_whose_job_cannot_be_started_is_turned_away(caplog):
    house = House(calls=1, courtesy=0)
    house.refuses = RuntimeError("no process became available")
    await house.admission.decide(house.request("AJ_1"))
    assert house.deleted == [("room of AJ_1", EndReason.AGENT_ERROR)]
    assert "a job that was accepted could not be started" in caplog.messages
    house.refuses = None
    assert await house.decide("AJ_2") == "accepted"


async def test_a_call_whose_job_is_gone_before_its_record_was_open_is_turned_away():
    house = House()
    assert [await house.decide(f"AJ_{n}") for n in (1, 2)] == ["accepted", "accepted"]
    house.starts.opened("AJ_1")
    await house.starts.look()
    house.running.clear()
    await house.starts.look()
    assert house.deleted == []  # its first event may still be on its way
    await house.starts.look()
    assert house.deleted == [("room of AJ_2", EndReason.PROCESS_KILLED)]
    await house.starts.look()
    await house.starts.aclose()
    assert len(house.deleted) == 1


async def test_a_record_may_be_open_before_its_job_is_known_to_be_launched():
    house = House()
    house.assigned.clear()
    accepting = asyncio.create_task(house.decide("AJ_1"))
    await house.accepting.wait()
    house.starts.opened("AJ_1")
    house.assigned.set()
    await accepting
    house.running.clear()
    await house.starts.aclose()
    assert house.deleted == []


async def test_a_worker_that_ends_turns_away_who_waits_for_a_job_that_never_began():
    house = House()
    house.starts.start()
    await house.decide("AJ_1")
    house.running.clear()
    await house.starts.aclose()
    assert house.deleted == [("room of AJ_1", EndReason.PROCESS_KILLED)]


async def test_two_jobs_of_one_room_are_told_apart():
    house = House(calls=1, courtesy=1, blocked=["+7900*"])
    answers = [await house.decide(job, room="one") for job in ("AJ_1", "AJ_2", "AJ_3")]
    assert answers == ["accepted", "busy", "dropped"]
    assert await house.judge("+79001234567", "AJ_1") is Verdict.BLOCKED
    assert await house.judge("+15550100", "AJ_2") is Verdict.BUSY


async def test_the_maximum_over_all_workers_holds_for_one_that_is_alone():
    house = House(calls=5, courtesy=0, max_calls_overall=1)
    assert [await house.decide(job) for job in ("AJ_1", "AJ_2")] == ["accepted", "dropped"]


async def test_when_all_are_closed_the_request_goes_to_a_courtesy_slot():
    house = House(personas=open_on_mondays("en", "ru"), at=TUESDAY_NOON)
    assert await house.decide("AJ_1") == "closed"
    assert await house.decide("AJ_2") == "dropped"
    assert house.deleted == [("room of AJ_2", EndReason.REJECTED_CLOSED)]
    assert await house.judge("+15550100", "AJ_1") is Verdict.CLOSED


async def test_the_persona_of_the_metadata_decides_alone():
    house = House(personas=open_on_mondays("ru"), at=TUESDAY_NOON)
    assert await house.decide("AJ_1", json.dumps({"persona": "ru"})) == "closed"
    assert await house.decide("AJ_2", json.dumps({"persona": "en"})) == "accepted"


async def test_who_answers_may_be_known_only_when_the_caller_is_there():
    house = House(personas=open_on_mondays("ru"), at=TUESDAY_NOON)
    assert await house.decide("AJ_1") == "accepted"
    assert await house.judge("+15550100", persona="ru") is Verdict.CLOSED
    assert await house.judge("+15550100", persona="en") is Verdict.ADMITTED


async def test_hours_that_are_not_observed_close_nothing():
    house = House(personas=open_on_mondays("en", "ru"), at=TUESDAY_NOON, observe_hours=False)
    assert await house.decide() == "accepted"
    assert await house.judge("+15550100") is Verdict.ADMITTED


@pytest.mark.parametrize("metadata", ["no JSON", "[1]", '{"persona": 7}', '{"persona": "nobody"}'])
async def test_metadata_that_cannot_be_used_is_no_reason_to_refuse(metadata, caplog):
    assert await House().decide("AJ_1", metadata) == "accepted"
    assert caplog.messages


@pytest.mark.parametrize(
    ("settings", "number", "verdict"),
    [
        ({"blocked": ["+7900*"]}, "+79001234567", Verdict.BLOCKED),
        ({"blocked": ["+7900*"]}, "7 900 123-45-67", Verdict.BLOCKED),
        ({"blocked": ["+7900*"]}, "+79011234567", Verdict.ADMITTED),
        ({"blocked": ["withheld"]}, "", Verdict.BLOCKED),
        ({"blocked": ["withheld"]}, "anonymous", Verdict.BLOCKED),
        ({"blocked": ["+*"]}, "", Verdict.ADMITTED),
        ({"blocked": ["+7900*"]}, "+7900x", Verdict.BLOCKED),
        ({"blocked": ["+7900*"]}, "+7900x1234567", Verdict.BLOCKED),
        ({"blocked": ["+7900*"]}, "+7901x", Verdict.ADMITTED),
        ({"blocked": ["withheld"]}, "+7900x", Verdict.BLOCKED),
        ({"allowed": ["+7900*"]}, "+7900x", Verdict.BLOCKED),
        ({"allowed": ["+1555*"]}, "+15550100", Verdict.ADMITTED),
        ({"allowed": ["+1555*"]}, "+79001234567", Verdict.BLOCKED),
        ({"allowed": ["+1555*"]}, "", Verdict.BLOCKED),
        ({"allowed": ["+1555*"], "blocked": ["+15550100"]}, "+15550100", Verdict.BLOCKED),
    ],
)
async def test_lists_of_callers(settings, number, verdict):
    assert await House(**settings).judge(number) is verdict


async def test_the_hourly_count_is_of_numbers_in_one_notation():
    notation = {"country_code": "7", "trunk_prefix": "8", "digits": 10}
    house = House(notation=notation)
    for number in ("89001234567", "+7 900 123 45 67", "9001234567"):
        assert await house.judge(number) is Verdict.ADMITTED
    assert set(house.counted) == {"+79001234567"}
    house.calls_left = False
    assert await house.judge("+79001234567") is Verdict.TOO_OFTEN
    assert await house.judge("") is Verdict.ADMITTED  # nobody knows how often they called


async def test_letters_do_not_escape_the_hourly_count():
    house = House()
    await house.judge("+7900123x4567")
    assert house.counted == ["+79001234567"]


async def test_a_blocked_call_does_not_count():
    house = House(blocked=["+7*"])
    await house.judge("+79001234567")
    assert house.counted == []


async def test_a_caller_from_a_browser_has_a_token_and_no_number():
    house = House(allowed=["+1555*"])
    house.calls_left = False
    assert await house.judge("", is_telephone=False) is Verdict.ADMITTED


async def test_numbers_are_in_no_log(caplog):
    caplog.set_level("DEBUG")
    house = House(blocked=["+7900*"], calls=1, courtesy=0)
    await house.judge("+79001234567")
    await house.decide("AJ_1")
    await house.decide("AJ_2")
    assert "9001234567" not in caplog.text


async def test_while_an_operator_has_stopped_admission_callers_hear_that_all_is_busy(tmp_path):
    pause = Pause(tmp_path / "data")
    house = House()
    house.admission = Admission(
        Section(),
        PERSONAS,
        house.places,
        house._count,
        house._delete,
        house.starts,
        lambda: MONDAY_NOON,
        is_paused=lambda: pause.is_on,
    )
    pause.begin(60)
    await house.admission.decide(house.request("AJ_1"))
    pause.end()
    await house.admission.decide(house.request("AJ_2"))
    assert house.answers == ["busy", "accepted"]


def test_a_pause_ends_by_itself_and_by_what_nobody_can_read(tmp_path):
    pause = Pause(tmp_path)
    assert not pause.is_on
    pause.begin(60)
    assert Pause(tmp_path).is_on
    pause.begin(-1)
    assert not pause.is_on
    (tmp_path / FILE).write_text("soon")
    assert not pause.is_on
    pause.end()
    pause.end()
    assert list(tmp_path.iterdir()) == []
