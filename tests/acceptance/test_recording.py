"""A call whose persona wants it recorded, by the worker's own recorder: its first and last word."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from plugins.line import spans
from plugins.line.recording import Recording
from tests.programs import rehearse, run, settings
from tests.recordings import LAST, LAST_WORD, first_words, last_words, opened, persona, told

pytestmark = pytest.mark.acceptance

DISCLOSURE = "This call is recorded."


def play(folder, policy, **phrases):
    """Place the call with a persona of this policy: the summary, and the call's record."""
    spoken = persona(folder / "personas", policy, **phrases)
    (folder / "scenario.yaml").write_text(yaml.safe_dump(dict(LAST_WORD)), encoding="utf-8")
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
    return line, json.loads(done.stdout), spoken


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
