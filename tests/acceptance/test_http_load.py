"""How much one `ops serve` bears: half of what the bench asks, since machines of CI are slow."""

from __future__ import annotations

import json

import pytest

from tests.programs import PATIENCE, run, settings

pytestmark = [pytest.mark.acceptance, pytest.mark.needs("wrk")]


def test_tokens_are_given_fast_and_without_errors(tmp_path):
    bench = ("-m", "ops", "bench", "tokens", "--seconds", "10", "--no-keep", "--json")
    done = run(*bench, variables=settings(tmp_path), within=2 * PATIENCE)
    figures = json.loads(done.stdout)
    assert figures["per_second"] >= 1000 / 2
    assert figures["p95_ms"] < 60 * 2
    assert figures["errors_percent"] < 1
