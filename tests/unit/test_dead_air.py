"""Silence that is owed, on a clock that the test holds."""

from __future__ import annotations

import pytest

from agent.dead_air import DeadAir, Owed, RunningTime
from config.persona import Limits


@pytest.fixture
def air():
    return DeadAir(Limits(filler=1.8, apology=5.5))


def say(air, *, until, words=True, committed=None):
    """The caller speaks, and falls silent."""
    air.caller_is(True, until - 1.0)
    if words:
        air.words_came(until)
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


def test_an_answer_that_is_being_written_needs_no_filler_yet(air):
    say(air, until=10.0, committed=10.3)
    assert air.due(11.9, since_written=0.4) is None
    assert air.due(12.1, since_written=0.1) is None
    assert air.due(12.3, since_written=0.2) is Owed.FILLER  # three seconds are too many


def test_an_answer_that_was_written_and_is_not_heard_is_filled_for(air):
    say(air, until=10.0, committed=10.3)
    assert air.due(11.9, since_written=0.9) is Owed.FILLER


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
    air.words_came(11.0)
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


@pytest.mark.parametrize(
    ("sounds", "waited"),
    [
        ([11.2], [1.2]),
        ([11.8, 14.0], [1.8, None]),  # a filler, and the answer
        ([], []),
    ],
)
def test_silence_is_measured_to_the_first_sound_of_a_turn(air, sounds, waited):
    assert air.sounds(1.0) is None  # the greeting
    say(air, until=10.0, committed=10.3)
    assert [air.sounds(at) for at in sounds] == [w and pytest.approx(w) for w in waited]
    assert air.ends(20.0) == (None if sounds else pytest.approx(10.0))
    air.agent_is(True, 14.0)
    air.agent_is(False, 16.0)
    say(air, until=30.0, committed=30.3)
    assert air.sounds(30.5) == pytest.approx(0.5)


def test_a_noise_or_an_unfinished_turn_is_no_silence_that_is_measured(air):
    say(air, until=10.0, words=False)
    assert (air.sounds(12.0), air.ends(12.0)) == (None, None)
    say(air, until=20.0)
    assert air.ends(21.0) is None  # hung up before the turn was one


def test_silence_after_words_over_the_agent_counts_from_where_both_are_silent(air):
    air.agent_is(True, 5.0)
    air.plays(8.9)
    say(air, until=9.0)
    air.agent_is(False, 9.4)
    air.asked(9.5)
    assert air.sounds(10.5) == pytest.approx(1.5)
    air.agent_is(True, 10.5)
    air.plays(12.5)
    say(air, until=12.0)
    air.plays(13.0)
    air.agent_is(False, 13.0)
    air.asked(13.5)
    assert air.sounds(14.0) == pytest.approx(1.0)


def test_words_over_the_agent_that_came_to_nothing_are_not_counted_for_a_later_turn(air):
    air.agent_is(True, 5.0)
    say(air, until=9.0)
    air.agent_is(False, 12.0)
    air.asked(40.0)
    assert air.sounds(41.0) == pytest.approx(1.0)


def test_the_silence_of_a_caller_who_goes_on_is_the_callers_own(air):
    say(air, until=10.0, committed=10.3)
    air.caller_is(True, 11.0)
    assert air.sounds(14.0) == pytest.approx(1.0)


def test_a_held_caller_is_owed_nothing_until_the_hold_ends(air):
    say(air, until=10.0, committed=10.3)
    air.hold(True, 10.5)
    assert air.sounds(12.0) is None
    say(air, until=14.0, committed=14.3)
    assert air.sounds(15.0) is None
    air.hold(False, 20.0)
    assert air.sounds(21.0) == pytest.approx(1.0)


def test_where_an_answer_breaks_off_silence_begins_anew(air):
    say(air, until=10.0, committed=10.3)
    assert air.sounds(11.0) == pytest.approx(1.0)
    air.agent_is(True, 11.0)
    air.stopped_short(13.0)
    assert air.sounds(15.0) == pytest.approx(2.0)


def test_a_chain_that_failed_altogether_is_apologised_for_at_once(air):
    say(air, until=10.0, committed=10.3)
    air.failed("tts", 10.4)
    assert told(air, 10.4) == [Owed.APOLOGY]
    assert air.cause == "tts"


def test_what_failed_before_the_caller_went_on_is_forgotten(air):
    say(air, until=10.0)
    air.failed("llm", 10.1)
    air.caller_is(True, 10.2)
    assert told(air, 10.3) == [None]
    air.caller_is(False, 10.4)
    assert told(air, 10.5) == [None]


def test_the_agents_last_words_are_heard_before_the_apology(air):
    say(air, until=10.0, committed=10.3)
    air.agent_is(True, 11.0)
    air.failed("tts", 11.5)
    assert told(air, 11.5) == [None]
    air.agent_is(False, 12.0)
    assert told(air, 12.0) == [Owed.APOLOGY]


def test_nothing_is_owed_while_a_transfer_rings(air):
    say(air, until=10.0, committed=10.3)
    air.hold(True, 11.0)
    assert told(air, 20.0) == [None]
    air.hold(False, 20.0)
    assert told(air, 40.0) == [None]


def test_no_filler_where_none_is_wanted():
    air = DeadAir(Limits(filler=0, apology=5.5))
    say(air, until=10.0, committed=10.3)
    assert told(air, 12.0, 15.4, 15.5) == [None, None, Owed.APOLOGY]


def run(air, events, until):
    """What is due, second by second, while `events` (time, what is told) happen."""
    events, due = list(events), []
    for tick in range(round(until * 10)):
        now = tick / 10
        while events and events[0][0] <= now:
            events.pop(0)[1](now)
        if owed := air.due(now):
            due.append((now, owed))
            if owed is Owed.APOLOGY:
                break
    return due


