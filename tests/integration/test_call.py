"""One simulated call through the whole house: command, worker, job process, line, call log."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from plugins.line import spans
from plugins.line.recording import Recording
from tests.programs import rehearse, run, settings

pytestmark = pytest.mark.clocked

SAID = re.compile(r"\[ *(\d+\.\d+)\] (caller: |agent:  )(.*)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("call")


@pytest.fixture(scope="module")
def rehearsed(folder):
    return rehearse(folder, "--scenario", "opening-hours")


@pytest.fixture(scope="module")
def summary(rehearsed):
    return rehearsed[0]


@pytest.fixture(scope="module")
def record(folder, summary):
    """The call as operators see it."""
    (call_id,) = summary["record_id"]
    return _ops(folder, "show", call_id)


def _ops(folder, *arguments):
    done = run("-m", "ops", "calls", *arguments, "--json", variables=settings(folder), within=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_every_expectation_is_met(rehearsed):
    summary, report = rehearsed
    assert summary["expectations_met"], report
    assert summary["missed"] == []


def test_the_summary_tells_what_was_heard_and_where_it_is_kept(folder, summary):
    assert (summary["calls"], summary["turns"], summary["end_reason"]) == (1, 4, "agent_hangup")
    assert set(summary["heard_latency_ms"]) == {"median", "p95", "max", "turns"}
    assert 0 < summary["heard_latency_ms"]["median"] <= summary["heard_latency_ms"]["max"]
    assert summary["heard_latency_ms"]["p95"] is None  # four turns say nothing about it
    assert len(summary["recording"]) == len(summary["record_id"]) == 1
    (kept,) = (folder / "out").glob("*/summary.json")
    assert json.loads(kept.read_text()) == summary


def test_both_sides_are_audible_in_the_stereo_recording(summary):
    recording = Recording.load(Path(summary["recording"][0]))
    assert recording.duration > 15
    assert len(spans(recording.caller)) >= 4
    assert len(spans(recording.agent)) >= 5  # the greeting, and an answer a turn


def test_the_transcript_and_the_record_tell_the_same(summary, record):
    transcript = Path(summary["recording"][0]).with_suffix(".txt").read_text()
    told = [SAID.fullmatch(line).group(2, 3) for line in transcript.splitlines()]
    kept = [
        (who, text)
        for turn in record["turns"]
        for who, text in (("caller: ", turn["user_text"]), ("agent:  ", turn["agent_text"]))
        if text
    ]
    assert told == kept
    assert len(kept) == 9


def test_the_record_is_complete(summary, record):
    call = record["call"]
    assert (call["end_reason"], call["end_provisional"]) == ("agent_hangup", False)
    assert call["started_at"] < call["answered_at"] < call["ended_at"]
    assert call["turn_count"] == 4
    assert call["caller_number"].startswith("c-")
    assert call["cost"]["total"] == "0"  # the offline voice is free
    assert record["turns"][-1]["tools"] == ["end_call"]
    assert all(turn["latency"] > 0 for turn in record["turns"][1:])
    seqs = [event["seq"] for event in record["events"]]
    assert seqs == sorted(set(seqs))  # with gaps: what is only counted is not kept
    memory = round(call["memory_bytes"] / 1_000_000, 1)
    assert memory == summary["memory_mb"]["job_private"]


def test_operators_see_the_call_in_the_list(folder, record):
    assert _ops(folder, "list") == [record["call"]]


def test_nothing_waits_after_the_call(folder, record):
    data = folder / "data"
    assert list((data / "run").iterdir()) == []
    assert list((data / "spool").glob("*")) == []


def test_job_processes_inherit_what_was_preloaded(folder, record):
    (log,) = (folder / "out").glob("*/worker.log")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(entry["event"] == "process initialized" for entry in records)
    assert not [entry for entry in records if "did not inherit" in entry["event"]]
    assert not [entry for entry in records if entry["level"] in {"error", "critical"}]


def test_every_line_of_the_call_has_its_id(folder, summary):
    (log,) = (folder / "out").glob("*/worker.log")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert {tuple(entry)[:5] for entry in records} == {
        ("timestamp", "level", "logger", "event", "pid")
    }
    (ends,) = [entry for entry in records if entry["event"] == "the call ends"]
    job, (call_id,) = ends["pid"], summary["record_id"]
    at = next(n for n, entry in enumerate(records) if entry.get("call"))
    of_job = [entry for entry in records[at:] if entry["pid"] == job]
    assert {entry.get("call") for entry in of_job} == {call_id}


def test_neither_numbers_nor_words_of_callers_are_in_the_log(folder, record):
    (log,) = (folder / "out").glob("*/worker.log")
    text = log.read_text()
    assert "5550100" not in text
    assert not [turn["user_text"] for turn in record["turns"][1:] if turn["user_text"] in text]
