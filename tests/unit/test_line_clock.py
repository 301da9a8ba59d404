import asyncio
import time
from itertools import pairwise

import numpy as np

from plugins.line.clock import Clock
from plugins.line.jitter import JitterBuffer
from tests.line_sounds import silence, tone

QUIET = silence(0.02)
LOUD = tone(0.02)


async def test_a_slow_ticker_does_not_make_the_clock_drift():
    done = asyncio.Event()
    times: list[float] = []

    def tick() -> None:
        times.append(time.perf_counter())
        if len(times) in (5, 10):
            time.sleep(0.07)  # the process is busy for three frames
        if len(times) == 40:
            done.set()

    async with Clock() as clock:
        clock.add(tick)
        await done.wait()
    assert 0.75 <= times[-1] - times[0] <= 0.85
    assert clock.lateness >= 0.045
    assert clock.skipped == 0


async def test_ten_phones_share_a_clock_and_stay_in_step():
    counts = [0] * 10
    done = asyncio.Event()

    def ticker(index: int):
        def tick() -> None:
            counts[index] += 1
            if counts[9] == 10:
                done.set()

        return tick

    tickers = [ticker(index) for index in range(10)]
    async with Clock() as clock:
        for tick in tickers:
            clock.add(tick)
        await done.wait()
        clock.remove(tickers[0])
        clock.remove(tickers[0])
    assert counts == [10] * 10


async def test_other_tasks_run_between_the_ticks_that_are_caught_up():
    order: list[str] = []
    done = asyncio.Event()

    def tick() -> None:
        order.append("tick")
        if len(order) == 1:
            time.sleep(0.1)
        if order.count("tick") == 5:
            done.set()

    async def other() -> None:
        while not done.is_set():
            order.append("task")
            await asyncio.sleep(0)

    async with Clock() as clock:
        clock.add(tick)
        await asyncio.gather(other(), done.wait())
    assert all(pair != ("tick", "tick") for pair in pairwise(order))


async def test_a_suspended_process_skips_time_instead_of_bursting(monkeypatch):
    ticks: list[float] = []
    done = asyncio.Event()

    def tick() -> None:
        ticks.append(time.perf_counter())
        if len(ticks) == 2:
            time.sleep(1.1)
        if len(ticks) == 6:
            done.set()

    async with Clock() as clock:
        clock.add(tick)
        await done.wait()
    assert clock.skipped > 1.0
    assert ticks[5] - ticks[2] > 0.05


def test_frames_come_out_in_order_and_gaps_are_silence():
    buffer = JitterBuffer()
    assert not buffer.take().any()
    assert buffer.underruns == 0  # nothing had ever arrived
    buffer.push(LOUD)
    buffer.push(QUIET)
    assert np.array_equal(buffer.take(), LOUD)
    assert np.array_equal(buffer.take(), QUIET)
    assert not buffer.take().any()
    assert buffer.underruns == 1


def test_a_burst_of_late_frames_loses_its_silence_but_no_speech():
    buffer = JitterBuffer()
    for frame in (LOUD, QUIET, LOUD, QUIET, QUIET, LOUD, LOUD, LOUD):
        buffer.push(frame)
    assert buffer.dropped == 3
    assert buffer.deepest == 5
    assert [bool(buffer.take().any()) for _ in range(5)] == [True] * 5
    assert len(buffer) == 0


def test_three_waiting_frames_are_left_alone():
    buffer = JitterBuffer()
    for _ in range(3):
        buffer.push(QUIET)
    assert (len(buffer), buffer.dropped) == (3, 0)
