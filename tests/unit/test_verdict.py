"""A call's record judged against what the caller expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.call import EndReason
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    TurnCommitted,
    TurnFinished,
)
from agent.rehearsal.verdict import judge_record, story_of
from config.persona import load_personas
from config.settings import ROOT
from plugins.line.caller import Keys, Manner, SimulatedCaller, Utterance
from plugins.line.scenario import Expect, Scenario
from tests.line_sounds import spelled

PERSONA = load_personas(ROOT / "config" / "personas")["en"]
HOURS = next(fact for fact in PERSONA.facts if "opening hours" in " ".join(fact.asks))
PRICE = next(fact for fact in PERSONA.facts if fact.means and fact is not HOURS)
NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)
CALL = {"call_id": "d1" * 16}


def turn(number, at, said="", answer="", tools=()):
    key = CALL | {"at": NOON + timedelta(seconds=at), "turn": number}
    return [
        TurnCommitted(**key, seq=10 * number + 3, user_text=said),
        TurnFinished(**key, seq=10 * number + 4, agent_text=answer, tools=tools),
    ]


def story(*turns, reason=EndReason.AGENT_HANGUP):
    events = [
        CallOpened(**CALL, seq=1, room="r", room_sid="", job_id="j", agent_name="a", pid=42),
        CallerJoined(**CALL, seq=2, identity="x", persona="en"),
        CallNote(**CALL, seq=999, name="dtmf"),
        *(event for pair in turns for event in pair),
    ]
    if reason:
        events.append(CallEnded(**CALL, seq=1000, reason=reason, memory_bytes=7))
    return story_of(events, NOON.timestamp())


def caller(*log, keys=(), **outcome):
    scenario = Scenario(name="t", about="t", steps=[{"say": "anything"}], expect=outcome)
    person = SimulatedCaller(scenario, spelled)
    person.log += log
    person.keys += keys
    return person


def said(step, end, **expect):
    return Utterance(step, "anything", Manner.SPEECH, end - 1, end, Expect(**expect))


def verdicts(person, told):
    return [(v.expected, v.met, v.seen) for v in judge_record(person, told, PERSONA)]


def test_a_story_holds_what_the_events_tell():
    told = story(turn(0, 0.5, answer="Hello."), turn(1, 3.0, "hours", "Nine.", ("x",)))
    assert (told.call_id, told.pid, told.persona) == (CALL["call_id"], 42, "en")
    assert (told.reason, told.memory_bytes) == (EndReason.AGENT_HANGUP, 7)
    assert [(t.number, t.at, t.user_text, t.agent_text) for t in told.turns.values()] == [
        (0, pytest.approx(0.5), "", "Hello."),
        (1, pytest.approx(3.0), "hours", "Nine."),
    ]


def test_an_answer_counts_by_its_meaning():
    person = caller(said(0, 2.0, fact=HOURS.name))
    expected = f"states {HOURS.name}"
    right = story(turn(1, 2.3, "hours", HOURS.answer.upper()))
    assert verdicts(person, right) == [(expected, True, HOURS.answer.upper())]
    wrong = story(turn(1, 2.3, "hours", "I do not know."))
    assert verdicts(person, wrong) == [(expected, False, "I do not know.")]
    assert verdicts(person, story()) == [(expected, False, "no answer")]


def test_an_answer_belongs_to_what_was_said_before_it():
    first, second = said(0, 2.0, fact=HOURS.name), said(1, 6.0, fact=PRICE.name)
    told = story(turn(1, 2.3, answer=HOURS.answer), turn(2, 6.3, answer=PRICE.answer))
    assert [met for _, met, _ in verdicts(caller(first, second), told)] == [True, True]
    swapped = story(turn(1, 2.3, answer=PRICE.answer), turn(2, 6.3, answer=HOURS.answer))
    assert [met for _, met, _ in verdicts(caller(first, second), swapped)] == [False, False]


def test_a_turn_may_be_committed_while_the_voice_fades():
    person = caller(said(0, 2.0, fact=HOURS.name))
    assert verdicts(person, story(turn(1, 1.8, answer=HOURS.answer)))[0][1]
    assert not verdicts(person, story(turn(1, 1.6, answer=HOURS.answer)))[0][1]


def test_the_greeting_answers_nothing():
    person = caller(said(0, 2.0, fact=HOURS.name))
    assert not verdicts(person, story(turn(0, 2.3, answer=HOURS.answer)))[0][1]


def test_tools_and_words_are_looked_for_in_the_answer():
    person = caller(said(0, 2.0, tool="transfer_call", understood=["four", "two"]))
    met = story(turn(1, 2.3, "four and two", tools=("transfer_call",)))
    assert verdicts(person, met) == [
        ("calls transfer_call", True, "transfer_call"),
        ("understands four two", True, "four and two"),
    ]
    missed = story(turn(1, 2.3, "two four"))
    assert verdicts(person, missed) == [
        ("calls transfer_call", False, "no tool"),
        ("understands four two", False, "two four"),
    ]


def test_keys_are_answered_too_in_the_order_of_the_call():
    keys = Keys(1, "5", 6.0, Expect(tool="dtmf_pressed"))
    person = caller(said(0, 2.0, fact=HOURS.name), keys=[keys])
    told = story(turn(1, 2.3, answer=HOURS.answer), turn(2, 7.5, tools=("dtmf_pressed",)))
    assert [met for _, met, _ in verdicts(person, told)] == [True, True]


def test_what_nobody_expects_is_not_judged():
    silent = Utterance(0, "uh-huh", Manner.BACKCHANNEL, 1.0, 1.2)
    assert verdicts(caller(silent), story()) == []


def test_the_outcome_of_the_call_is_judged():
    person = caller(end_reason="silence", tools=["end_call"], turns=1)
    told = story(turn(0, 0), turn(1, 2, tools=("end_call",)), reason=EndReason.SILENCE)
    assert verdicts(person, told) == [
        ("ends with silence", True, "silence"),
        ("calls end_call", True, "end_call"),
        ("takes 1 turns", True, "1 turns"),
    ]
    assert verdicts(person, story(reason=None)) == [
        ("ends with silence", False, "no end in the record"),
        ("calls end_call", False, "no tool"),
        ("takes 1 turns", False, "0 turns"),
    ]
