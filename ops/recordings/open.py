"""A `Studio`, with the database and LiveKit of the settings."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.livekit import LiveKit
from agent.start import check_livekit
from config.livekit_auth import EMPTY_RING
from config.settings import Settings
from ops.front.database import Database
from ops.recordings.studio import Studio


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Studio]:
    """Where no LiveKit is configured, what needs it raises LiveKitError. Raises StartError."""
    ring = check_livekit(settings) if settings.livekit.url else EMPTY_RING
    database = Database(settings.store.url)
    try:
        async with LiveKit.of(settings.livekit, ring.credentials) as livekit:
            yield Studio(settings, database, livekit)
    finally:
        await database.aclose()


def operator() -> str:
    """Who runs this command, as the audit trail names people."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return str(os.getuid())


def source(command: str) -> str:
    """From where, as the audit trail says it."""
    return f"{socket.gethostname()}: ops {command}"
