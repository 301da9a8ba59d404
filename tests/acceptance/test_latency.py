"""How soon the agent is heard, in the settings in which all scenarios are met.

The product's figures are 600 ms (median) and 1.0 s (p95): `python agent.py call --scenario latency
--repeat 8` shows them. The gate has twice the margin, for machines that do other things too.
"""

from __future__ import annotations

import pytest

from tests.programs import rehearse

pytestmark = pytest.mark.acceptance

TURNS = 60
MEDIAN_MS, P95_MS = 1200, 2000


def test_answers_are_heard_soon(tmp_path):
    summary, report = rehearse(tmp_path, "--scenario", "latency", "--repeat", "8", within=900)
    figures = summary["heard_latency_ms"]
    print(figures, summary["memory_mb"])  # noqa: T201 - shown with -s, and when the test fails
    assert figures["turns"] >= TURNS
    assert figures["median"] <= MEDIAN_MS
    assert figures["p95"] <= P95_MS
    assert summary["expectations_met"], report
