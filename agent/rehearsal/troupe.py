"""The worker of a rehearsal: started as a process of its own, fed with simulated calls, heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from agent.errors import StartError
from agent.events import CallEnded, CallOpened, Event, decode
from agent.turn import private_memory
from config.settings import ROOT, environment_with

START_TIMEOUT = 60.0
CLOSE_TIMEOUT = 30.0
LINE_LIMIT = 1 << 20
STAGE = (str(ROOT / "agent.py"), "stage")


class Troupe:
    """One worker process on free ports, without a LiveKit server.

    `listener` is told of every event of every call, with the call's room. `command` is what is
    run with this Python: a worker that takes jobs as `stage` does. Raises StartError when it does
    not start.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        log: Path,
        listener: Callable[[str, Event], None],
        command: Sequence[str] = STAGE,
    ) -> None:
        self._variables = {
            "VOICE_AGENT__WORKER__PORT": "0",
            "VOICE_AGENT__WORKER__ENDPOINTS_PORT": "0",
            **variables,
        }
        self._log = log
        self._command = command
        self._listener = listener
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._rooms: dict[str, str] = {}
        self._events: dict[str, list[Event]] = {}
        self._ended: dict[str, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment_with(self._variables),
                limit=LINE_LIMIT,
                start_new_session=True,  # Ctrl-C is for us: the worker ends when its input does
            )
        self._reading = asyncio.create_task(self._read(), name="rehearsal-events")
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait(
            {ready, self._reading}, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
        )
        if not self._ready.is_set():
            ready.cancel()
            await self._stop()
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            why = last[0].removeprefix("voice-ai: ") if last else "it said nothing"
            raise StartError(f"the worker did not start: {why} (all of it: {self._log})")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def dial(self, room: str, line: Path) -> None:
        """Start a job for `room` whose caller waits on the socket `line`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._events[room], self._ended[room] = [], asyncio.Event()
        order = json.dumps({"room": room, "line": str(line)})
        self._process.stdin.write(order.encode() + b"\n")
        await self._process.stdin.drain()

    async def record_of(self, room: str, within: float) -> list[Event]:
        """The call's events, once its record is closed or `within` seconds have passed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended[room].wait(), within)
        return self._events[room]

    def memory(self) -> dict[str, int]:
        """Private bytes of the main process and of the forkserver, which all jobs share."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        servers = [p for p in main.children() if "forkserver" in " ".join(p.cmdline())]
        return {
            "main": private_memory(main.pid),
            "forkserver": sum(p.memory_info().rss for p in servers),
        }

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "ready" in message:
                self._ready.set()
            else:
                self._hear(decode(json.dumps(message["event"])))

    def _hear(self, event: Event) -> None:
        if isinstance(event, CallOpened):
            self._rooms[event.call_id] = event.room
        room = self._rooms[event.call_id]
        self._events[room].append(event)
        self._listener(room, event)
        if isinstance(event, CallEnded):
            self._ended[room].set()

    async def _stop(self) -> None:
        """Close its input and wait; a worker that does not end is killed."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), CLOSE_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reading:
            await asyncio.wait({self._reading}, timeout=1)
            self._reading.cancel()
