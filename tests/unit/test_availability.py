"""What a call learns of its providers, and what it notes."""

from __future__ import annotations

import pytest
from livekit.agents import APIConnectionError, APIStatusError

from agent.availability import ALL_KINDS, Availability, State


@pytest.fixture
def notes():
    return []


@pytest.fixture
def availability(notes):
    return Availability(lambda name, **detail: notes.append((name, detail)))


def test_all_is_up_until_something_fails(availability, notes):
    assert availability.is_up("stt", "deepgram")
    availability.failed("stt", "deepgram", APIConnectionError("gone"))
    assert not availability.is_up("stt", "deepgram")
    assert availability.is_up("tts", "deepgram")
    availability.failed("stt", "deepgram", APIConnectionError("still gone"))
    detail = {"of": "stt", "provider": "deepgram", "error": "APIConnectionError", "state": "down"}
    assert notes == [("provider_failed", detail)]


def test_a_real_answer_is_a_recovery(availability, notes):
    availability.answered("llm", "openai")
    availability.failed("llm", "openai", TimeoutError())
    availability.answered("llm", "openai")
    assert availability.is_up("llm", "openai")
    assert [name for name, _ in notes] == ["provider_failed", "provider_recovered"]
    assert notes[-1][1] == {"of": "llm", "provider": "openai", "by": "call"}


@pytest.mark.parametrize(("status", "others"), [(401, False), (403, True)])
def test_a_refused_key_stays_refused(availability, notes, status, others):
    # A key is the provider's; what is forbidden may be one model alone.
    availability.failed("llm", "openai", APIStatusError("no", status_code=status))
    availability.answered("llm", "openai")
    availability.failed("llm", "openai", TimeoutError())
    assert availability.state("llm", "openai") is State.REFUSED
    assert availability.is_up("tts", "openai") is others
    assert [detail["state"] for _, detail in notes] == ["refused"]


def test_a_refusal_is_found_among_the_causes(availability):
    error = APIConnectionError("after 4 attempts")
    error.__cause__ = APIStatusError("no", status_code=401)
    availability.failed("tts", "cartesia", error)
    assert availability.state("tts", "cartesia") is State.REFUSED


def test_a_provider_that_is_down_may_turn_out_to_refuse(availability, notes):
    availability.failed("stt", "deepgram", TimeoutError())
    availability.failed("stt", "deepgram", APIStatusError("no", status_code=401))
    assert [detail["state"] for _, detail in notes] == ["down", "refused"]


def test_the_worker_tells_what_other_calls_met(availability, notes):
    availability.learn("stt", "deepgram", State.DOWN)
    availability.learn(ALL_KINDS, "openai", State.REFUSED)
    assert not availability.is_up("stt", "deepgram")
    assert not availability.is_up("tts", "openai")
    availability.learn("stt", "deepgram", State.UP)
    assert availability.is_up("stt", "deepgram")
    assert notes == []  # not this call's to tell


def test_a_call_notes_the_end_of_what_it_met(availability, notes):
    availability.failed("stt", "deepgram", TimeoutError())
    availability.learn("stt", "deepgram", State.UP)
    assert notes[-1] == (
        "provider_recovered", {"of": "stt", "provider": "deepgram", "by": "probe"}
    )  # fmt: skip


def test_causes_in_a_circle_are_no_trap(availability):
    one, two = APIConnectionError("a"), APIConnectionError("b")
    one.__cause__, two.__cause__ = two, one
    availability.failed("stt", "deepgram", one)
    assert availability.state("stt", "deepgram") is State.DOWN
