"""Processes of this machine, asked at its own addresses: a worker, a control plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from config.control import Serve
from config.sections import Worker

WITHIN = 3.0
"""Seconds in which a process of this machine answers."""

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not opened


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: HTTP's status, and a JSON object, empty where there was none."""

    status: int
    body: Mapping[str, Any]


async def ready(section: Worker) -> Mapping[str, Any] | None:
    """The answer of a worker's `/ready`; None where nothing of ours answers."""
    token = section.endpoints_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    told = await get(section.endpoints_host, section.endpoints_port, "/ready", headers)
    is_ours = told and told.status in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
    return told.body if told and is_ours and "checks" in told.body else None


async def health(section: Serve) -> Answer | None:
    """The answer of `/health` of `ops serve`; None where nothing answers."""
    return await get(section.host, section.port, "/health", tls=bool(section.tls_certificate))


async def get(
    host: str, port: int, path: str, headers: Mapping[str, str] | None = None, *, tls: bool = False
) -> Answer | None:
    """What a process answers that listens on `host`; None where nothing does, or port is 0.

    Status 0: something listens that does not speak HTTP.
    """
    if not port:
        return None
    url = f"{'https' if tls else 'http'}://{address(host, port)}{path}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(WITHIN)) as client,
            # A certificate is for a name, and this is an address; it is our own machine.
            client.get(url, headers=headers, ssl=not tls) as answer,
        ):
            try:
                body = await answer.json(content_type=None)
            except ValueError:
                body = None
            return Answer(answer.status, body if isinstance(body, dict) else {})
    except (aiohttp.ClientConnectionError, OSError):
        return None
    except aiohttp.ClientError:
        return Answer(0, {})


def address(host: str, port: int) -> str:
    """Where to ask for what listens on `host`, which may be all addresses."""
    here = ANYWHERE.get(host, host)
    return f"{f'[{here}]' if ':' in here else here}:{port}"
