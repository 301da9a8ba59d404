"""The client of OpenAI, and of servers that speak as it does, made without a pause for the call.

Left to itself each plugin reads the certificates of all authorities for a client of its own: 20 ms
of the event loop, up to four times before a greeting. Here they are read once, in the forkserver.
"""

from __future__ import annotations

import ssl
from functools import cache

import httpx2
import openai

CONNECT, ANSWER = 15.0, 5.0
"""Seconds at most to connect, and between two pieces of an answer: what the plugins would take."""

CONNECTIONS = 50
KEPT = 120.0
"""Seconds that a connection without a request is kept: callers think between two turns."""


def client(api_key: str, base_url: str | None) -> openai.AsyncClient:
    """A client of `base_url`, or of OpenAI; whoever uses it closes it."""
    http = httpx2.AsyncClient(
        verify=trust(),
        timeout=httpx2.Timeout(ANSWER, connect=CONNECT),
        follow_redirects=True,
        limits=httpx2.Limits(
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=KEPT,
        ),
    )
    return openai.AsyncClient(api_key=api_key, base_url=base_url, max_retries=0, http_client=http)


@cache
def trust() -> ssl.SSLContext:
    """Whom we believe to be who they say: the system's authorities, or those of SSL_CERT_FILE.

    Read once a process. Raises OSError when they cannot be.
    """
    return httpx2.create_ssl_context()
