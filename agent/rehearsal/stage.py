"""The worker of `call`: the same house, unregistered, taking simulated jobs from its input.

One JSON object a line. In: `{"room": ..., "line": PATH}` starts a job; end of input ends the
worker. Out: `{"ready": {...}}` once, then `{"event": {...}}` for every event of every call.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from uuid import uuid4

from livekit.protocol.models import Room

from agent import framework
from agent.events import Event, encode
from agent.leg import LINE_METADATA
from agent.worker import VoiceServer
from config.persona import Persona
from config.settings import Settings


async def play(settings: Settings, personas: dict[str, Persona]) -> int:
    """Serve simulated calls until the input ends; the exit code."""
    tell = _take_over_output()
    framework.log_as_json(settings.log.level)
    framework.make_lean()

    def observe(event: Event) -> None:
        tell({"event": json.loads(encode(event))})

    server = VoiceServer(settings, personas, observe, preload_modules=["agent.rehearsal.rooms"])
    server.on("worker_started", lambda: tell({"ready": {"pid": os.getpid()}}))
    running = asyncio.create_task(server.run(unregistered=True), name="worker")
    taking = asyncio.create_task(_take_jobs(server), name="stage-input")
    await asyncio.wait({running, taking}, return_when=asyncio.FIRST_COMPLETED)
    await server.aclose()
    taking.cancel()
    await asyncio.gather(running, taking, return_exceptions=True)
    return server.exit_code


async def _take_jobs(server: VoiceServer) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        asked = json.loads(line)
        room = Room(
            sid=f"RM_{uuid4().hex[:12]}",
            name=asked["room"],
            metadata=json.dumps({LINE_METADATA: asked["line"]}),
        )
        await server.simulate_job(asked["room"], fake_job=True, room_info=room)


def _take_over_output() -> Callable[[dict[str, object]], None]:
    """Keep the standard output for messages: the framework logs to it, and now to the error."""
    output, sys.stdout = sys.stdout, sys.stderr

    def tell(message: dict[str, object]) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    return tell
