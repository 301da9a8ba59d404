"""One call over the line by a caller with secrets: what is kept of them, and what is logged."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.programs import ROOT, rehearse, run, settings

pytestmark = pytest.mark.clocked

NUMBER = "+15550177"
DISCLOSURE = "This call is answered by a machine, and what you say is recorded."
SAID = "my phone number is four zero seven three five one two eight nine one"
ASKED = "how much is a tune up"
SCENARIO = {
    "name": "secrets",
    "about": "A caller tells a phone number and types a code.",
    "caller": {"number": NUMBER},
    "steps": [
        {"listen": {}},
        {"say": ASKED, "expect": {"fact": "tune_up_price"}},
        {"listen": {}},
        {"say": SAID, "expect": {"fact": "callback_number"}},
        {"listen": {}},
        {"press": "4321#"},
        {"listen": {}},
        {"say": "goodbye", "expect": {"fact": "goodbye", "tool": "end_call"}},
        {"silence": {"timeout": 20}},
    ],
    "expect": {"end_reason": "agent_hangup"},
}

INTERRUPTED = {
    "name": "interrupted",
    "about": "A caller does not wait for the end of the disclosure.",
    "steps": [
        {"while_agent_speaks": {"after": 1.0, "say": ASKED}, "expect": {"fact": "tune_up_price"}},
        {"listen": {}},
        {"say": "goodbye", "expect": {"fact": "goodbye", "tool": "end_call"}},
        {"silence": {"timeout": 20}},
    ],
    "expect": {"end_reason": "agent_hangup"},
}


def play(folder, scenario):
    """Place the call of `scenario` with a persona that has a disclosure."""
    (folder / "personas").mkdir()
    persona = yaml.safe_load((ROOT / "config" / "personas" / "en.yaml").read_text(encoding="utf-8"))
    persona["phrases"]["disclosure"] = DISCLOSURE
    (folder / "personas" / "en.yaml").write_text(yaml.safe_dump(persona), encoding="utf-8")
    (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    variables = {
        "VOICE_AGENT__PERSONAS__FOLDER": str(folder / "personas"),
        "VOICE_AGENT__LOG__LEVEL": "debug",
    }
    return rehearse(folder, "--scenario", str(folder / "scenario.yaml"), **variables)


def shown(folder, summary):
    """The call as operators see it."""
    (call_id,) = summary["record_id"]
    show = ("-m", "ops", "calls", "show", call_id, "--json")
    done = run(*show, variables=settings(folder), within=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("secrets")


@pytest.fixture(scope="module")
def rehearsed(folder):
    return play(folder, SCENARIO)


@pytest.fixture(scope="module")
def record(folder, rehearsed):
    return shown(folder, rehearsed[0])


def notes(record, name):
    return [event["detail"] for event in record["events"] if event["name"] == name]


def test_the_caller_is_served_as_ever(rehearsed):
    summary, report = rehearsed
    assert summary["expectations_met"], report


def test_the_disclosure_is_heard_before_the_greeting_and_that_is_in_the_record(record):
    greeting = record["turns"][0]["agent_text"]
    assert greeting.startswith(f"{DISCLOSURE} Maple Street Bikes, hello.")
    (heard,) = notes(record, "disclosure_heard")
    assert heard["complete"] is True
    assert 1.5 < heard["seconds"] < 8


def test_what_was_told_and_typed_is_not_in_the_record(record):
    kept = json.dumps(record)
    assert "[phone]" in record["turns"][2]["user_text"]
    assert "[phone]" in record["turns"][2]["agent_text"]
    assert record["turns"][3]["user_text"] == "i pressed [keys]"
    assert notes(record, "dtmf") == [{"pressed": 5, "keys": ""}]
    for secret in ("seven three", "4 3 2 1", "4321", "5550177", "0 7 3"):
        assert secret not in kept


def test_nothing_that_is_kept_on_disk_holds_a_secret(folder, record):
    assert record["call"]["caller_number"].startswith("c-")
    for file in (path for path in folder.rglob("*") if path.is_file()):
        if file.suffix in {".wav", ".yaml"}:  # the recording itself, and what the test wrote
            continue
        for secret in (b"5550177", b"seven three five", b"4 3 2 1"):
            assert secret not in file.read_bytes(), file


def test_nothing_that_was_said_is_logged_at_debug_level(folder, record):
    (log,) = (folder / "out").glob("*/worker.log")
    text = log.read_text().lower()
    assert '"level": "debug"' in text
    assert "received user transcript" in text  # the framework does log the event
    told = [turn[name] for turn in record["turns"] for name in ("user_text", "agent_text")]
    assert len([words for words in told if words]) >= 8
    for words in [*filter(None, told), SAID, ASKED, "four zero", "4 0 7", NUMBER[1:], "tune up"]:
        assert words.lower() not in text


def test_a_caller_who_speaks_into_the_disclosure_is_answered_and_not_greeted(tmp_path):
    summary, report = play(tmp_path, INTERRUPTED)
    assert summary["expectations_met"], report
    record = shown(tmp_path, summary)
    (heard,) = notes(record, "disclosure_heard")
    assert heard["complete"] is False
    assert 0.5 < heard["seconds"] < 3.5
    assert "how can i help" not in json.dumps(record["turns"]).lower()
