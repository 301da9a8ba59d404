"""Silence that is owed, on a clock that the test holds."""

from __future__ import annotations

import pytest

from agent.dead_air import DeadAir, Owed
from config.persona import Limits


@pytest.fixture
def air():
    return DeadAir(Limits(filler=1.8, apology=5.5))


def say(air, *, until, words=True, committed=None):
    """The caller speaks, and falls silent."""
    air.caller_is(True, until - 1.0)
    if words:
        air.words_came()
    air.caller_is(False, until)
    if committed is not None:
        air.asked(committed)


def told(air, *times):
    return [air.due(time) for time in times]


def test_an_answer_in_time_needs_nothing(air):
    say(air, until=10.0, committed=10.3)
    assert told(air, 10.5, 11.2) == [None, None]
    air.agent_is(True, 11.2)
    assert told(air, 12.0, 20.0) == [None, None]
    air.agent_is(False, 20.0)
    assert told(air, 40.0) == [None]


def test_a_filler_is_due_once_and_then_an_apology(air):
    say(air, until=10.0, committed=10.3)
    assert told(air, 11.7, 11.8, 11.9, 15.4) == [None, Owed.FILLER, None, None]
    assert told(air, 15.5, 15.6) == [Owed.APOLOGY, Owed.APOLOGY]
    assert air.cause == "silence"


def test_the_end_of_an_open_phrase_was_waited_for_and_is_no_silence_of_ours(air):
    say(air, until=10.0, committed=11.5)
    assert told(air, 11.8, 12.4, 12.5) == [None, None, Owed.FILLER]


def test_a_turn_that_is_never_committed_gets_a_filler_and_no_apology(air):
    say(air, until=10.0)
    assert told(air, 11.8, 12.5, 30.0) == [None, Owed.FILLER, None]


def test_a_noise_is_owed_nothing(air):
    say(air, until=10.0, words=False)
    assert told(air, 12.0, 30.0) == [None, None]


def test_nothing_is_said_into_the_callers_speech(air):
    say(air, until=10.0, committed=10.3)
    air.caller_is(True, 11.0)
    assert told(air, 12.0, 20.0) == [None, None]
    air.caller_is(False, 20.0)
    assert told(air, 21.0, 22.5) == [None, Owed.FILLER]


def test_another_turn_has_another_filler(air):
    say(air, until=10.0, committed=10.3)
    assert told(air, 12.0) == [Owed.FILLER]
    air.agent_is(True, 12.5)
    air.agent_is(False, 14.0)
    say(air, until=20.0, committed=20.3)
    assert told(air, 22.0) == [Owed.FILLER]


def test_words_over_the_agent_are_owed_an_answer_from_their_commitment(air):
    air.agent_is(True, 5.0)
    say(air, until=9.0)
    assert told(air, 12.0) == [None]
    air.agent_is(False, 12.0)
    assert told(air, 20.0) == [None]
    air.asked(20.0)
    assert told(air, 21.7, 21.8) == [None, Owed.FILLER]


def test_a_chain_that_failed_altogether_is_apologised_for_at_once(air):
    say(air, until=10.0, committed=10.3)
    air.failed("tts")
    assert told(air, 10.4) == [Owed.APOLOGY]
    assert air.cause == "tts"


def test_what_failed_before_the_caller_went_on_is_forgotten(air):
    say(air, until=10.0)
    air.failed("llm")
    air.caller_is(True, 10.2)
    assert told(air, 10.3) == [None]
    air.caller_is(False, 10.4)
    assert told(air, 10.5) == [None]


def test_the_agents_last_words_are_heard_before_the_apology(air):
    say(air, until=10.0, committed=10.3)
    air.agent_is(True, 11.0)
    air.failed("tts")
    assert told(air, 11.5) == [None]
    air.agent_is(False, 12.0)
    assert told(air, 12.0) == [Owed.APOLOGY]


def test_nothing_is_owed_while_a_transfer_rings(air):
    say(air, until=10.0, committed=10.3)
    air.hold(True)
    assert told(air, 20.0) == [None]
    air.hold(False)
    assert told(air, 40.0) == [None]


def test_no_filler_where_none_is_wanted():
    air = DeadAir(Limits(filler=0, apology=5.5))
    say(air, until=10.0, committed=10.3)
    assert told(air, 12.0, 15.4, 15.5) == [None, None, Owed.APOLOGY]
