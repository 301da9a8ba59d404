"""One INVITE over UDP from any loopback address: what a real livekit-sip makes of a call.

There is no session description in it, so a call that is let in ends with 400 before it has a
room: which trunk and rule took it stands in livekit-sip's log.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from dataclasses import dataclass

from tests.programs import PATIENCE
from tests.sip_server import SipServer

ANSWERED = re.compile(r"SIP/2\.0 ([2-6]\d\d)")
NONCE = re.compile(r'realm="([^"]*)".*?nonce="([^"]*)"', re.DOTALL)
CHALLENGED = 407
JUDGED = (0, 400, 503)
"""Codes that follow from trunks and rules: dropped, taken (without media), in conflict."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A call: numbers, the caller's address (of 127.0.0.0/8), and the host of its From header."""

    caller: str
    called: str
    ip: str
    host: str = "provider.test"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`code` 0: dropped without an answer. Ids are empty where nothing matched."""

    code: int
    challenged: bool = False
    trunk: str = ""
    rule: str = ""


async def invite(
    server: SipServer, call: Dialled, username: str = "", password: str = ""
) -> Outcome:
    """Call once; a challenge is answered, where there is a password. Raises TimeoutError."""
    dialog = _Dialog(server, call)
    async with asyncio.timeout(PATIENCE):
        code = await dialog.ask()
        challenged = code == CHALLENGED
        if challenged and username:
            code = await dialog.ask(username, password)
        trunk, rule = await dialog.matched() if code in JUDGED else ("", "")
    return Outcome(code, challenged, trunk, rule)


class _Dialog(asyncio.DatagramProtocol):
    def __init__(self, server: SipServer, call: Dialled) -> None:
        self._server, self._call = server, call
        self._id = secrets.token_hex(10)
        self._tag = secrets.token_hex(4)
        self._sequence = 0
        self._challenge = ("", "")
        self._answer: asyncio.Future[int]

    async def ask(self, username: str = "", password: str = "") -> int:
        """Send the INVITE: the final answer's code; 0 when it was dropped."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._sequence += 1
        local = (self._call.ip, 0)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=local, remote_addr=self._server.address
        )
        dropped = asyncio.create_task(self._until_logged("Rejecting inbound flood"))
        try:
            port = transport.get_extra_info("sockname")[1]
            transport.sendto(self._request(port, username, password))
            await asyncio.wait({self._answer, dropped}, return_when=asyncio.FIRST_COMPLETED)
            return self._answer.result() if self._answer.done() else 0
        finally:
            dropped.cancel()
            transport.close()

    async def matched(self) -> tuple[str, str]:
        """The trunk's and the rule's id."""
        line = await self._until_logged(*LAST_WORDS)
        return line.get("sipTrunk", ""), line.get("sipRule", "")

    async def _until_logged(self, *messages: str) -> dict[str, str]:
        while True:
            for line in self._server.said(self._id):
                if line.get("msg") in messages:
                    return line
            await asyncio.sleep(0.02)

    def datagram_received(self, data: bytes, addr: object) -> None:
        text = data.decode(errors="replace")
        found = ANSWERED.match(text)
        if found and not self._answer.done():
            if challenge := NONCE.search(text):
                self._challenge = (challenge[1], challenge[2])
            self._answer.set_result(int(found[1]))

    def _request(self, port: int, username: str, password: str) -> bytes:
        call, host = self._call, self._server.address[0]
        uri = f"sip:{call.called}@{host}"
        lines = [
            f"INVITE {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {call.ip}:{port};branch=z9hG4bK{secrets.token_hex(8)};rport",
            "Max-Forwards: 70",
            f"From: <sip:{call.caller}@{call.host}>;tag={self._tag}",
            f"To: <{uri}>",
            f"Call-ID: {self._id}",
            f"CSeq: {self._sequence} INVITE",
            f"Contact: <sip:{call.caller}@{call.ip}:{port}>",
            *([self._credentials(uri, username, password)] if username else []),
            "Content-Length: 0",
        ]
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()

    def _credentials(self, uri: str, username: str, password: str) -> str:
        """RFC 2617 without qop, as livekit-sip challenges."""
        realm, nonce = self._challenge
        who = _md5(f"{username}:{realm}:{password}")
        response = _md5(f"{who}:{nonce}:{_md5(f'INVITE:{uri}')}")
        return (
            f'Proxy-Authorization: Digest username="{username}", realm="{realm}",'
            f' nonce="{nonce}", uri="{uri}", response="{response}", algorithm=MD5'
        )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


LAST_WORDS = (
    "Cannot start media",  # taken: the INVITE offered none
    "Rejecting inbound call, dispatch evaluation failed",
    "Rejecting inbound, auth check failed",
    "Rejecting inbound flood",
)
