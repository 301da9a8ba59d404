"""A call whose persona wants it recorded, by the worker's own recorder: its first and last word."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from plugins.line import spans
from plugins.line.g711 import RATE
from plugins.line.recording import Recording
from tests.programs import ROOT, rehearse, run, settings
from tests.recordings import opened, told

pytestmark = pytest.mark.acceptance

QUESTION, LAST = "what is your address", "how much is a tune up"
SCENARIO = {
    "name": "last-word",
    "about": "A caller asks a question and hangs up with the last word of the next.",
    "steps": [
        {"listen": {}},
        {"say": QUESTION, "expect": {"fact": "address"}},
        {"listen": {}},
        {"say": LAST},
        {"hangup": {}},
    ],
    "expect": {"end_reason": "caller_hangup"},
}
DISCLOSURE = "This call is recorded."


def play(folder, policy, **phrases):
    """Place the call with a persona of this policy: the summary, and the call's record."""
    (folder / "personas").mkdir()
    persona = yaml.safe_load((ROOT / "config" / "personas" / "en.yaml").read_text(encoding="utf-8"))
    persona["recording"] = policy
    persona["phrases"] |= phrases
    (folder / "personas" / "en.yaml").write_text(yaml.safe_dump(persona), encoding="utf-8")
    (folder / "scenario.yaml").write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")
    variables = {
        "VOICE_AGENT__PERSONAS__FOLDER": str(folder / "personas"),
        "VOICE_AGENT__RECORDING__STORAGE__FOLDER": str(folder / "kept"),
    }
    summary, report = rehearse(folder, "--scenario", str(folder / "scenario.yaml"), **variables)
    assert summary["expectations_met"], report
    (call_id,) = summary["record_id"]
    done = run(
        *("-m", "ops", "calls", "show", call_id, "--json"), variables=settings(folder), within=60
    )
    line = Recording.load(Path(summary["recording"][0]))
    return line, json.loads(done.stdout), persona["phrases"]


def first_words(line):
    """What the agent said before the caller spoke."""
    (caller, _), *_ = spans(line.caller)
    said = [span for span in spans(line.agent) if span[1] < caller]
    return line.agent[round(said[0][0] * RATE) : round(said[-1][1] * RATE)]


def last_words(line):
    _, end = spans(line.caller)[-1]
    begun = next(s for s, _ in spans(line.caller) if s > first_answer(line))
    return line.caller[round(begun * RATE) : round(end * RATE)]


def first_answer(line):
    """When the agent began to answer."""
    (caller, _), *_ = spans(line.caller)
    return next(start for start, _ in spans(line.agent) if start > caller)


def test_the_first_word_of_the_agent_and_the_last_of_the_caller_are_in_it(tmp_path):
    line, record, phrases = play(tmp_path, "always")
    (made,) = record["recordings"]
    path = tmp_path / "kept" / f"{record['call']['id']}-own.ogg"
    assert (made["uri"], made["channels"]) == (path.as_uri(), 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ours = opened(path)
    assert ours.duration == pytest.approx(line.duration, abs=1.0)

    greeting = told(phrases["greeting"], first_words(line), ours.agent)
    assert (greeting.pieces[0].number, greeting.share) == (0, pytest.approx(1.0, abs=0.1))
    goodbye = told(LAST, last_words(line), ours.caller)
    assert goodbye.words.endswith("tune up")
    # Nobody is on the other's channel, and both stand where they stood on the line.
    with pytest.raises(AssertionError, match="nothing of"):
        told(phrases["greeting"], first_words(line), ours.caller)
    assert greeting.start == pytest.approx(spans(line.agent)[0][0], abs=0.5)


def test_with_consent_the_recording_begins_after_the_disclosure(tmp_path):
    line, record, _ = play(tmp_path, "consent", disclosure=DISCLOSURE)
    (made,) = record["recordings"]
    ours = opened(Path(made["uri"].removeprefix("file://")))
    assert ours.duration < line.duration - 1.0
    assert told(LAST, last_words(line), ours.caller).words.endswith("tune up")
    notes = [event["name"] for event in record["events"] if event["kind"] == "note"]
    assert "disclosure_heard" in notes


def test_a_persona_that_says_never_is_not_recorded(tmp_path):
    _, record, _ = play(tmp_path, "never")
    assert record["recordings"] == []
    assert not (tmp_path / "kept").exists()
