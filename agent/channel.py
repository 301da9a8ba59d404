"""Events from job processes to their worker, over a Unix socket. One line of JSON an event.

A job sends what happens in its call; the worker acknowledges what is durable. What is not
acknowledged when the socket breaks goes to the spool. End of file without a goodbye means that
the job was killed: the worker closes its record at once. A job may also ask: the worker knows
what all of its calls share. Unasked, the worker tells which providers are not up: all that it
knows at the beginning, then each change.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import log, tasks
from agent.availability import Availability, State
from agent.events import CallEnded, CallOpened, Event, decode, encode
from agent.spool import Spool

logger = log.get(__name__)

BYE = b'{"bye":true}\n'
ASK = b'{"ask":'
"""How a line begins that is a question and no event."""
NUMBER = "number_of_question"
"""A question carries it, and its answer: one that comes too late is not that to the next."""

LINE_LIMIT = 1 << 20
"""The longest line in bytes: a turn of many minutes of speech fits many times."""


Answer = Callable[[Mapping[str, Any]], Awaitable[str]]
"""What the worker says to a job's question."""

Standing = tuple[str, str, State]
"""How it stands with a provider: kind, name, state."""


class Channel:
    """A job's end. `send` never blocks and never fails: what the worker misses is spooled."""

    def __init__(self, call_id: str, spool: Spool, worker_id: str) -> None:
        self._call_id = call_id
        self._spool = spool
        self._worker_id = worker_id
        self._unacknowledged: dict[int, str] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[str] | None = None
        self._asked = 0
        self._availability: Availability | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    @classmethod
    async def open(cls, path: Path, call_id: str, spool: Spool, worker_id: str = "") -> Channel:
        """Connect to the worker's socket at `path`. Without a worker, all events are spooled.

        `worker_id` names the worker in the spool, so that its calls can be closed after it.
        """
        channel = cls(call_id, spool, worker_id)
        try:
            reader, channel._writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            logger.warning("no worker on the event channel", action="spool", error=str(error))
            return channel
        channel._reading = tasks.spawn(channel._read(reader), "channel-acks")
        return channel

    def inform(self, availability: Availability) -> None:
        """Let `availability` learn what the worker tells of providers. Directly after `open`."""
        self._availability = availability

    def send(self, event: Event) -> None:
        """Hand one event over, in order."""
        line = encode(event)
        if self._writer is None:
            self._keep([line])
            return
        self._unacknowledged[event.seq] = line
        self._settled.clear()
        self._writer.write(line.encode() + b"\n")

    async def ask(self, question: Mapping[str, Any], timeout: float = 1.0) -> str | None:  # noqa: ASYNC109 - as above
        """The worker's answer, one question at a time; None when there is none in time."""
        if self._writer is None:
            return None
        self._answer = asyncio.get_running_loop().create_future()
        self._asked += 1
        asked = json.dumps({**question, NUMBER: self._asked})
        self._writer.write(ASK + asked.encode() + b"}\n")
        try:
            return await asyncio.wait_for(self._answer, timeout)
        except TimeoutError:
            return None

    async def aclose(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - a bound of its own
        """Wait until all is acknowledged (at most `timeout` seconds), say goodbye, close."""
        try:
            await asyncio.wait_for(self._settled.wait(), timeout)
        except TimeoutError:
            logger.warning("events were not acknowledged in time", action="spool")
        await tasks.end(self._reading)
        writer, self._writer = self._writer, None
        self._spool_the_rest()
        if writer is None:
            return
        try:
            writer.write(BYE)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            logger.debug("the worker left before the goodbye")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            async for line in reader:
                told = json.loads(line)
                if "provider" in told:
                    self._learn(*told["provider"])
                    continue
                if told.get(NUMBER) == self._asked and self._answer and not self._answer.done():
                    self._answer.set_result(told["answer"])
                self._unacknowledged.pop(told.get("ack"), None)
                if not self._unacknowledged:
                    self._settled.set()
        except OSError as error:
            logger.debug("the event channel broke", error=str(error))
        logger.warning("the worker is gone", action="spool")
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._spool_the_rest()

    def _learn(self, kind: str, provider: str, state: str) -> None:
        if self._availability is not None:
            self._availability.learn(kind, provider, State(state))

    def _spool_the_rest(self) -> None:
        if self._unacknowledged:
            self._keep(list(self._unacknowledged.values()))
            self._unacknowledged.clear()
        self._settled.set()

    def _keep(self, lines: list[str]) -> None:
        try:
            self._spool.append(self._call_id, lines, self._worker_id)
        except OSError as error:
            # The call goes on: a caller is worth more than a record that no disk takes.
            logger.critical("events are lost", events=len(lines), error=str(error))


@dataclass(slots=True)
class Conversation:
    """What the worker knows of one connected job."""

    call_id: str = ""
    room: str = ""
    pid: int = 0
    ended: bool = False
    said_goodbye: bool = False


class ChannelServer:
    """The worker's end. `sink` returns when an event is durable; `lost` hears of killed jobs."""

    def __init__(
        self,
        path: Path,
        sink: Callable[[Event], Awaitable[None]],
        lost: Callable[[Conversation], Awaitable[None]],
        answer: Answer | None = None,
        outages: Callable[[], Iterable[Standing]] = tuple,
    ) -> None:
        """`outages` are the providers that a job must know of from its start."""
        self._path = path
        self._sink = sink
        self._lost = lost
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._outages = outages
        self._writers: set[asyncio.StreamWriter] = set()

    def tell(self, kind: str, provider: str, state: State) -> None:
        """Tell all jobs how it stands with a provider."""
        for writer in self._writers:
            _tell(writer, (kind, provider, state))

    async def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        self._server = await asyncio.start_unix_server(self._accept, self._path, limit=LINE_LIMIT)
        self._path.chmod(0o600)

    async def aclose(self) -> None:
        """Stop listening, and end the conversations that are still open."""
        if self._server is None:
            return
        self._server.close()
        await tasks.end(*self._handlers)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = tasks.spawn(self._serve(reader, writer), "channel-job")
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        job = Conversation()
        for standing in self._outages():
            _tell(writer, standing)
        self._writers.add(writer)
        try:
            await self._converse(job, reader, writer)
        except OSError as error:
            logger.debug("a job's channel broke", call=job.call_id, error=str(error))
        finally:
            self._writers.discard(writer)
            writer.close()
        if job.call_id and not (job.said_goodbye or job.ended):
            await self._lost(job)

    async def _converse(
        self, job: Conversation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        reading = tasks.spawn(_read_ahead(reader, lines), "channel-read")
        replying: asyncio.Task[None] | None = None
        try:
            while line := await lines.get():
                if line == BYE:
                    job.said_goodbye = True
                    return
                if line.startswith(ASK):
                    # Beside the events, since an answer may take its time; one at a time.
                    await tasks.end(replying)
                    replying = tasks.spawn(self._reply(line, writer), "channel-reply")
                    continue
                try:
                    event = decode(line)
                except ValueError as error:
                    logger.error("a job sent what is not an event", error=str(error))
                    continue
                job.call_id = event.call_id
                if isinstance(event, CallOpened):
                    job.room, job.pid = event.room, event.pid
                job.ended = job.ended or isinstance(event, CallEnded)
                try:
                    await self._sink(event)
                except (OSError, ValueError) as error:
                    logger.error(
                        "an event could not be kept",
                        call=event.call_id,
                        action="no answer",
                        error=str(error),
                    )
                    continue
                if not writer.is_closing():
                    writer.write(b'{"ack":%d}\n' % event.seq)
        finally:
            await tasks.end(reading, replying)

    async def _reply(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            question = json.loads(line)["ask"]
            number = question.pop(NUMBER)
            answer = await self._answer(question) if self._answer else ""
        except (LookupError, TypeError, ValueError) as error:
            logger.error("a job asked what is no question", error=type(error).__name__)
            return
        if not writer.is_closing():
            writer.write(json.dumps({"answer": answer, NUMBER: number}).encode() + b"\n")


def _tell(writer: asyncio.StreamWriter, standing: Standing) -> None:
    if not writer.is_closing():
        writer.write(json.dumps({"provider": standing}).encode() + b"\n")


async def _read_ahead(reader: asyncio.StreamReader, lines: asyncio.Queue[bytes]) -> None:
    """Take what a job sent off the stream at once, b"" at its end.

    A job that is killed resets the connection, and a stream that is reset drops what it holds.
    """
    try:
        async for line in reader:
            lines.put_nowait(line)
    except (OSError, ValueError) as error:
        logger.debug("a job's channel broke", error=str(error))
    lines.put_nowait(b"")
