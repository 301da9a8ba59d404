"""SIP OPTIONS (RFC 3261, section 11): whether a trunk's address answers, and how soon."""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
import time
from dataclasses import dataclass
from typing import Literal

Transport = Literal["auto", "udp", "tcp", "tls"]

PORT, TLS_PORT = 5060, 5061
WITHIN = 3.0
FIRST_REPEAT = 0.5
"""T1 of RFC 3261, in seconds: over UDP the request is repeated after it, then twice as late."""

_STATUS_LINE = re.compile(rb"SIP/2\.0 (\d{3})(?: ([^\r\n]*))?")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Probe:
    """What came back: the answer's code and reason, or why there was none."""

    address: str
    code: int | None = None
    reason: str = ""
    seconds: float | None = None
    """From the (first) request to the answer; the connection of TCP and TLS included."""
    error: str = ""


async def probe(address: str, transport: Transport = "auto", within: float = WITHIN) -> Probe:
    """Send OPTIONS to `address` (host, perhaps with a port) and wait. Never raises."""
    target = _ADDRESS.fullmatch(address)
    if target is None:
        return Probe(address, error="is no host and port")
    host = target["host"].strip("[]")
    port = int(target["port"] or (TLS_PORT if transport == "tls" else PORT))
    begun = time.monotonic()
    try:
        async with asyncio.timeout(within):
            ask = _over_udp if transport in {"auto", "udp"} else _over_stream
            code, reason = await ask(host, port, transport)
    except TimeoutError:
        return Probe(address, error=f"no answer within {within:g} s")
    except (OSError, OverflowError, ValueError) as error:  # OSError: also TLS and names
        return Probe(address, error=f"cannot be asked: {error}")
    return Probe(address, code, reason, time.monotonic() - begun)


async def _over_udp(host: str, port: int, _: Transport) -> tuple[int, str]:
    loop = asyncio.get_running_loop()
    transport, ear = await loop.create_datagram_endpoint(_Ear, remote_addr=(host, port))
    try:
        request = _request(host, port, "UDP", transport.get_extra_info("sockname"))
        pause = FIRST_REPEAT
        while True:
            transport.sendto(request)
            done, _pending = await asyncio.wait({ear.answer}, timeout=pause)
            if done:
                return ear.answer.result()
            pause *= 2
    finally:
        transport.close()


async def _over_stream(host: str, port: int, transport: Transport) -> tuple[int, str]:
    context = ssl.create_default_context() if transport == "tls" else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        local = writer.get_extra_info("sockname")
        writer.write(_request(host, port, transport.upper(), local))
        await writer.drain()
        while line := await reader.readline():
            if answer := _answer(line):
                return answer
        raise ConnectionError("the connection was closed without an answer")
    finally:
        writer.transport.abort()  # the answer is there: no farewell that could take long


def _request(host: str, port: int, transport: str, local: tuple[str, int]) -> bytes:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    here = f"[{local[0]}]:{local[1]}" if ":" in local[0] else f"{local[0]}:{local[1]}"
    lines = (
        f"OPTIONS sip:{target} SIP/2.0",
        f"Via: SIP/2.0/{transport} {here};branch=z9hG4bK{secrets.token_hex(8)};rport",
        "Max-Forwards: 70",
        f"From: <sip:doctor@{here}>;tag={secrets.token_hex(4)}",
        f"To: <sip:{target}>",
        f"Call-ID: {secrets.token_hex(12)}",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:doctor@{here}>",
        "Accept: application/sdp",
        "Content-Length: 0",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _answer(data: bytes) -> tuple[int, str] | None:
    """Code and reason of a final answer; a provisional one (1xx) is no answer yet."""
    found = _STATUS_LINE.match(data)
    if found is None or found[1].startswith(b"1"):
        return None
    return int(found[1]), (found[2] or b"").decode(errors="replace")


class _Ear(asyncio.DatagramProtocol):
    """Waits for one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        if (answer := _answer(data)) and not self.answer.done():
            self.answer.set_result(answer)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)
