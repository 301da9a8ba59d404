"""What `call` prints, and the figures in its summary."""

from __future__ import annotations

import json

import pytest

from agent.call import EndReason
from agent.events import CallEnded, TurnCommitted, TurnFinished
from agent.rehearsal.playbill import Playbill, Result, latency_figures
from agent.rehearsal.verdict import Story, Turn
from plugins.line.caller import Manner, Utterance
from plugins.line.judge import Verdict
from plugins.line.scenario import Scenario

SCENARIO = Scenario(name="a-test", about="Somebody calls.", steps=[{"say": "anything"}])
MEMORY = {"main": 140_000_000, "forkserver": 60_000_000}
CALL = "ab" * 16


def test_no_turns_have_no_figures():
    assert latency_figures([]) == {"median": None, "p95": None, "max": None, "turns": 0}


def test_a_95th_percentile_is_stated_from_50_turns_on():
    seconds = [number / 100 for number in range(1, 50)]
    assert latency_figures(seconds)["p95"] is None
    assert latency_figures([*seconds, 0.5]) == {"median": 255, "p95": 480, "max": 500, "turns": 50}


@pytest.mark.parametrize(("count", "p95"), [(60, 570), (100, 950)])
def test_the_percentile_is_a_turn_that_was(count, p95):
    figures = latency_figures([number / 100 for number in range(count, 0, -1)])
    assert figures["p95"] == p95


def result(tmp_path, *, met=True, reason=EndReason.AGENT_HANGUP, memory=41_500_000):
    story = Story(CALL, 42, "en", reason, memory)
    story.turns = {
        0: Turn(0, 0.5, agent_text="Hello."),
        1: Turn(1, 3.0, "when [do] you open", "At nine [/sharp]."),
    }
    utterances = [
        Utterance(0, "when [do] you [/open]", Manner.SPEECH, 1.0, 2.5),
        Utterance(1, "uh-huh", Manner.BACKCHANNEL, 4.0, 4.2),
    ]
    verdicts = [Verdict(1, "states [bold]hours", met, "[/] no answer")]
    return Result("room-1", tmp_path / "room-1.wav", story, utterances, [0.45, None], verdicts)


def played(tmp_path, *results, quiet=False):
    bill = Playbill(SCENARIO, tmp_path, quiet=quiet, calls=len(results))
    return bill.close(results, MEMORY, lateness=0.0123)


def test_a_call_that_met_everything_is_exit_code_0(tmp_path, capsys):
    assert played(tmp_path, result(tmp_path)) == 0
    told = capsys.readouterr().out
    assert "all expectations met" in told
    assert "when [do] you [/open]" in told
    assert f"python -m ops calls show {CALL}" in told


def test_what_was_missed_is_told_and_is_exit_code_1(tmp_path, capsys):
    assert played(tmp_path, result(tmp_path), result(tmp_path, met=False)) == 1
    told = capsys.readouterr().out
    assert "not met step 2: states [bold]hours; seen: [/] no answer" in told
    assert "expectations not met" in told


def test_a_call_without_an_end_in_its_record_is_not_met(tmp_path):
    assert played(tmp_path, result(tmp_path, reason=None)) == 1


def test_the_summary_is_on_disk_and_with_json_alone_on_the_output(tmp_path, capsys):
    played(tmp_path, result(tmp_path), result(tmp_path, met=False, memory=None), quiet=True)
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert (summary["scenario"], summary["calls"], summary["turns"]) == ("a-test", 2, 2)
    assert summary["expectations_met"] is False
    assert summary["missed"] == [
        {"call": CALL, "step": 1, "expected": "states [bold]hours", "seen": "[/] no answer"}
    ]
    assert summary["heard_latency_ms"] == {"median": 450, "p95": None, "max": 450, "turns": 2}
    assert summary["end_reason"] == "agent_hangup"
    assert summary["record_id"] == [CALL, CALL]
    assert summary["memory_mb"] == {"job_private": 41.5, "main": 140.0, "forkserver": 60.0}
    assert summary["clock_lateness_ms"] == 12.3


def test_the_transcript_is_written_beside_the_recording(tmp_path):
    played(tmp_path, result(tmp_path), quiet=True)
    assert (tmp_path / "room-1.txt").read_text().splitlines() == [
        "[   0.50] agent:  Hello.",
        "[   3.00] caller: when [do] you open",
        "[   3.00] agent:  At nine [/sharp].",
    ]


def finished(text, **values):
    return TurnFinished(call_id=CALL, seq=3, turn=1, agent_text=text, **values)


def test_the_conversation_is_told_as_it_happens(tmp_path, capsys):
    bill = Playbill(SCENARIO, tmp_path, quiet=False, calls=1)
    bill.tell("room-1", TurnCommitted(call_id=CALL, seq=2, turn=1, user_text="say [/] please"))
    bill.tell("room-1", finished("One moment."))
    bill.tell("room-1", finished("One moment. At [nine]", interrupted=True))
    bill.tell("room-1", CallEnded(call_id=CALL, seq=9, reason=EndReason.SILENCE))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "caller  say [/] please",
        "agent   One moment.",
        "agent   At [nine] (interrupted)",
        "ended:  silence",
    ]


def test_of_several_calls_each_line_says_whose_it_is(tmp_path, capsys):
    bill = Playbill(SCENARIO, tmp_path, quiet=False, calls=2)
    bill.tell("voice-ai-call-12ab", finished("Hello."))
    assert capsys.readouterr().out.splitlines()[2:] == ["12ab agent   Hello."]
