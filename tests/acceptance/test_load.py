"""Ten calls at once on one worker, and what a call costs in memory.

The product's figures: heard latency 1.2 s (p95), private memory of a job process 42 MB with the
offline voice and 50 MB with three provider clients. `python agent.py call --calls 10 --scenario
latency` shows them. The gates leave room for other machines.
"""

from __future__ import annotations

import pytest

from tests.programs import rehearse

pytestmark = pytest.mark.acceptance

P95_MS = 2400
OFFLINE_MB, PROVIDERS_MB = 60, 70

NOBODY = "127.0.0.1:9"
BEHIND_THE_OFFLINE_VOICE = {
    "VOICE_AGENT__SPEECH__STT": "offline,deepgram",
    "VOICE_AGENT__SPEECH__LLM": "offline,openai",
    "VOICE_AGENT__SPEECH__TTS": "offline,cartesia",
    "DEEPGRAM_API_KEY": "not-a-key",
    "OPENAI_API_KEY": "not-a-key",
    "CARTESIA_API_KEY": "not-a-key",
    "VOICE_AGENT__PROVIDERS__DEEPGRAM__BASE_URL": f"http://{NOBODY}/v1/listen",
    "VOICE_AGENT__PROVIDERS__OPENAI__BASE_URL": f"http://{NOBODY}/v1",
    "VOICE_AGENT__PROVIDERS__CARTESIA__BASE_URL": f"http://{NOBODY}",
}
"""Three provider clients that are made and never needed."""


def test_ten_calls_at_once_are_all_answered_soon(tmp_path):
    summary, report = rehearse(tmp_path, "--scenario", "latency", "--calls", "10", within=600)
    print(summary["heard_latency_ms"], summary["memory_mb"])  # noqa: T201 - shown on failure
    assert summary["calls"] == 10
    assert summary["expectations_met"], report
    assert summary["heard_latency_ms"]["p95"] <= P95_MS
    assert summary["memory_mb"]["job_private"] <= OFFLINE_MB


def test_the_clients_of_three_providers_cost_a_call_little(tmp_path):
    summary, report = rehearse(
        tmp_path, "--scenario", "opening-hours", "--calls", "3", **BEHIND_THE_OFFLINE_VOICE
    )
    print(summary["memory_mb"])  # noqa: T201 - shown on failure
    (log,) = (tmp_path / "out").glob("*/worker.log")
    assert "a provider is skipped" not in log.read_text()
    assert summary["expectations_met"], report
    assert summary["memory_mb"]["job_private"] <= PROVIDERS_MB
