"""The circuit breaker: closed, open, half-open."""

from __future__ import annotations

import pytest

from agent.breaker import Breaker, Refused, State


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(3, 10.0, lambda error: isinstance(error, OSError), clock)


def fails(breaker, error=OSError, **how):
    with pytest.raises(error), breaker.passing(**how):
        raise error


def passes(breaker, **how):
    with breaker.passing(**how):
        pass


def opened(breaker):
    for _ in range(3):
        fails(breaker)
    assert breaker.state is State.OPEN


def test_it_opens_after_failures_in_a_row_and_not_before(breaker):
    fails(breaker)
    fails(breaker)
    passes(breaker)
    fails(breaker)
    fails(breaker)
    assert breaker.state is State.CLOSED
    fails(breaker)
    assert breaker.state is State.OPEN
    with pytest.raises(Refused), breaker.passing():
        pytest.fail("it passed")


def test_an_answer_that_nobody_likes_is_an_answer(breaker):
    fails(breaker)
    fails(breaker)
    fails(breaker, ValueError)
    fails(breaker)
    assert breaker.state is State.CLOSED


def test_one_request_tries_it_again_and_closes_it(breaker, clock):
    opened(breaker)
    clock.now += 9.9
    assert breaker.state is State.OPEN
    clock.now += 0.1
    assert breaker.state is State.HALF_OPEN
    with breaker.passing():
        with pytest.raises(Refused), breaker.passing():
            pytest.fail("two at once")
        assert breaker.state is State.OPEN
    assert breaker.state is State.CLOSED
    fails(breaker)
    assert breaker.state is State.CLOSED  # it counts anew


def test_a_trial_that_fails_opens_it_for_as_long_again(breaker, clock):
    opened(breaker)
    clock.now += 10
    fails(breaker)
    clock.now += 9.9
    assert breaker.state is State.OPEN
    clock.now += 0.1
    passes(breaker)
    assert breaker.state is State.CLOSED


def test_a_trial_that_is_given_up_leaves_room_for_the_next(breaker, clock):
    opened(breaker)
    clock.now += 10
    fails(breaker, KeyboardInterrupt)
    assert breaker.state is State.HALF_OPEN
    passes(breaker)
    assert breaker.state is State.CLOSED


def test_what_passes_always_neither_waits_nor_keeps_it_open(breaker, clock):
    opened(breaker)
    clock.now += 9
    fails(breaker, always=True)
    clock.now += 1
    assert breaker.state is State.HALF_OPEN
    fails(breaker, always=True)
    assert breaker.state is State.HALF_OPEN
    passes(breaker, always=True)
    assert breaker.state is State.CLOSED


def test_without_a_number_it_never_opens(clock):
    breaker = Breaker(0, 10.0, lambda _: True, clock)
    for _ in range(100):
        fails(breaker)
    assert breaker.state is State.CLOSED
