"""Providers that are well: the watch and the chains are not heard, and give no false alarm.

The product's figure of latency is that of `python -m ops bench overhead` (60 ms at most, 50 turns
each); the gate has twice the margin and fewer turns. `python -m ops bench slow` places 50 calls
with providers that are well and slow, the gate a few of them.
"""

from __future__ import annotations

import pytest

from ops.bench import healthy

pytestmark = pytest.mark.acceptance

MOST_OVERHEAD_MS = 120


def test_watch_and_chains_are_not_heard():
    figures = healthy.overhead(32, print)
    assert figures["difference_ms"] <= MOST_OVERHEAD_MS, figures


def test_slow_providers_that_are_well_raise_no_false_alarm():
    figures = healthy.slow(10, 5, print)
    assert not figures["fillers"], figures
    assert not figures["failovers"], figures
    assert not figures["not_met"], figures
