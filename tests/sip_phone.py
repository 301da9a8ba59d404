"""A telephone that LiveKit SIP can ring: answers INVITEs over UDP, speaks and hears G.711.

RFC 3261 as far as one call of one peer needs it, RFC 3550 without RTCP, RFC 4733 for its keys.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import struct
from collections.abc import Sequence
from typing import Self

import numpy as np

from agent import tasks
from plugins.line import g711
from plugins.line.g711 import FRAME, Samples

KEYS = {key: code for code, key in enumerate("0123456789*#")}
EVENTS = 101
"""The payload type of telephone events."""


class SipPhone(asyncio.DatagramProtocol):
    """Takes one call with `code` (200 with sound, 0 rings for ever) after `rings` seconds.

    `says` is played from the answer on, then silence, until there is more to `say`; `heard` is
    what came; `keys` what was pressed at the other end; `press` presses keys here.
    """

    def __init__(self, code: int = 200, says: Samples | None = None, rings: float = 0.3) -> None:
        self.code, self._rings = code, rings
        self._says = says if says is not None else np.zeros(0, np.int16)
        self.heard: list[Samples] = []
        self.keys = ""
        self.rang, self.answered, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._tag = secrets.token_hex(4)
        self._invite = ""
        self._peer = ("", 0)
        self._last_event = -1
        self._tasks: list[asyncio.Task[None]] = []
        self._pressing: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        local = ("127.0.0.1", 0)
        self._sip, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=local)
        ear = _Ear(self._on_rtp)
        self._rtp, _ = await loop.create_datagram_endpoint(lambda: ear, local_addr=local)
        return self

    async def __aexit__(self, *error: object) -> None:
        await tasks.end(*self._tasks)
        self._sip.close()
        self._rtp.close()

    @property
    def address(self) -> str:
        """Host and port for a trunk."""
        return f"127.0.0.1:{self._sip.get_extra_info('sockname')[1]}"

    def press(self, keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            self._pressing.put_nowait(key)

    def say(self, sound: Samples) -> None:
        """Say this next."""
        self._says = np.concatenate((self._says, sound))

    def hang_up(self) -> None:
        """Send BYE, once."""
        if self.answered.is_set() and not self.ended.is_set():
            self.ended.set()
            self._send(self._bye())

    def loudness(self, last: float) -> float:
        """RMS of the last seconds that were heard."""
        frames = self.heard[-round(last / 0.02) :]
        return float(np.sqrt(np.mean(np.square(np.concatenate(frames), dtype=float))))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode(errors="replace")
        method = text.partition(" ")[0]
        if method == "INVITE" and not self._invite:
            self._invite, self._peer = text, addr
            self._tasks.append(tasks.spawn(self._take(), "sip-phone"))
        elif method in {"BYE", "CANCEL"}:
            self._send(self._reply(text, 200, "OK"))
            if method == "CANCEL":
                self._send(self._reply(self._invite, 487, "Request Terminated"))
            self.ended.set()

    async def _take(self) -> None:
        self._send(self._reply(self._invite, 180, "Ringing"))
        self.rang.set()
        if self.code == 0:
            return
        await asyncio.sleep(self._rings)
        if self.code != 200:
            self._send(self._reply(self._invite, self.code, "No"))
            return
        media = re.search(r"^m=audio (\d+)", self._invite, re.MULTILINE)
        host = re.search(r"^c=IN IP4 (\S+)", self._invite, re.MULTILINE)
        self._send(self._reply(self._invite, 200, "OK", self._sdp()))
        self.answered.set()
        await self._speak((host[1], int(media[1])))

    async def _speak(self, to: tuple[str, int]) -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        number, source = 0, secrets.randbits(32)
        while not self.ended.is_set():
            chunk, self._says = self._says[:FRAME], self._says[FRAME:]
            payload = g711.encode(np.pad(chunk, (0, FRAME - len(chunk))), "ulaw")
            self._rtp.sendto(_rtp(0, number, number * FRAME, source) + payload, to)
            number += 1
            if not self._pressing.empty():
                number = await self._press(self._pressing.get_nowait(), number, source, to)
                begun = loop.time() - number * 0.02
            await asyncio.sleep(max(0.0, begun + number * 0.02 - loop.time()))

    async def _press(self, key: str, number: int, source: int, to: tuple[str, int]) -> int:
        """One event: its beginning, its course, and its end three times."""
        at = number * FRAME
        for step in range(1, 9):
            over = step > 5
            event = struct.pack("!BBH", KEYS[key], 0x8A if over else 0x0A, min(step, 6) * FRAME)
            marked = 0x80 if step == 1 else 0
            self._rtp.sendto(_rtp(EVENTS | marked, number, at, source) + event, to)
            number += 1
            await asyncio.sleep(0.02)
        return number

    def _on_rtp(self, data: bytes) -> None:
        kind = data[1] & 0x7F
        if kind == 0:
            self.heard.append(g711.decode(data[12:172].ljust(FRAME, b"\xff"), "ulaw"))
        elif kind == EVENTS:
            at = int.from_bytes(data[4:8], "big")
            if at != self._last_event:
                self._last_event = at
                self.keys += "0123456789*#ABCD"[data[12]]

    def _send(self, text: str) -> None:
        self._sip.sendto(text.encode(), self._peer)

    def _reply(self, request: str, code: int, reason: str, body: str = "") -> str:
        kept = _headers(request, ("Via", "From", "Call-ID", "CSeq", "Record-Route"))
        to = _headers(request, ("To",))[0]
        lines = [
            f"SIP/2.0 {code} {reason}",
            *kept,
            to if "tag=" in to else f"{to};tag={self._tag}",
            f"Contact: <sip:phone@{self.address}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        return "\r\n".join(lines)

    def _bye(self) -> str:
        caller, to = _headers(self._invite, ("From",))[0], _headers(self._invite, ("To",))[0]
        call_id = _headers(self._invite, ("Call-ID",))[0]
        contact = re.search(r"^Contact: <([^>]+)>", self._invite, re.MULTILINE | re.IGNORECASE)
        lines = [
            f"BYE {contact[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From:{to.partition(':')[2]};tag={self._tag}",
            f"To:{caller.partition(':')[2]}",
            call_id,
            "CSeq: 1 BYE",
            "Content-Length: 0",
            "",
            "",
        ]
        return "\r\n".join(lines)

    def _sdp(self) -> str:
        port = self._rtp.get_extra_info("sockname")[1]
        lines = (
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=-",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            f"m=audio {port} RTP/AVP 0 {EVENTS}",
            "a=rtpmap:0 PCMU/8000",
            f"a=rtpmap:{EVENTS} telephone-event/8000",
            "a=sendrecv",
        )
        return "".join(f"{line}\r\n" for line in lines)


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, hear) -> None:
        self.datagram_received = lambda data, _: hear(data)


def _rtp(kind: int, number: int, at: int, source: int) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, at, source)


def _headers(message: str, names: Sequence[str]) -> list[str]:
    """The lines of these headers, in their order."""
    wanted = tuple(f"{name.lower()}:" for name in names)
    return [line for line in message.split("\r\n") if line.lower().startswith(wanted)]
