"""Jobs of a burst start a few at a time, first come first served; nobody is kept for long."""

from __future__ import annotations

import asyncio

import pytest

from agent import turnstile
from agent.turnstile import Turnstile


class Door:
    """A turnstile, and who has got through it."""

    def __init__(self, at_once=2):
        self.through, self.bursts = [], []
        self.turnstile = Turnstile(self.bursts.append, at_once)
        self.tasks = {}

    async def come(self, *jobs):
        for job in jobs:
            self.tasks[job] = asyncio.create_task(self._enter(job))
            await asyncio.sleep(0)

    async def _enter(self, job):
        await self.turnstile.enter(job)
        self.through.append(job)

    async def leave(self, job):
        self.turnstile.leave(job)
        for _ in range(5):
            await asyncio.sleep(0)

    async def all(self):
        await asyncio.wait_for(asyncio.gather(*self.tasks.values()), 5)


@pytest.fixture
async def door():
    door = Door()
    yield door
    door.turnstile.close()
    for task in door.tasks.values():
        task.cancel()
    await asyncio.gather(*door.tasks.values(), return_exceptions=True)


async def test_as_many_as_there_is_room_for_start_and_the_others_follow_in_their_order(door):
    await door.come("a", "b", "c", "d")
    assert door.through == ["a", "b"]
    await door.leave("b")
    assert door.through == ["a", "b", "c"]
    await door.leave("a")
    assert door.through == ["a", "b", "c", "d"]


async def test_who_leaves_twice_makes_room_once(door):
    await door.come("a", "b", "c", "d")
    await door.leave("a")
    await door.leave("a")
    await door.leave("never came")
    assert door.through == ["a", "b", "c"]


async def test_whoever_comes_later_does_not_pass_those_who_wait(door):
    await door.come("a", "b", "c")
    door.turnstile.leave("a")
    await door.come("d")
    await door.leave("nobody")
    assert door.through == ["a", "b", "c"]


async def test_a_start_that_takes_long_keeps_nobody_any_longer(door, monkeypatch):
    monkeypatch.setattr(turnstile, "HELD", 0.05)
    await door.come("a", "b", "c", "d")
    await door.all()
    assert door.through == ["a", "b", "c", "d"]


async def test_nobody_waits_for_longer_than_the_bound(door, monkeypatch, caplog):
    monkeypatch.setattr(turnstile, "LONGEST", 0.05)
    await door.come("a", "b", "c")
    await door.all()
    assert door.through == ["a", "b", "c"]
    assert "a job did not get its turn in time" in caplog.messages


async def test_who_is_gone_while_waiting_takes_no_turn(door):
    await door.come("a", "b", "c", "d")
    door.tasks["c"].cancel()
    await asyncio.sleep(0)
    await door.leave("a")
    assert door.through == ["a", "b", "d"]


async def test_a_burst_is_told_once_and_is_over_after_a_rest(monkeypatch):
    monkeypatch.setattr(turnstile, "REST", 0.05)
    told = asyncio.Queue()
    gate = Turnstile(told.put_nowait, 2)
    gate.expect()
    gate.expect()
    assert [await asyncio.wait_for(told.get(), 5) for _ in range(2)] == [True, False]
    gate.expect()
    assert await asyncio.wait_for(told.get(), 5) is True
    gate.close()


async def test_a_burst_that_does_not_end_is_taken_to_be_over_for_a_moment(monkeypatch):
    monkeypatch.setattr(turnstile, "LONGEST_BURST", 0.05)
    told = asyncio.Queue()
    gate = Turnstile(told.put_nowait, 2)
    gate.expect()
    assert [await asyncio.wait_for(told.get(), 5) for _ in range(2)] == [True, False]
    gate.close()


async def test_without_a_number_there_is_room_for_one_at_least():
    gate = Turnstile(lambda _: None)
    await asyncio.wait_for(gate.enter("a"), 1)
    gate.close()
