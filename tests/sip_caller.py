"""A caller over SIP and RTP: SIPp speaks SIP, and a simulated caller hears and speaks G.711."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
import struct
import time
from typing import Self

from plugins.line import Clock
from plugins.line.g711 import FRAME, Law, decode, encode
from plugins.line.hearing import spans
from plugins.line.jitter import JitterBuffer
from plugins.line.phone import Person
from plugins.line.recording import Recording
from tests.callers import CALL_LIMIT
from tests.programs import ROOT
from tests.sip_server import SipServer

SCENARIO = ROOT / "tests" / "assets" / "sipp" / "caller.xml"
PAYLOADS: dict[Law, tuple[int, str]] = {"ulaw": (0, "PCMU"), "alaw": (8, "PCMA")}
EVENT = 101
"""Payload type of keys (RFC 4733)."""
KEYS = "0123456789*#ABCD"
PRESSED = 5
"""Frames for which a key is held; its end is sent three times, as RFC 4733 wants it."""
ANSWERED = re.compile(r"SIP/2\.0 200.*?m=audio (\d+)", re.DOTALL)


class SipCaller:
    """One call; `recording` begins at the answer, `answered_after` seconds after it was dialled.

    `messages` is every SIP message so far, as text.
    """

    def __init__(
        self,
        server: SipServer,
        clock: Clock,
        person: Person,
        *,
        caller: str,
        called: str,
        law: Law = "alaw",
        transfer: str = "200 OK",
    ) -> None:
        self.recording = Recording()
        self._server, self._clock, self._person, self._law = server, clock, person, law
        self.caller, self._called, self._transfer = caller, called, transfer
        self._id = secrets.token_hex(8)
        self._messages = server.folder / f"sipp-{self._id}.log"
        self._jitter = JitterBuffer()
        self._is_silent = False
        self._to: tuple[str, int] | None = None
        self._stamp, self._sequence = 0, 0
        self._keys: list[bytes] = []
        self._key_stamp = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._media, _ = await loop.create_datagram_endpoint(
            lambda: _Ear(self._hear), local_addr=("127.0.0.1", 0)
        )
        with socket.socket(type=socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._dialled = time.monotonic()
        self._sipp = await asyncio.create_subprocess_exec(
            *self._command(),
            cwd=self._server.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self._clock.remove(self._tick)
        with contextlib.suppress(ProcessLookupError):
            self._sipp.kill()
        await self._sipp.wait()
        self._media.close()

    @property
    def referred_to(self) -> str:
        """Where a REFER wants the caller to go."""
        found = re.search(r"^Refer-To: *<?([^>\r\n]*)", self.messages, re.MULTILINE)
        return found[1] if found else ""

    @property
    def messages(self) -> str:
        """All that was sent and received so far."""
        return self._messages.read_text(errors="replace") if self._messages.exists() else ""

    @property
    def greeted_after(self) -> float | None:
        """Seconds from the answer to the agent's first audible sample."""
        heard = spans(self.recording.agent)
        return heard[0][0] if heard else None

    async def answered(self) -> None:
        """Wait until the call is answered; from then on the person hears and speaks."""
        async with asyncio.timeout(CALL_LIMIT):
            while not (
                answer := re.search(r"SIP/2\.0 200.*?m=audio (\d+)", self.messages, re.DOTALL)
            ):
                assert self._sipp.returncode is None, self.messages[-2000:]
                await asyncio.sleep(0.02)
        self.answered_after = time.monotonic() - self._dialled
        self._to = ("127.0.0.1", int(answer[1]))
        self._clock.add(self._tick)

    async def ended(self) -> None:
        """Wait for the end of the call; AssertionError when it went otherwise than scripted."""
        code = await asyncio.wait_for(self._sipp.wait(), CALL_LIMIT)
        self._clock.remove(self._tick)
        assert code == 0, self.messages[-3000:]

    def hang_up(self) -> None:
        """Let SIPp send BYE (see the scenario)."""
        lines = (
            f"MESSAGE sip:caller@127.0.0.1:{self._port} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{secrets.token_hex(8)}",
            "From: <sip:test@127.0.0.1>;tag=test",
            "To: <sip:caller@127.0.0.1>",
            f"Call-ID: {self._id}",
            "CSeq: 9 MESSAGE",
            "Content-Length: 0",
        )
        text = "".join(f"{line}\r\n" for line in (*lines, ""))
        self._media.sendto(text.encode(), ("127.0.0.1", self._port))

    def fall_silent(self) -> None:
        """Send no more audio, as when the network is gone."""
        self._is_silent = True

    def _command(self) -> list[str]:
        payload, codec = PAYLOADS[self._law]
        host, port = self._server.address
        keys = {
            "caller": self.caller,
            "rtp": str(self._media.get_extra_info("sockname")[1]),
            "payload": str(payload),
            "codec": codec,
            "outcome": self._transfer,
        }
        return [
            *("sipp", f"{host}:{port}", "-sf", str(SCENARIO)),
            *("-i", "127.0.0.1", "-p", str(self._port), "-s", self._called, "-m", "1"),
            *("-cid_str", self._id, "-nostdin", "-trace_msg", "-message_file", self._messages.name),
            *("-timeout", f"{CALL_LIMIT:.0f}s", "-timeout_error"),
            *(part for key, value in keys.items() for part in ("-key", key, value)),
        ]

    def _tick(self) -> None:
        heard = self._jitter.take()
        moment = self._person.tick(heard)
        self.recording.append(moment.samples, heard)
        self._stamp += FRAME
        if moment.digits:
            self._key_stamp = self._stamp
            self._keys = _held(moment.digits)
        if not self._is_silent:
            if self._keys:
                self._send(EVENT, self._key_stamp, self._keys.pop(0))
            else:
                payload = PAYLOADS[self._law][0]
                self._send(payload, self._stamp, encode(moment.samples, self._law))
        if moment.hang_up:
            self._clock.remove(self._tick)
            self.hang_up()

    def _send(self, payload: int, stamp: int, data: bytes) -> None:
        """RFC 3550, section 5.1."""
        self._sequence += 1
        header = struct.pack(">BBHII", 0x80, payload, self._sequence & 0xFFFF, stamp, 0x5EED)
        self._media.sendto(header + data, self._to)

    def _hear(self, packet: bytes) -> None:
        if packet[1] & 0x7F == PAYLOADS[self._law][0]:
            samples = decode(packet[12:], self._law)
            for start in range(0, len(samples) - FRAME + 1, FRAME):
                self._jitter.push(samples[start : start + FRAME])


def _held(key: str) -> list[bytes]:
    """The packets of one key: RFC 4733, section 2.3."""
    code, volume, end = KEYS.index(key), 10, 0x80
    durations = [FRAME * frame for frame in range(1, PRESSED + 1)]
    held = [struct.pack(">BBH", code, volume, duration) for duration in durations]
    return held + [struct.pack(">BBH", code, end | volume, durations[-1])] * 3


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, hear: object) -> None:
        self._hear = hear

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._hear(data)
