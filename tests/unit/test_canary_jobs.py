"""Jobs of canary calls: signed, for one worker, beside the calls; at rest, that alone."""

from __future__ import annotations

import json

import pytest
from livekit.agents import JobRequest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent import canary
from agent.admission import Admission
from agent.call import Verdict
from agent.canary import Sorting
from agent.places import Capacity, LocalPlaces
from agent.starts import Starts
from config import settings as configuration
from config.hours import Hours
from config.livekit_auth import load_ring
from config.persona import load_personas
from config.sections import Admission as Section
from config.settings import ROOT
from tests import canaries

ME, OTHER, ROOM = "host-1/aaaa", "host-2/bbbb", "voice-ai-canary-1"
NEVER = Hours.model_validate({"zone": "UTC", "week": {}})


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", canaries.secret())
    return configuration.load()


class Worker:
    """One worker, full with one call, closed at this hour, and nobody may call again."""

    def __init__(self, settings):
        self.running, self.answers, self.is_resting = set(), [], False
        self.places = LocalPlaces(Capacity(1, 0), lambda: self.running)
        personas = {
            name: persona.model_copy(update={"hours": NEVER})
            for name, persona in load_personas(ROOT / "config" / "personas").items()
        }
        self.admission = Admission(
            Section(observe_hours=False),
            personas,
            self.places,
            self._never,
            self._never,
            Starts(lambda: self.running, self._never),
            sort=Sorting(settings, ME, lambda: self.is_resting),
        )

    async def offer(self, metadata, job="AJ_1", room=ROOM):
        async def accept(_arguments):
            self.answers.append("accepted")
            self.running.add(job)

        async def reject(terminate):
            self.answers.append("dropped" if terminate else "passed on")

        offered = Job(id=job, room=Room(sid="RM_1", name=room), metadata=metadata)
        await self.admission.decide(JobRequest(job=offered, on_reject=reject, on_accept=accept))
        return self.answers[-1]

    async def _never(self, *_):
        return False


@pytest.fixture
def worker(settings):
    return Worker(settings)


@pytest.fixture
def order(settings):
    return lambda worker="", room=ROOM: canary.metadata(load_ring(settings), room, worker)


async def test_a_canary_for_this_worker_is_taken_beside_its_calls(worker, order):
    assert await worker.offer("", "AJ_0") == "accepted"
    assert await worker.offer(order(ME), "AJ_1") == "accepted"
    assert worker.places.calls == {"AJ_0"}
    verdict = await worker.admission.judge("AJ_1", "en", "+15550100", is_telephone=True)
    assert verdict is Verdict.ADMITTED  # though this number may not call again
    worker.running.clear()
    assert await worker.offer("", "AJ_2") == "accepted"


async def test_a_canary_for_another_worker_is_passed_on_and_one_for_any_is_taken(worker, order):
    assert await worker.offer(order(OTHER)) == "passed on"
    assert await worker.offer(order()) == "accepted"


async def test_a_worker_that_rests_takes_only_the_canary_that_names_it(worker, order):
    worker.is_resting = True
    assert [await worker.offer(told) for told in ("", order(), order(OTHER))] == ["passed on"] * 3
    assert await worker.offer(order(ME)) == "accepted"


def forged(order):
    return {
        "another room": order(ME, "another-room"),
        "another worker": json.dumps({**json.loads(order(OTHER)), "worker": ME}),
        "no signature": json.dumps({"kind": "canary", "worker": ME}),
        "another kind": json.dumps({"kind": "canary-bird", "worker": ME}),
        "no object": '["canary"]',
        "no JSON": "canary",
    }


@pytest.mark.parametrize("what", [*forged(lambda *_: "{}")])
async def test_what_nobody_with_our_secret_ordered_is_a_callers_job(worker, order, settings, what):
    told = forged(order)[what]
    assert canary.target(told, ROOM, settings) is None
    await worker.offer("", "AJ_0")
    assert await worker.offer(told, "AJ_1") == "dropped"  # full, as for any caller


def test_the_metadata_say_what_kind_of_call_it_is_and_who_is_to_answer(order, settings):
    told = json.loads(order(ME))
    assert (told["kind"], told["worker"]) == ("canary", ME)
    assert canary.target(order(ME), ROOM, settings) == ME
    assert canary.target(order(), ROOM, settings) == ""


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ("", "caller"),
        ('{"persona": "en"}', "caller"),
        ("no JSON", "caller"),
        ("[1]", "caller"),
        ('{"kind": "courtesy"}', "caller"),
        ('{"dial": "nobody"}', "caller"),
        ('{"direction": "outbound", "dial": {"to": "+15550100"}}', "outbound"),
    ],
)
def test_whose_call_it_is_stands_in_the_metadata(settings, metadata, kind):
    assert canary.kind_of(metadata, ROOM, settings) == kind


@pytest.mark.parametrize("what", [*forged(lambda *_: "{}")])
def test_only_what_we_have_signed_is_left_out_of_business_figures(order, settings, what):
    assert canary.kind_of(order(ME), ROOM, settings) == "canary"
    assert canary.kind_of(forged(order)[what], ROOM, settings) == "caller"