def bursts(air, first, length, pause, count):
    for number in range(count):
        begin = first + number * (length + pause)
        yield begin, lambda now: air.caller_is(True, now)
        yield begin + length, lambda now: air.caller_is(False, now)


@pytest.mark.parametrize(("length", "pause"), [(0.4, 3.2), (1.7, 0.5)])
def test_noise_after_a_turn_brings_no_more_fillers_and_no_later_apology(air, length, pause):
    say(air, until=0.0, committed=0.2)
    due = run(air, bursts(air, 0.5, length, pause, 12), 30.0)
    assert [owed for _, owed in due] == [Owed.FILLER, Owed.APOLOGY]
    assert due[-1][0] <= 8.0


def test_noise_that_does_not_end_puts_an_apology_off_for_a_while(air):
    say(air, until=0.0, committed=0.2)
    due = run(air, [(0.5, lambda now: air.caller_is(True, now))], 60.0)
    assert due == [(7.5, Owed.APOLOGY)]


def test_words_after_the_commit_are_waited_for_and_answered_anew(air):
    say(air, until=10.0, committed=10.2)
    air.caller_is(True, 11.0)
    air.words_came(11.0)
    assert told(air, 25.0) == [None]
    air.caller_is(False, 25.0)
    air.asked(25.2)
    assert told(air, 26.7, 26.8, 30.4, 30.5) == [None, Owed.FILLER, None, Owed.APOLOGY]


def test_a_noise_that_follows_words_holds_an_apology_back_for_a_while_only(air):
    say(air, until=10.0, committed=10.2)
    air.caller_is(True, 11.0)
    air.words_came(11.5)
    assert told(air, 26.4, 26.5) == [None, Owed.APOLOGY]


def test_words_that_are_understood_late_are_answered_from_their_end(air):
    say(air, until=10.0, committed=10.2)
    air.caller_is(True, 11.0)
    air.caller_is(False, 13.0)
    air.words_came(13.0)
    assert told(air, 15.6, 18.4, 18.5) == [Owed.FILLER, None, Owed.APOLOGY]


def test_what_was_asked_during_a_hold_is_owed_after_it(air):
    air.hold(True, 0.0)
    say(air, until=2.0, committed=2.2)
    assert told(air, 9.0) == [None]
    air.hold(False, 10.0)
    assert told(air, 11.7, 11.8, 15.4, 15.5) == [None, Owed.FILLER, None, Owed.APOLOGY]


def test_what_was_answered_during_a_hold_is_owed_no_more(air):
    air.hold(True, 0.0)
    air.asked(2.0)
    air.agent_is(True, 3.0)
    air.agent_is(False, 4.0)
    air.hold(False, 10.0)
    assert told(air, 40.0) == [None]


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_reply_is_owed_after_a_tool_unless_the_model_has_nothing_to_say(air, has_ended):
    say(air, until=0.0, committed=0.2)
    air.hold(True, 1.0)
    air.tool_done(5.0)
    air.hold(False, 5.0)
    assert told(air, 6.7) == [None]
    if has_ended:
        air.reply_over()
    assert told(air, 6.9, 10.6) == ([None, None] if has_ended else [Owed.FILLER, Owed.APOLOGY])


def test_a_turn_is_owed_its_answer_whatever_state_the_session_is_in(air):
    say(air, until=10.0, committed=10.2)
    air.reply_over()
    assert told(air, 15.5) == [Owed.APOLOGY]


def test_an_attempt_that_failed_while_the_caller_spoke_is_forgotten(air):
    air.caller_is(True, 9.0)
    air.failed("llm", 9.5)
    air.caller_is(False, 10.0)
    air.words_came(10.0)
    assert told(air, 10.1) == [None]


def test_an_early_attempt_that_failed_waits_for_the_commit(air):
    say(air, until=10.0)
    air.failed("llm", 10.1)
    assert told(air, 10.2) == [None]
    air.asked(10.4)
    assert told(air, 10.4) == [Owed.APOLOGY]


def test_more_words_make_an_early_attempt_forgotten(air):
    say(air, until=10.0)
    air.failed("llm", 10.1)
    air.words_came(10.1)
    air.asked(10.4)
    assert told(air, 10.4) == [None]


def test_a_reply_that_fails_after_a_tool_is_apologised_for_at_once(air):
    air.agent_is(True, 1.0)
    air.agent_is(False, 2.0)
    air.failed("llm", 3.0)
    assert told(air, 3.0) == [Owed.APOLOGY]


def test_ears_that_failed_stay_deaf_whoever_speaks(air):
    air.failed("stt", 10.0)
    air.caller_is(True, 10.1)
    assert told(air, 12.0, 15.5) == [None, Owed.APOLOGY]
    air.caller_is(False, 12.0)
    assert told(air, 12.1) == [Owed.APOLOGY]
    assert air.cause == "stt"


def test_the_rest_of_an_answer_that_stops_in_the_middle_is_owed(air):
    say(air, until=10.0, committed=10.2)
    air.agent_is(True, 11.0)
    air.stopped_short(13.0)
    assert told(air, 15.6, 18.4, 18.5) == [None, None, Owed.APOLOGY]


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_answer_that_goes_on_or_ends_after_all_owes_nothing(air, goes_on):
    air.agent_is(True, 11.0)
    air.stopped_short(13.0)
    air.agent_is(goes_on, 15.0)
    air.agent_is(False, 16.0)
    assert told(air, 40.0) == [None]


def test_time_in_which_we_stood_still_does_not_run():
    running = RunningTime(10.0)
    assert [running.at(now) for now in (10.1, 10.6, 14.0, 14.1)] == pytest.approx(
        [10.1, 10.6, 11.1, 11.2]
    )
