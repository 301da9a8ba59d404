"""This machine: room on the disk, the worker's ports, and the worker itself where it runs."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from config.sections import Data, Worker
from ops.doctor.attempt import in_thread
from ops.doctor.finding import Finding, Level
from ops.health import here

SPARE, SCARCE = 1_000, 100
"""Megabytes free below which somebody should look, and below which events may be lost."""


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
            "a worker of this product" if await here.ready(section) is not None else "",
        ),
    ]


async def worker(section: Worker) -> list[Finding]:
    """What a worker that runs here says of itself; nothing where none runs."""
    told = await here.ready(section)
    if told is None or not section.endpoints_port:
        return []
    tried = "worker on this machine (/ready)"
    lacking = [name for name, met in told.get("checks", {}).items() if not met]
    if lacking:
        todo = "read its log; `not_full` and `not_draining` pass by themselves"
        return [Finding(Level.DEGRADED, tried, f"not {', not '.join(lacking)}", todo)]
    return [Finding(Level.WELL, tried, "ready")]


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
    told = await here.get(section.host, section.port, "/worker")
    if told and (name := told.body.get("agent_name")):
        return f"the worker {name}"
    return ""
