"""The bench: its rows are sound, and it hears what a caller would hear."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from agent.call import EndReason, now
from agent.errors import StartError
from agent.events import CallEnded, TurnCommitted
from ops.bench import commands, show, stage
from ops.bench.faults import Result
from ops.bench.judge import Limits, _is_whole, judge
from ops.bench.rows import BY_NAME, ROWS, TALKS, cases
from ops.bench.stage import Placed, scenario_of
from plugins.line import Recording
from plugins.line.caller import Manner, SimulatedCaller, Utterance
from plugins.line.g711 import RATE
from plugins.line.scenario import CallerProfile
from plugins.line.speech import offline_voice, speak
from tests.providers import Fault

FAULTS_OF_THE_PRODUCT = 18
PERSONA = stage.personas()["en"]
ROW = BY_NAME["llm-hang"]
TALK = TALKS["en"]
ASKED = TALK.asked[ROW.asks]
FACT = {fact.name: fact.answer for fact in PERSONA.facts}
PROFILE = CallerProfile()
TURNS = ((TALK.greeted.text, 0.0, 2.0), (ASKED.text, 12.0, 15.0))
"""Text, start and end of what the caller says."""


def test_there_is_a_row_for_every_fault_and_both_languages_where_they_matter():
    single = [row for row in ROWS if row.name.startswith(("stt-", "llm-", "tts-"))]
    assert len(single) == FAULTS_OF_THE_PRODUCT
    spoken = {(row.name, language) for row, language in cases()}
    assert {("stt-drop", "ru"), ("tts-cut", "ru"), ("llm-cut", "en")} <= spoken
    assert ("llm-cut", "ru") not in spoken


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_the_faults_of_a_row_can_be_scripted_and_its_caller_played(row):
    for _, fault in row.faults:
        Fault.model_validate(fault)
    for language in row.languages:
        facts = {fact.name: fact for fact in stage.personas()[language].facts}
        talk = TALKS[language]
        for line in (talk.greeted, talk.asked[row.asks], talk.following, talk.parting):
            assert line.text in facts[line.fact].asks
        assert SimulatedCaller(scenario_of(row, language)).scenario.persona == language


TOLD = (
    *(FACT[name] for name in (TALK.greeted.fact, ASKED.fact, "opening_hours")),
    *(PERSONA.phrases.filler, PERSONA.phrases.apology, PERSONA.phrases.transferring),
)
"""What the agent can have said, as far as the tests need it."""


@cache
def sound_of(text):
    return speak(text, PROFILE, offline_voice)


def call(*said, row=ROW, committed=(TALK.greeted.text, ASKED.text), reason="agent_hangup"):
    """A call in which the agent said (text, at, share) after a sound first turn."""
    agent = np.zeros(30 * RATE, np.int16)
    for text, at, share in ((FACT[TALK.greeted.fact], 3.0, 1), *said):
        whole = sound_of(text)
        part = whole[: round(len(whole) * share)]
        agent[round(at * RATE) : round(at * RATE) + len(part)] = part
    caller = SimulatedCaller(scenario_of(row, "en"))
    caller.log += [
        Utterance(number, text, Manner.SPEECH, start, end)
        for number, (text, start, end) in enumerate(TURNS)
    ]
    at = now()
    zero = at.timestamp()
    events = [
        TurnCommitted(call_id="c", seq=n, at=at.fromtimestamp(zero + 1 + when, at.tzinfo), turn=n,
                      user_text=text)
        for n, (text, when) in enumerate(zip(committed, (1.5, 14.5, 14.6), strict=False), start=1)
    ]  # fmt: skip
    events.append(CallEnded(call_id="c", seq=9, reason=EndReason(reason)))
    recording = Recording.of(np.zeros_like(agent), agent)
    placed = Placed(caller, recording, zero, tuple(events), frozenset(), 1)
    return judge(row, PERSONA, placed, [(text, sound_of(text)) for text in TOLD], Limits())


def whats(judged):
    return [(miss.turn, miss.what) for miss in judged.missed]


def test_an_answer_in_time_is_as_it_should_be():
    judged = call((FACT[ASKED.fact], 16.0, 1))
    assert judged.missed == ()
    (struck,) = judged.struck
    assert struck.silence == pytest.approx(1.0, abs=0.1)
    assert struck.answered == pytest.approx(1.0, abs=0.1)


def test_a_filler_ends_a_silence_and_is_no_answer():
    judged = call((PERSONA.phrases.filler, 17.0, 1), (FACT[ASKED.fact], 20.0, 1))
    assert judged.missed == ()
    (struck,) = judged.struck
    assert (struck.fillers, struck.silence < 3) == (1, True)
    assert struck.answered == pytest.approx(5.0, abs=0.1)


def test_a_second_filler_ends_no_silence():
    fillers = [(PERSONA.phrases.filler, at, 1) for at in (17.0, 19.0)]
    judged = call(*fillers, (FACT[ASKED.fact], 21.6, 1))
    assert whats(judged) == [(2, "silence")]
    assert judged.struck[0].fillers == 2


def test_silence_and_a_late_answer_are_told():
    assert whats(call((FACT[ASKED.fact], 23.5, 1))) == [(2, "silence"), (2, "late")]


def test_a_reply_that_ends_in_mid_sentence_leaves_silence():
    judged = call((FACT[ASKED.fact], 16.0, 0.5))
    assert whats(judged) == [(2, "silence"), (2, "answer")]
    assert judged.struck[0].unending


@pytest.mark.parametrize(
    ("heard", "whole"),
    [
        ("are at maple street right beside the old railway station", True),
        ("we are at twelve maple street right beside", False),
        ("right beside the old railway station", False),
    ],
)
def test_an_answer_is_whole_with_most_of_its_words_and_its_end(heard, whole):
    answer = "We are at twelve Maple Street, right beside the old railway station."
    assert _is_whole(answer, heard) is whole


def test_an_honest_phrase_may_close_a_reply_that_was_cut():
    said = ((FACT["opening_hours"], 16.0, 0.4), (PERSONA.phrases.apology, 19.5, 1))
    assert (2, "answer") not in whats(call(*said, row=BY_NAME["llm-cut"]))


def test_an_answer_that_is_heard_again_is_told():
    said = ((FACT[ASKED.fact], 16.0, 1), (FACT[ASKED.fact], 21.5, 1))
    assert whats(call(*said)) == [(2, "twice")]


def test_a_sentence_that_was_lost_or_parted_is_told():
    answered = (FACT[ASKED.fact], 16.0, 1)
    assert whats(call(answered, committed=(TALK.greeted.text,))) == [(2, "sentence")]
    parts = (TALK.greeted.text, *ASKED.text.split(" know "))
    assert whats(call(answered, committed=parts)) == [(2, "sentence")]


def test_with_all_down_an_apology_and_its_reason_are_wanted():
    row, apology = BY_NAME["all-down"], (PERSONA.phrases.apology, 17.0, 1)
    assert call(apology, row=row, reason="provider_failure").missed == ()
    assert whats(call(apology, row=row)) == [(0, "ending")]
    assert (2, "answer") in whats(call(row=row, reason="provider_failure"))


def test_the_page_shows_ours_beside_stock():
    fine, silent = call((FACT[ASKED.fact], 16.0, 1)), call()
    kept = {
        show.key_of(result): show.figures_of(result)
        for result in (Result("ours", ROW, "en", fine), Result("stock", ROW, "en", silent))
    }
    page = show.page({"faults": kept})
    (row,) = [line for line in page.splitlines() if ROW.title in line]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:5] == [ROW.title, "en", "1.0", "1.0", "as it should be"]
    assert (cells[5][-1], cells[6]) == ("+", "never")
    assert "livekit-agents 1.8.9" in page


@pytest.mark.parametrize(
    ("option", "wrong"), [("--rows", "stt-up"), ("--agent", "theirs"), ("--language", "fr")]
)
def test_a_choice_that_there_is_not_is_told_with_those_that_there_are(option, wrong):
    done = CliRunner().invoke(commands.app, ["faults", option, wrong])
    assert isinstance(done.exception, StartError)
    assert wrong in str(done.exception)


def test_without_the_stand_ins_it_says_so_in_a_line(monkeypatch):
    def gone(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("ops.bench.standins.importlib", SimpleNamespace(import_module=gone))
    with pytest.raises(StartError, match="needs a checkout"):
        stage.standins.load()
