"""The caller's end of the phone line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from plugins.line import g711, wire
from plugins.line.clock import Clock
from plugins.line.g711 import FRAME, RATE, Samples
from plugins.line.hearing import amplitude
from plugins.line.jitter import JitterBuffer
from plugins.line.recording import Recording
from plugins.line.wire import Ended, Frame, Hello, Kind, LineError, TransferResult, WireError

logger = logging.getLogger(__name__)

_NOISE_SECONDS = 3
_FAREWELL = 1.0
"""Seconds for the job to close its end after a call."""


class NoAnswer(LineError):
    """Nobody answered the call in time."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a caller does within one 20 ms frame: 160 samples, keys pressed, perhaps hanging up."""

    samples: Samples
    digits: str = ""
    hang_up: bool = False


class Person(Protocol):
    """Whoever holds the phone."""

    def tick(self, heard: Samples) -> Moment:
        """The next 20 ms, knowing what was heard in the last ones (160 samples)."""
        ...


class Phone:
    """One call: listens on a Unix socket of its own, and speaks for a `Person` once answered.

    `path` is what the job connects to. `ended` is done with an `Ended` when the call is over (or
    with the error that the person raised). `recording` starts at the answer, which was at
    `answered_at` (time.time()). White noise at `noise_dbfs` (RMS) lies under the caller's side.
    A transfer is answered after `transfer_after` seconds.
    """

    def __init__(
        self,
        clock: Clock,
        person: Person,
        hello: Hello,
        *,
        noise_dbfs: float = -60.0,
        transfer: TransferResult = TransferResult(ok=True, code=202),  # noqa: B008 - frozen
        transfer_after: float = 0.0,
    ) -> None:
        self.recording = Recording()
        self.jitter = JitterBuffer()
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.answered_at: float | None = None
        self.transferred_to: str | None = None
        self.keys_heard = ""
        self._clock, self._person, self._hello = clock, person, hello
        self._transfer, self._transfer_after = transfer, transfer_after
        self._noise = _white_noise(noise_dbfs)
        self._ticks = 0
        self._answered = asyncio.Event()
        self._drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._playing = np.zeros(FRAME, np.int16)
        self._agent_hung_up = False
        self._writer: asyncio.StreamWriter | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="line-"))  # created with mode 0700
        self._server: asyncio.Server | None = None

    @property
    def path(self) -> Path:
        """The Unix socket."""
        return self._folder / "phone"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._picked_up, self.path)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(Ended.CALLER_HANGUP)
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            # Closing with unread frames would reset the line before the job has read HANGUP.
            await asyncio.wait((self._drained,), timeout=_FAREWELL)
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def ring(self, within: float = 20.0) -> None:
        """Wait until the call is answered. Raises NoAnswer after `within` seconds."""
        answered = asyncio.ensure_future(self._answered.wait())
        await asyncio.wait(
            (answered, self.ended), timeout=within, return_when=asyncio.FIRST_COMPLETED
        )
        answered.cancel()
        if not self._answered.is_set():
            self._end(Ended.CALLER_HANGUP)
            raise NoAnswer

    def hang_up(self) -> None:
        """The caller ends the call; nothing happens if it is over."""
        self._end(Ended.CALLER_HANGUP)

    async def _picked_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from HELLO to its end; a second one is turned away."""
        if self._writer is not None or self.ended.done():
            writer.close()
            return
        self._writer = writer
        self._send(wire.encode_json(Kind.HELLO, self._hello))
        try:
            async for frame in wire.read(reader):
                self._take(frame)
        except (WireError, ConnectionError) as error:
            logger.warning("the line broke", extra={"action": "line_broken", "error": str(error)})
        finally:
            self._drained.set_result(None)
        if not self._agent_hung_up:
            self._end(Ended.LOST)

    def _take(self, frame: Frame) -> None:
        if self.ended.done():
            return
        match frame.kind:
            case Kind.ANSWER if self.answered_at is None:
                self.answered_at = time.time()
                self._answered.set()
                self._clock.add(self._tick)
            case Kind.AUDIO:
                self.jitter.push(g711.decode(frame.payload, self._hello.law))
            case Kind.HANGUP:
                self._agent_hung_up = True
                if self.answered_at is None:
                    self._end(Ended.AGENT_HANGUP)
            case Kind.DTMF:
                self.keys_heard += wire.digit(frame)
            case Kind.TRANSFER:
                self.transferred_to = wire.transfer_to(frame)
                loop = asyncio.get_running_loop()
                loop.call_later(self._transfer_after, self._settle_transfer)

    def _settle_transfer(self) -> None:
        if self.ended.done():
            return
        self._send(wire.encode_json(Kind.TRANSFER_RESULT, self._transfer))
        if self._transfer.ok:
            self._end(Ended.TRANSFERRED)

    def _tick(self) -> None:
        """20 ms of the call: hear, speak, record.

        As in a real phone, what is sent now was spoken in the last 20 ms, and what has arrived
        by now is heard in the next: the two differ by one frame in the recording.
        """
        heard, over = self._playing, self._agent_hung_up and not self.jitter
        self._playing = self.jitter.take()
        try:
            moment = self._person.tick(heard)
        except Exception as error:  # noqa: BLE001 - the border of a call: others share the clock
            self._fail(error)
            return
        codes = g711.encode(self._with_noise(moment.samples), self._hello.law)
        self.recording.append(g711.decode(codes, self._hello.law), heard)
        self._send(wire.encode(Kind.AUDIO, codes))
        for digit in moment.digits:
            self._send(wire.encode(Kind.DTMF, digit.encode()))
        if over:
            self._end(Ended.AGENT_HANGUP)
        elif moment.hang_up:
            self._end(Ended.CALLER_HANGUP)

    def _with_noise(self, samples: Samples) -> Samples:
        start = self._ticks * FRAME % len(self._noise)
        self._ticks += 1
        mixed = samples.astype(np.int32) + self._noise[start : start + FRAME]
        clipped: Samples = np.clip(mixed, -32768, 32767).astype(np.int16)
        return clipped

    def _send(self, data: bytes) -> None:
        """Without waiting: the job reads in step or it is lost, and then the call is over."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
        self._leave(Ended.CALLER_HANGUP)

    def _end(self, how: Ended) -> None:
        if not self.ended.done():
            self.ended.set_result(how)
            self._leave(how)

    def _leave(self, how: Ended) -> None:
        self._clock.remove(self._tick)
        self._send(wire.encode(Kind.HANGUP, how.encode()))
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write_eof()


def _white_noise(dbfs: float) -> Samples:
    noise = np.random.default_rng().normal(0.0, amplitude(dbfs), _NOISE_SECONDS * RATE)
    samples: Samples = np.clip(np.rint(noise), -32768, 32767).astype(np.int16)
    return samples
