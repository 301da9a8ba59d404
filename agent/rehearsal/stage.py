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

from livekit.agents import JobRequest
from livekit.agents.job import JobAcceptArguments
from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent import framework, log
from agent.events import Event, encode
from agent.leg import LINE_METADATA
from agent.worker import VoiceServer
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)


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
        await server.admit(_request(server, room))


def _request(server: VoiceServer, room: Room) -> JobRequest:
    """What LiveKit would ask: a simulated call is admitted as any other."""

    async def accept(_arguments: JobAcceptArguments) -> None:
        await server.simulate_job(room.name, fake_job=True, room_info=room)

    async def reject(terminate: bool) -> None:  # noqa: FBT001 - the framework's way to say it
        logger.warning("nobody picks up", room=room.name, terminate=terminate)

    return JobRequest(job=Job(id=room.sid, room=room), on_reject=reject, on_accept=accept)


def _take_over_output() -> Callable[[dict[str, object]], None]:
    """Keep the standard output for messages: the framework logs to it, and now to the error."""
    output, sys.stdout = sys.stdout, sys.stderr

    def tell(message: dict[str, object]) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    return tell
