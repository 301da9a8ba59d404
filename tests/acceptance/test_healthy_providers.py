"""Providers that are well: the watch and the chains are not heard, and give no false alarm.

The product's figure of latency is that of `python -m ops bench overhead` (60 ms at most, 50 turns
each); the gate has twice the margin and fewer turns. `python -m ops bench slow` places 50 calls
with providers that are well and slow, the gate a few of them: a busy machine may add to the wait
what brings a filler, never so much that a provider is given up.
"""

from __future__ import annotations

import pytest

from ops.bench import healthy

pytestmark = pytest.mark.acceptance

MOST_OVERHEAD_MS = 120
MOST_FILLERS = 2
"""Of the 24 turns of the gate."""


def test_watch_and_chains_are_not_heard():
    figures = healthy.overhead(16, print)
    assert figures["difference_ms"] <= MOST_OVERHEAD_MS, figures


def test_slow_providers_that_are_well_raise_no_false_alarm():
    figures = healthy.slow(6, 3, print)
    assert figures["fillers"] <= MOST_FILLERS, figures
    assert not figures["failovers"], figures
    assert not figures["not_met"], figures
