"""The timers of a call, on a clock that the test holds."""

from __future__ import annotations

import pytest

from agent.watch import Due, Watch
from config.persona import Limits

LIMITS = Limits(
    silence_prompt=8, silence_second=6, silence_goodbye=4, max_duration=100, duration_warning=20
)


@pytest.fixture
def watch():
    return Watch(LIMITS, now=1000.0)


def told(watch, *times):
    return [watch.due(1000.0 + time) for time in times]


def test_a_silent_caller_is_asked_twice_and_then_let_go(watch):
    assert told(watch, 7.9, 8.0, 8.1) == [None, Due.PROMPT, None]
    assert told(watch, 13.9, 14.0) == [None, Due.SECOND_PROMPT]
    assert told(watch, 17.9, 18.0) == [None, Due.SILENCE]
    assert told(watch, 30.0, 99.0, 200.0) == [None, None, None]


def test_words_start_the_stages_again(watch):
    assert told(watch, 8.0) == [Due.PROMPT]
    watch.caller_spoke(1010.0)
    assert told(watch, 17.9, 18.0) == [None, Due.PROMPT]


def test_the_agent_speaking_is_no_silence_of_the_caller(watch):
    watch.agent_is(True, 1002.0)
    assert told(watch, 8.0, 50.0) == [None, None]
    watch.agent_is(False, 1050.0)
    assert told(watch, 57.9, 58.0) == [None, Due.PROMPT]


def test_a_voice_holds_the_timers_until_its_words_have_had_time_to_come(watch):
    watch.caller_is(True, 1002.0)
    assert told(watch, 14.0) == [None]
    watch.caller_is(False, 1014.0)
    assert told(watch, 15.9, 16.1) == [None, Due.PROMPT]


def test_noise_that_never_becomes_words_does_not_hold_the_timers_for_ever(watch):
    for second in range(0, 60, 2):
        watch.caller_is(True, 1000.0 + second)
        watch.caller_is(False, 1000.5 + second)
    assert told(watch, 59.5) == [Due.PROMPT]


def test_nothing_is_due_while_a_transfer_rings(watch):
    watch.hold(True, 1002.0)
    assert told(watch, 60.0) == [None]
    watch.hold(False, 1060.0)
    assert told(watch, 67.9, 68.0) == [None, Due.PROMPT]


def test_the_agents_own_prompts_do_not_take_a_stage_back(watch):
    assert told(watch, 8.0) == [Due.PROMPT]
    watch.agent_is(True, 1008.1)
    watch.agent_is(False, 1010.0)
    assert told(watch, 15.9, 16.0) == [None, Due.SECOND_PROMPT]


def test_the_longest_duration_is_announced_once_and_then_kept(watch):
    watch.agent_is(True, 1000.0)
    assert told(watch, 79.9, 80.0, 80.1, 99.9) == [None, Due.WARNING, None, None]
    assert told(watch, 100.0, 100.1, 300.0) == [Due.DURATION, None, None]


def test_talking_does_not_lengthen_a_call(watch):
    watch.caller_spoke(1099.0)
    assert told(watch, 99.5) == [Due.WARNING]
    watch.caller_spoke(1099.9)
    assert told(watch, 100.0) == [Due.DURATION]


def test_no_warning_is_given_when_none_is_wanted():
    limits = Limits(max_duration=100, duration_warning=0)
    watch = Watch(limits, now=0.0)
    watch.agent_is(True, 0.0)
    assert [watch.due(99.9), watch.due(100.0)] == [None, Due.DURATION]
