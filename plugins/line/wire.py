"""What travels on the socket between a phone and the job that answers it.

A frame is one byte of kind, two bytes of length (big-endian) and the payload. The codec does no
I/O; `read` is the only function that touches a stream.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, get_args

from plugins.line.g711 import FRAME, Law


class Kind(IntEnum):
    """The kinds of frame, and who sends them."""

    HELLO = 1
    """Phone to job: JSON of `Hello`. The first frame of a connection."""
    ANSWER = 2
    """Job to phone: the call is answered, the phone's clock starts."""
    AUDIO = 3
    """Both ways: 160 bytes of G.711, 20 ms."""
    DTMF = 4
    """Both ways: one digit."""
    HANGUP = 5
    """Both ways: the call is over. From the phone with an `Ended` as its payload."""
    TRANSFER = 6
    """Job to phone: JSON {"to": where}."""
    TRANSFER_RESULT = 7
    """Phone to job: JSON of `TransferResult`."""


class Ended(StrEnum):
    """How a call on the line ended, as both of its ends see it."""

    CALLER_HANGUP = "caller_hangup"
    AGENT_HANGUP = "agent_hangup"
    TRANSFERRED = "transferred"
    LOST = "lost"
    """The other process went away without a word."""


class LineError(Exception):
    """Something went wrong on the simulated phone line."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class WireError(LineError):
    """The other end of the line sent something that is not a frame."""


class Frame(NamedTuple):
    """One frame."""

    kind: Kind
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who is calling. Numbers are E.164 or empty; `law` is the code of the audio both ways."""

    number: str = ""
    called: str = ""
    law: Law = "ulaw"
    identity: str = "caller"


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What became of a transfer; `code` is the SIP status."""

    ok: bool
    code: int


DIGITS = frozenset("0123456789*#ABCD")
_HEADER = struct.Struct("!BH")
_CHUNK = 4096


def encode(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame, ready to be written."""
    return _HEADER.pack(kind, len(payload)) + payload


def encode_json(kind: Kind, body: Hello | TransferResult | dict[str, str]) -> bytes:
    """A frame whose payload is a JSON object."""
    plain = body if isinstance(body, dict) else asdict(body)
    return encode(kind, json.dumps(plain).encode())


class Decoder:
    """Cuts a stream of bytes into frames, however it was chopped up on its way."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with `data`. Raises WireError after the last good one."""
        self._rest += data
        while len(self._rest) >= _HEADER.size:
            number, length = _HEADER.unpack_from(self._rest)
            end = _HEADER.size + length
            kind = _known(number, length)
            if len(self._rest) < end:
                break
            frame = Frame(kind, bytes(self._rest[_HEADER.size : end]))
            del self._rest[:end]
            yield frame

    def finish(self) -> None:
        """The stream is over. Raises WireError if it broke off inside a frame."""
        if self._rest:
            raise WireError(f"the line broke off inside a frame ({len(self._rest)} bytes of it)")


async def read(reader: asyncio.StreamReader) -> AsyncIterator[Frame]:
    """Frames until the other end closes. Raises WireError, ConnectionError."""
    decoder = Decoder()
    while data := await reader.read(_CHUNK):
        for frame in decoder.feed(data):
            yield frame
    decoder.finish()


def hello(frame: Frame) -> Hello:
    """The caller named in a HELLO. Raises WireError."""
    if frame.kind is not Kind.HELLO:
        raise WireError(f"expected HELLO as the first frame, got {frame.kind.name}")
    body = _object(frame)
    if body.get("law") not in get_args(Law):
        raise WireError(f"HELLO names an unknown law: {body.get('law')!r}")
    texts = {name: body.get(name) for name in ("number", "called", "identity")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise WireError("HELLO must name number, called and identity as texts")
    return Hello(law=body["law"], **{name: str(text) for name, text in texts.items()})


def transfer_to(frame: Frame) -> str:
    """Where a TRANSFER wants to go. Raises WireError."""
    to = _object(frame).get("to")
    if not isinstance(to, str) or not to:
        raise WireError("TRANSFER must say `to` as a text")
    return to


def transfer_result(frame: Frame) -> TransferResult:
    """What a TRANSFER_RESULT says. Raises WireError."""
    body = _object(frame)
    ok, code = body.get("ok"), body.get("code")
    if not isinstance(ok, bool) or not isinstance(code, int):
        raise WireError("TRANSFER_RESULT must say `ok` and `code`")
    return TransferResult(ok, code)


def ended(frame: Frame) -> Ended:
    """How a HANGUP from the phone ended the call. Raises WireError."""
    try:
        return Ended(frame.payload.decode("ascii", errors="replace"))
    except ValueError as error:
        raise WireError(f"HANGUP with an unknown reason: {error}") from error


def digit(frame: Frame) -> str:
    """The key of a DTMF frame. Raises WireError."""
    key = frame.payload.decode("ascii", errors="replace")
    if key not in DIGITS:
        raise WireError(f"not a key of a phone: {key!r}")
    return key


def _known(number: int, length: int) -> Kind:
    try:
        kind = Kind(number)
    except ValueError:
        raise WireError(f"unknown kind of frame: {number}") from None
    if kind is Kind.AUDIO and length != FRAME:
        raise WireError(f"an AUDIO frame holds {FRAME} bytes, not {length}")
    return kind


def _object(frame: Frame) -> dict[str, Any]:
    try:
        body = json.loads(frame.payload)
    except ValueError as error:
        raise WireError(f"{frame.kind.name} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise WireError(f"{frame.kind.name} is not a JSON object")
    return body
