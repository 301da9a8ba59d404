"""The estimate of MOS against the E-model's own landmarks."""

from __future__ import annotations

import pytest

from agent.quality import EVERY, Counters, Link, Meter, mos


def test_a_perfect_line_is_as_good_as_a_telephone_gets():
    # G.107: R = 93.2 is a MOS of 4.41; 41 ms of delay cost one point of R.
    assert mos(Link(loss=0, jitter=0)) == pytest.approx(4.40, abs=0.02)


def test_loss_at_the_robustness_factor_halves_what_can_be_lost():
    # Ie_eff = 95 / 2 at 25.1 %: R is about 44.7, MOS about 2.3.
    assert mos(Link(loss=0.251, jitter=0)) == pytest.approx(2.3, abs=0.05)


def test_delay_hurts_little_below_177_ms_and_much_above():
    near, far, farther = (mos(Link(0, 0, seconds)) for seconds in (0.1, 0.25, 0.6))
    assert near - far < 0.1
    assert far - farther > 0.4


@pytest.mark.parametrize("field", ["loss", "jitter", "round_trip"])
def test_it_never_gets_better_when_the_line_gets_worse(field):
    usual = {"loss": 0.01, "jitter": 0.005, "round_trip": 0.05}
    scores = [mos(Link(**{**usual, field: step / 50})) for step in range(50)]
    assert scores == sorted(scores, reverse=True)
    assert all(1.0 <= score <= 4.5 for score in scores)


def test_packets_that_come_late_after_all_are_not_lost():
    meter = Meter()
    assert meter.counted(Counters(100, 50), 0.0) is None
    assert meter.counted(Counters(600, 10), EVERY) == Link(0.0, 0.0)
