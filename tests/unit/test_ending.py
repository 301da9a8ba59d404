"""A call ends once, for one reason."""

from __future__ import annotations

import asyncio

from agent.call import EndReason
from agent.ending import Ending


async def test_the_first_reason_wins():
    ending = Ending()
    assert (ending.reason, ending.detail) == (None, "")
    assert ending.decide(EndReason.SILENCE, "third prompt")
    assert not ending.decide(EndReason.CALLER_HANGUP, "later")
    assert (ending.reason, ending.detail) == (EndReason.SILENCE, "third prompt")


async def test_all_who_wait_are_told_and_so_is_who_comes_late():
    ending = Ending()
    waiting = [asyncio.create_task(ending.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    ending.decide(EndReason.TRANSFERRED)
    assert await asyncio.gather(*waiting) == [EndReason.TRANSFERRED] * 2
    assert await ending.wait() is EndReason.TRANSFERRED
