"""The worker of simulated calls (`agent.py stage`), with link statistics played into its calls."""

from __future__ import annotations

import asyncio

from agent import framework
from agent.rehearsal.stage import ROOMS, serve, take_over_output
from agent.start import check_ring, prepare
from agent.worker import VoiceServer

LINKS = "tests.observed.links"


async def play() -> None:
    """Serve until the input ends."""
    settings, personas = prepare(None)
    tell = take_over_output()
    framework.log_as_json(settings.log.level)
    framework.make_lean()
    server = VoiceServer(
        settings,
        personas,
        tell.event,
        preload_modules=[ROOMS, LINKS],
        ring=check_ring(settings),  # it deletes the rooms of jobs that are killed
    )
    await serve(server, tell)


if __name__ == "__main__":
    asyncio.run(play())
