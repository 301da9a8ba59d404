"""The address to which LiveKit sends webhooks: it answers, and refuses what is not signed."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from ops.doctor.finding import Finding, Level

EVENT = b'{"event": "room_started", "id": "doctor"}'


async def receiver(url: str) -> list[Finding]:
    """Send an event without a signature: 401 or 403 is the answer of a sound receiver."""
    if not url:
        told = "not configured (--webhook URL asks one)"
        return [Finding(Level.WELL, "webhooks", told)]
    parts = urlsplit(url)
    tried = f"webhooks at {parts.hostname}{parts.path} (an event without a signature)"
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.post(
                url,
                data=EVENT,
                headers={"Content-Type": "application/webhook+json"},
                allow_redirects=False,
            ) as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, OSError, ValueError) as error:
        todo = "start the receiver, and let LiveKit's server reach it"
        return [Finding(Level.DEGRADED, tried, f"no answer: {type(error).__name__}", todo)]
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return [Finding(Level.WELL, tried, f"refused ({status}), as it must be")]
    if status < HTTPStatus.MULTIPLE_CHOICES:
        todo = "let it verify the signature: anybody could end calls' records"
        return [Finding(Level.BROKEN, tried, f"taken ({status})", todo)]
    todo = "check the address in the LiveKit server's `webhook.urls`"
    return [Finding(Level.DEGRADED, tried, f"answered {status}", todo)]
