"""The worker of `call`: the same house, unregistered, taking simulated jobs from its input.

One JSON object a line. In: `{"room": ..., "line": PATH}` starts a job; end of input ends the
worker. Out: `{"ready": {...}}` once, then `{"event": {...}}` for every event of every call.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TextIO
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

ROOMS = "agent.rehearsal.rooms"
"""What the forkserver must load besides."""


async def play(settings: Settings, personas: dict[str, Persona]) -> int:
    """Serve simulated calls until the input ends; the exit code."""
    tell = take_over_output()
    framework.log_as_json(settings.log.level)
    framework.make_lean()
    server = VoiceServer(settings, personas, tell.event, preload_modules=[ROOMS])
    await serve(server, tell)
    return server.exit_code


async def serve(server: VoiceServer, tell: Tell) -> None:
    """Run `server`, unregistered, on jobs from the standard input until that ends."""
    server.on("worker_started", lambda: tell({"ready": {"pid": os.getpid()}}))
    running = asyncio.create_task(server.run(unregistered=True), name="worker")
    taking = asyncio.create_task(_take_jobs(server), name="stage-input")
    await asyncio.wait({running, taking}, return_when=asyncio.FIRST_COMPLETED)
    await server.aclose()
    taking.cancel()
    await asyncio.gather(running, taking, return_exceptions=True)


class Tell:
    """Writes messages to whoever started this process."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def __call__(self, message: dict[str, object]) -> None:
        """One message."""
        self._output.write(json.dumps(message) + "\n")
        self._output.flush()

    def event(self, event: Event) -> None:
        """An event of a call."""
        self({"event": json.loads(encode(event))})


def take_over_output() -> Tell:
    """Keep the standard output for messages: the framework logs to it, and now to the error."""
    output, sys.stdout = sys.stdout, sys.stderr
    return Tell(output)


async def _take_jobs(server: VoiceServer) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        asked = json.loads(line)
        room = Room(
            sid=f"SRM_{uuid4().hex[:12]}",
            name=asked["room"],
            metadata=json.dumps({LINE_METADATA: asked["line"]}),
        )
        await server.admit(_request(server, room))


def _request(server: VoiceServer, room: Room) -> JobRequest:
    """What LiveKit would ask: a simulated call is admitted as any other."""
    job = Job(id=f"AJ_{uuid4().hex[:12]}", room=room)

    async def accept(_arguments: JobAcceptArguments) -> None:
        await server.simulate(job)

    async def reject(terminate: bool) -> None:  # noqa: FBT001 - the framework's way to say it
        logger.warning("nobody picks up", room=room.name, terminate=terminate)

    return JobRequest(job=job, on_reject=reject, on_accept=accept)
