"""This machine: room on the disk, the worker's ports, and the worker itself where it runs."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from config.sections import Data, Worker
from ops.doctor.attempt import in_thread
from ops.doctor.finding import Finding, Level

SPARE, SCARCE = 1_000, 100
"""Megabytes free below which somebody should look, and below which events may be lost."""

NEIGHBOUR = 1.5
"""Seconds in which a worker on this machine answers."""


async def disk(section: Data) -> list[Finding]:
    """Room in the data folder, and the right to write there."""
    tried = f"data folder {section.folder}"
    return [await in_thread(lambda: _disk(tried, section.folder))]


async def ports(section: Worker) -> list[Finding]:
    """Each port of the worker is free, or a worker of this product holds it."""
    return [
        await _port("worker.port", section.host, section.port, await _framework(section)),
        await _port(
            "worker.endpoints_port",
            section.endpoints_host,
            section.endpoints_port,
            "a worker of this product" if await ready(section) is not None else "",
        ),
    ]


async def worker(section: Worker) -> list[Finding]:
    """What a worker that runs here says of itself; nothing where none runs."""
    told = await ready(section)
    if told is None or not section.endpoints_port:
        return []
    tried = "worker on this machine (/ready)"
    lacking = [name for name, met in told.get("checks", {}).items() if not met]
    if lacking:
        todo = "read its log; `not_full` and `not_draining` pass by themselves"
        return [Finding(Level.DEGRADED, tried, f"not {', not '.join(lacking)}", todo)]
    return [Finding(Level.WELL, tried, "ready")]


async def ready(section: Worker) -> Mapping[str, Any] | None:
    """The answer of `/ready`; None where nothing of ours answers."""
    token = section.endpoints_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    told = await _get(section.endpoints_host, section.endpoints_port, "/ready", headers)
    return told[1] if told and "checks" in told[1] else None


def local_url(host: str, port: int, path: str, scheme: str = "http") -> str:
    """Where a process of this machine answers that listens on `host`."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not opened
    return f"{scheme}://{f'[{here}]' if ':' in here else here}:{port}{path}"


def _disk(tried: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        todo = "give it to the worker's user, or set VOICE_AGENT__DATA__FOLDER"
        return Finding(Level.BROKEN, tried, f"{there} cannot be written", todo)
    free = shutil.disk_usage(there).free // 2**20
    came_back = f"{free} MB free"
    todo = "make room: the call log's spool and the recordings are kept there"
    if free < SCARCE:
        return Finding(Level.BROKEN, tried, came_back, todo)
    if free < SPARE:
        return Finding(Level.DEGRADED, tried, came_back, todo)
    return Finding(Level.WELL, tried, came_back)


async def _port(setting: str, host: str, port: int, holder: str) -> Finding:
    tried = f"{setting} {host}:{port}"
    if not port:
        return Finding(Level.WELL, tried, "0: a free one is picked")
    if why := await in_thread(lambda: _refusal(host, port)):
        if holder:
            return Finding(Level.WELL, tried, f"held by {holder}")
        variable = f"VOICE_AGENT__{setting.upper().replace('.', '__')}"
        todo = f"end what holds it, or set {variable}; 0 picks a free one"
        return Finding(Level.BROKEN, tried, f"cannot be used ({why})", todo)
    return Finding(Level.WELL, tried, "free")


def _refusal(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


async def _framework(section: Worker) -> str:
    told = await _get(section.host, section.port, "/worker", {})
    if told and (name := told[1].get("agent_name")):
        return f"the worker {name}"
    return ""


async def _get(
    host: str, port: int, path: str, headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]] | None:
    if not port:
        return None
    address = local_url(host, port, path)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(NEIGHBOUR)) as client,
            client.get(address, headers=headers) as answer,
        ):
            if answer.status not in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}:
                return None
            body = await answer.json(content_type=None)
            return (answer.status, body) if isinstance(body, dict) else None
    except (aiohttp.ClientError, OSError, ValueError):
        return None
