"""Providers that are well: the watch and the chains are not heard.

The product's figure is that of `python -m ops bench overhead` (60 ms at most, 50 turns each); the
gate has twice the margin and fewer turns.
"""

from __future__ import annotations

import pytest

from ops.bench import healthy

pytestmark = pytest.mark.acceptance

MOST_OVERHEAD_MS = 120


def test_watch_and_chains_are_not_heard():
    figures = healthy.overhead(16, print)
    assert figures["difference_ms"] <= MOST_OVERHEAD_MS, figures
