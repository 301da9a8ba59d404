"""The way to the LiveKit server: its name, its certificate, and what time it is there."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import aiohttp

from ops.doctor.attempt import in_thread
from ops.doctor.finding import Finding, Level

PORTS = {"wss": 443, "https": 443, "ws": 80, "http": 80}
SECURE = frozenset({"wss", "https"})

EXPIRES_SOON = 14
"""Days that a certificate must still hold."""

LEEWAY = 60.0
"""Seconds that a LiveKit server forgives in a token's times."""

SKEW = 10.0
"""Seconds of difference that somebody should look at. The server tells whole seconds."""


def about_name(url: str) -> str:
    """What is told of `name`."""
    return f"DNS of {urlsplit(url).hostname}"


def about_connection(url: str) -> str:
    """What is told of `certificate`."""
    parts = urlsplit(url)
    secure = parts.scheme in SECURE
    return f"{'TLS' if secure else 'connection'} to {parts.hostname}:{port_of(parts)}"


def about_clock(url: str) -> str:
    """What is told of `clock`."""
    return f"clock against {urlsplit(url).hostname}"


async def name(url: str) -> list[Finding]:
    """The host's addresses."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    tried = about_name(url)
    try:
        found = await in_thread(
            lambda: socket.getaddrinfo(host, port_of(parts), type=socket.SOCK_STREAM)
        )
    except OSError as error:
        todo = "check LIVEKIT_URL and this machine's DNS"
        return [Finding(Level.BROKEN, tried, error.strerror or str(error), todo)]
    addresses = sorted({str(address[0]) for *_, address in found})
    return [Finding(Level.WELL, tried, ", ".join(addresses))]


async def certificate(url: str, context: ssl.SSLContext | None = None) -> list[Finding]:
    """A connection is made, and the certificate is trusted and holds for a while."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", port_of(parts)
    secure = parts.scheme in SECURE
    tried = about_connection(url)
    tls = (context or ssl.create_default_context()) if secure else None
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except ssl.SSLCertVerificationError as error:
        todo = "renew or replace the server's certificate; look at this machine's clock, too"
        return [Finding(Level.BROKEN, tried, f"refused: {error.verify_message}", todo)]
    except ssl.SSLError as error:
        todo = "check the scheme and port of LIVEKIT_URL: is TLS spoken there?"
        return [Finding(Level.BROKEN, tried, f"no TLS: {error.reason}", todo)]
    except OSError as error:
        todo = "check LIVEKIT_URL, the firewall, and whether the server runs"
        return [Finding(Level.BROKEN, tried, error.strerror or str(error), todo)]
    shown = writer.get_extra_info("peercert") or {}
    writer.close()
    if not secure:
        return [Finding(Level.WELL, tried, "open, without TLS (allowed for this address)")]
    return [_expiry(tried, str(shown.get("notAfter", "")))]


async def clock(url: str) -> list[Finding]:
    """How far this machine's clock is from the server's, by its Date header."""
    parts = urlsplit(url)
    address = parts._replace(scheme="https" if parts.scheme in SECURE else "http").geturl()
    tried = about_clock(url)
    asked = time.time()
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.get(address, allow_redirects=False) as answer,
        ):
            date = answer.headers.get("Date", "")
    except (aiohttp.ClientError, OSError):
        return [Finding(Level.DEGRADED, tried, "the server does not answer HTTP", "see above")]
    return [_skew(tried, date, (asked + time.time()) / 2)]


def port_of(parts: SplitResult) -> int:
    """The port of a URL, given or usual."""
    return parts.port or PORTS[parts.scheme]


def _expiry(tried: str, until: str) -> Finding:
    if not until:
        return Finding(Level.WELL, tried, "trusted")
    days = int((ssl.cert_time_to_seconds(until) - time.time()) // 86400)
    came_back = f"trusted, until {until} ({days} days)"
    if days < EXPIRES_SOON:
        return Finding(Level.DEGRADED, tried, came_back, "renew the server's certificate")
    return Finding(Level.WELL, tried, came_back)


def _skew(tried: str, date: str, here: float) -> Finding:
    try:
        there = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return Finding(Level.WELL, tried, "the server does not tell the time")
    apart = here - there - 0.5  # what the header cuts off, on average
    came_back = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the server"
    todo = "let NTP set this machine's clock: tokens are refused beyond a minute"
    if abs(apart) > LEEWAY:
        return Finding(Level.BROKEN, tried, came_back, todo)
    if abs(apart) > SKEW:
        return Finding(Level.DEGRADED, tried, came_back, todo)
    return Finding(Level.WELL, tried, f"within {abs(apart) + 1:.0f} s of the server's")
