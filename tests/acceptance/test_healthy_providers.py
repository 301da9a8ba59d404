"""Providers that are well: no false alarm where they are slow, no cost where they are fast.

The product's figures are those of `python -m ops bench slow` (no filler, no failover in 50 calls)
and `overhead` (60 ms at most); the gate of the second has twice the margin and fewer turns.
"""

from __future__ import annotations

import pytest

from ops.bench import healthy

pytestmark = pytest.mark.acceptance

MOST_OVERHEAD_MS = 120


def test_fifty_calls_with_slow_providers_have_no_filler_and_no_failover():
    figures = healthy.slow(50, 8, print)
    assert figures["calls"] == 50
    assert (figures["fillers"], figures["failovers"]) == (0, 0), figures


def test_watch_and_chains_are_not_heard():
    figures = healthy.overhead(16, print)
    assert figures["difference_ms"] <= MOST_OVERHEAD_MS, figures
