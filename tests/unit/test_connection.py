"""How the worker comes back to LiveKit: the delays, and the loop on a clock that skips ahead."""

from __future__ import annotations

import asyncio
import random
from itertools import accumulate, islice

import pytest

from agent import connection
from agent.connection import CAP, Connection, delays
from agent.errors import ConnectionLost, LiveKitAway, StartError

NOT_AT_ALL = ConnectionLost("refused")
WRONG_KEY = ConnectionLost("401", status=401)


class Clock:
    """Stands in for `time` and `asyncio.sleep`: what sleeps makes it later at once."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Server:
    """LiveKit as a list of what happens to one attempt after another; then the worker closes."""

    def __init__(self, clock, *fates):
        self.clock, self.fates, self.attempts = clock, list(fates), []

    def take(self, connection):
        self.connection = connection
        return self

    async def __call__(self):
        self.attempts.append(self.clock.now)
        if not self.fates:
            return
        fate = self.fates.pop(0)
        if isinstance(fate, Exception):
            raise fate
        self.connection.registered()
        assert (self.connection.is_registered, self.connection.away_seconds) == (True, 0.0)
        self.clock.now += fate
        raise ConnectionLost("closed")


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(connection, "time", clock)
    monkeypatch.setattr(connection.asyncio, "sleep", clock.sleep)
    return clock


def steady(give_up_after=0.0):
    return Connection(give_up_after, random.Random(1))


@pytest.mark.parametrize("seed", range(20))
def test_delays_grow_to_the_cap_and_are_never_a_storm(seed):
    first = list(islice(delays(random.Random(seed)), 60))
    assert all(0.5 <= delay <= CAP for delay in first)
    for delay, ceiling in zip(first, [1, 2, 4, 8, *[10] * 56], strict=True):
        assert ceiling / 2 <= delay <= ceiling
    moments = [0.0, *accumulate(first)]
    busiest = max(sum(start <= at < start + 60 for at in moments) for start in moments)
    assert busiest <= 15


def test_two_workers_do_not_come_back_at_one_moment():
    one, other = (list(islice(delays(random.Random(seed)), 8)) for seed in (1, 2))
    assert not set(one) & set(other)


async def test_a_server_that_is_away_for_a_day_is_found_again(clock):
    connection = steady()
    server = Server(clock, *[NOT_AT_ALL] * 10_000, 5.0).take(connection)
    await connection.keep(server)
    assert server.attempts[10_000] - server.attempts[0] > 60 * 60 * 10
    assert max(clock.slept) <= CAP


async def test_one_that_takes_the_worker_and_closes_at_once_is_waited_for_as_well(clock):
    connection = steady()
    server = Server(clock, *[0.0] * 30).take(connection)
    await connection.keep(server)
    assert clock.slept[-1] > CAP / 2
    assert sum(at < server.attempts[0] + 60 for at in server.attempts) <= 15


async def test_after_a_steady_registration_the_first_delay_is_short_again(clock):
    connection = steady()
    await connection.keep(Server(clock, *[NOT_AT_ALL] * 9, 31.0).take(connection))
    assert clock.slept[8] >= 5
    assert clock.slept[9] <= 1


async def test_the_time_away_is_told_while_it_lasts(clock):
    connection = steady()
    assert (connection.is_registered, connection.away_seconds) == (False, 0.0)
    server = Server(clock, 100.0, NOT_AT_ALL, NOT_AT_ALL, 1.0).take(connection)
    told = []

    async def connect():
        told.append((connection.is_registered, connection.away_seconds))
        await server()

    await connection.keep(connect)
    away = [0.0, *accumulate(clock.slept[:3]), clock.slept[3]]
    assert [seconds for _, seconds in told] == pytest.approx(away)
    assert not any(registered for registered, _ in told)


async def test_the_worker_gives_up_when_it_was_told_to_and_not_a_second_late(clock):
    connection = steady(give_up_after=42)
    began = clock.now
    with pytest.raises(LiveKitAway, match=r"away for 42 s \(worker.give_up_after is 42\)"):
        await connection.keep(Server(clock, *[NOT_AT_ALL] * 99).take(connection))
    assert clock.now - began == pytest.approx(42)


async def test_patience_begins_anew_with_each_registration(clock):
    connection = steady(give_up_after=20)
    await connection.keep(
        Server(clock, *[NOT_AT_ALL] * 3, 1000.0, *[NOT_AT_ALL] * 3, 1000.0).take(connection)
    )


async def test_a_key_that_was_never_accepted_is_a_mistake_in_the_settings(clock):
    connection = steady()
    with pytest.raises(StartError, match=r"LIVEKIT_API_KEY, LIVEKIT_API_SECRET: .*\(401\)"):
        await connection.keep(Server(clock, NOT_AT_ALL, WRONG_KEY).take(connection))


async def test_a_key_that_was_accepted_once_is_tried_again(clock):
    connection = steady()
    server = Server(clock, 1.0, WRONG_KEY, WRONG_KEY, 1.0).take(connection)
    await connection.keep(server)
    assert len(server.attempts) == 5


async def test_a_server_that_says_nothing_is_left_and_one_that_answered_is_not(monkeypatch, caplog):
    monkeypatch.setattr(connection, "ATTEMPT", 0.05)
    monkeypatch.setattr(connection, "FIRST", 0.01)
    line = steady()
    attempts = []

    async def connect():
        attempts.append(line.is_registered)
        if len(attempts) == 1:
            await asyncio.Event().wait()
        line.registered()
        await asyncio.sleep(0.1)  # longer than an attempt may take: it is one no more

    await line.keep(connect)
    assert attempts == [False, False]
    (record,) = [record for record in caplog.records if record.message == "LiveKit is away"]
    assert record.error == "no answer within 0.05 s"
