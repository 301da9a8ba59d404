"""HTTP as uvicorn speaks it, with an end to what stands around a body.

The parser keeps a request's line, its headers and the trailers of its body however long they are,
before anybody is asked who it is.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST = 65_536
"""Bytes of a request beside its body, give or take one reading from the socket."""

FRAMING, MOST_FRAMING = 8, 8_000_000
"""Bytes that each byte of a body may bring along, and all of them: chunks of one byte bring five
each."""


class Bounded(HttpToolsProtocol):
    """One connection, closed with 400 when the head of a request does not end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **options)
        self._beside = self._body = 0

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._beside += len(data)
        super().data_received(data)
        allowed = MOST + min(FRAMING * self._body, MOST_FRAMING)
        if self._beside - self._body > allowed and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """See httptools."""
        self._beside = self._body = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body += len(body)
        super().on_body(body)
