"""The calls that go on, and waiting for their end with nobody let in: no step may end one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.errors import StoreError, VoiceAgentError
from agent.ledger import Presence
from agent.pause import Pause
from config.settings import Settings
from ops.front.plane import Plane
from ops.live import MOST, LiveCalls
from ops.recovery.manager import LONGEST
from ops.recovery.situation import is_new

LOOK = 1.0
"""Seconds between two looks whether calls have ended."""

SPARE = 120.0
"""Seconds that admission stays stopped if we are killed while calls are waited for. While something
restarts it is that and the longest that two commands of a manager may take."""


class StillCalls(VoiceAgentError):
    """Calls go on."""


async def going_on(settings: Settings) -> int | None:
    """How many calls go on, over all workers; None: neither Redis nor the call log can tell.

    A call counts unless its worker is known to be gone: one that hangs may go on with its calls.
    """
    if is_new(settings):
        return 0
    plane = Plane.of(settings)
    presence = Presence(settings.data.folder / "run")
    try:
        # Redis forgets a worker that hangs; the call log may not know yet of a call that began.
        live = await LiveCalls(plane).live_calls()
        rows = await plane.database.run(lambda log: log.list_calls(MOST, is_open=True))
    except StoreError:
        return None
    finally:
        await plane.aclose()
    known = {one.call_id for one in live if not presence.is_gone(one.worker_id)}
    held = {row.id for row in rows if not presence.is_gone(row.worker_id)}
    return len(known | held)


@asynccontextmanager
async def drained(
    settings: Settings, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[None]:
    """Stop admission, wait `recovery.drain` seconds at most for calls to end, and let in again.

    Raises StillCalls: then the block did not run.
    """
    pause = Pause(settings.data.folder)
    patience = settings.recovery.drain
    until = clock() + patience
    pause.begin(SPARE)
    try:
        while calls := await going_on(settings):
            pause.begin(SPARE)
            if clock() >= until:
                raise StillCalls(f"{calls} calls go on after {patience:g} s: try again later")
            await asyncio.sleep(LOOK)
        if calls is None:
            raise StillCalls("neither Redis nor the call log can tell whether calls go on")
        pause.begin(SPARE + 2 * LONGEST * settings.recovery.within)
        yield
    finally:
        pause.end()
