"""How an egress is started: once, however often that has to be tried."""

from __future__ import annotations

import asyncio
import random

from livekit import api

from agent import egress, log
from agent.egress import Wanted
from agent.errors import LiveKitError
from agent.livekit import LiveKit

logger = log.get(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
"""Seconds between attempts to start egress: at first, and at most."""


async def started(livekit: LiveKit, wanted: Wanted, message: egress.Request, until: float) -> str:
    """The id of the egress for `wanted`: one that runs already, else a new one.

    Tries until `until` (the loop's time). A request that was not answered may have been carried
    out: it is looked for before the next. Raises LiveKitError.
    """
    pause = FIRST_WAIT
    while True:
        try:
            return await running(livekit, wanted) or await start(livekit, message)
        except LiveKitError as error:
            if not error.may_pass or asyncio.get_running_loop().time() + pause >= until:
                raise
            logger.warning("egress did not start", action="again", error=type(error).__name__)
        await asyncio.sleep(pause * random.uniform(0.7, 1.0))
        pause = min(2 * pause, LONGEST_WAIT)


async def running(livekit: LiveKit, wanted: Wanted) -> str:
    """The id of an egress that runs for `wanted` already, or nothing."""
    asked = api.ListEgressRequest(room_name=wanted.room, active=True)
    listed = await livekit.egress.list_egress(asked)
    ours = [info.egress_id for info in listed.items if egress.named_in(info) == wanted.id]
    return str(ours[0]) if ours else ""


async def start(livekit: LiveKit, message: egress.Request) -> str:
    """Start an egress, once: its id. Not safe to repeat."""
    info = await getattr(livekit.egress, egress.METHODS[type(message)])(message)
    return str(info.egress_id)
