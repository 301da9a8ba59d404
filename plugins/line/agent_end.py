"""The job's end of the phone line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from plugins.line import g711, wire
from plugins.line.audio_input import LineInput
from plugins.line.audio_output import LineOutput
from plugins.line.wire import Ended, Frame, Hello, Kind, LineError, TransferResult, WireError

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 5.0
"""Seconds for the phone to say HELLO."""


class TransferRefused(LineError):
    """The phone refused the transfer. `code` is the SIP status."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the transfer was refused with {code}")
        self.code = code


class TransferTimeout(LineError):
    """The phone did not say what became of the transfer in time."""


class LineGone(LineError):
    """The call on the line is over."""


class Line:
    """One call, as the job sees it: `input` hears the caller, `output` speaks to the caller.

    For every frame from the phone exactly one goes back, so the phone's clock drives both ways
    and the job needs no timer. `left` is done with an `Ended` as soon as the call is over,
    whoever ended it.
    """

    def __init__(
        self, hello: Hello, frames: AsyncIterator[Frame], writer: asyncio.StreamWriter
    ) -> None:
        self.hello = hello
        self.input = LineInput()
        self.output = LineOutput()
        self.left: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._frames = frames
        self._writer = writer
        self._digits: list[Callable[[str], None]] = []
        self._transfer: asyncio.Future[TransferResult] | None = None
        self._reader = asyncio.create_task(self._read(), name="line-reader")

    @classmethod
    async def connect(cls, path: str | Path) -> Line:
        """Pick up the line at a Unix socket. Raises LineError if no phone is there."""
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(str(path))
                with contextlib.ExitStack() as undo:
                    undo.callback(writer.close)
                    frames = wire.read(reader)
                    hello = wire.hello(await anext(frames))
                    undo.pop_all()
        except TimeoutError as error:
            raise LineError(f"the phone at {path} said nothing in {_CONNECT_TIMEOUT} s") from error
        except (OSError, StopAsyncIteration) as error:
            raise LineError(f"no phone at {path}: {error}") from error
        return cls(hello, frames, writer)

    async def answer(self) -> None:
        """The phone stops ringing and both sides hear each other. Raises LineGone."""
        await self._send(wire.encode(Kind.ANSWER))

    async def hangup(self) -> None:
        """End the call. What was sent before is still heard; nothing happens if it is over."""
        if self.left.done():
            return
        with contextlib.suppress(LineGone):
            await self._send(wire.encode(Kind.HANGUP))
        self._over(Ended.AGENT_HANGUP)

    async def press(self, key: str) -> None:
        """Press one key for whoever is at the phone. Raises LineGone."""
        await self._send(wire.encode(Kind.DTMF, key.encode()))

    async def transfer(self, to: str, within: float = 10.0) -> None:
        """Hand the caller over to `to` (E.164 or a SIP URI); the call ends here when it worked.

        Raises TransferRefused, TransferTimeout after `within` seconds, LineGone.
        """
        self._transfer = asyncio.get_running_loop().create_future()
        await self._send(wire.encode_json(Kind.TRANSFER, {"to": to}))
        await asyncio.wait(
            (self._transfer, self.left), timeout=within, return_when=asyncio.FIRST_COMPLETED
        )
        if not self._transfer.done():
            raise LineGone if self.left.done() else TransferTimeout
        result = self._transfer.result()
        if not result.ok:
            raise TransferRefused(result.code)

    def on_dtmf(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with each key that the caller presses."""
        self._digits.append(callback)

    async def aclose(self) -> None:
        """Let go of the line. For the phone, a call that was not hung up is lost."""
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        self._over(Ended.LOST)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        try:
            async for frame in self._frames:
                await self._take(frame)
        except (WireError, ConnectionError, LineGone) as error:
            logger.warning("the line broke", extra={"action": "line_broken", "error": str(error)})
        self._over(Ended.LOST)

    async def _take(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.AUDIO if not self.left.done():
                self.input.hear(g711.decode(frame.payload, self.hello.law))
                said = g711.encode(self.output.play(), self.hello.law)
                await self._send(wire.encode(Kind.AUDIO, said))
            case Kind.DTMF:
                key = wire.digit(frame)
                for callback in self._digits:
                    callback(key)
            case Kind.TRANSFER_RESULT if self._transfer and not self._transfer.done():
                self._transfer.set_result(wire.transfer_result(frame))
            case Kind.HANGUP:
                self._over(wire.ended(frame))

    async def _send(self, data: bytes) -> None:
        if self.left.done():
            raise LineGone
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError as error:
            raise LineGone from error

    def _over(self, how: Ended) -> None:
        if self.left.done():
            return
        self.left.set_result(how)
        self.output.line_gone()
        self.input.line_gone()
