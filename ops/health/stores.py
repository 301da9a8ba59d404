"""Where things are kept: the database, the spool beside it, and Redis."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent import shared, tasks
from agent.errors import StoreError
from agent.spool import Spool
from agent.store import trial
from ops.front.plane import Plane
from ops.health.check import Check, Status, Unwell
from ops.webhooks.spool import FOLDER, WebhookSpool

ACCESSES = 3
CALLS = "spool"
"""The folder of the calls' spool, within the data folder."""

OWN_KEY = "voice-ai:health:"
"""Begins the keys that are written to see whether Redis keeps anything; they expire."""


def checks(plane: Plane) -> list[Check]:
    """One check for each."""
    section = plane.settings.health

    every, within = section.every, section.within
    database = _Database(plane)
    data = plane.settings.data.folder
    webhooks = WebhookSpool(data / FOLDER, plane.settings.webhooks.spool_bytes)
    return [
        Check("redis", partial(_redis, plane, f"{OWN_KEY}{uuid4().hex}"), every, within),
        Check("database", database.ask, every, within, database.aclose),
        Check("spool", partial(_spool, data, webhooks), every, within),
    ]


class _Database:
    """Writes, and takes it back.

    While a thread hangs, the next check waits for that one: else a database that hangs would have
    all threads one after the other.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._asking: asyncio.Task[None] | None = None
        self._why = ""

    async def ask(self) -> str:
        if self._asking is None or self._asking.done():
            self._asking = tasks.spawn(self._try(), "health-database")
        await asyncio.wait({self._asking})
        if self._why:
            raise Unwell(self._why)
        return "takes a write (undone)"

    async def aclose(self) -> None:
        await tasks.end(self._asking)

    async def _try(self) -> None:
        try:
            await self._plane.database.run(lambda log: trial.write(log.engine))
        except StoreError as error:
            self._why = str(error)
        else:
            self._why = ""


async def _redis(plane: Plane, key: str) -> str:
    if plane.redis is None:
        why = "redis.url is empty: each process takes itself to be alone"
        raise Unwell(why, Status.NOT_CONFIGURED)
    redis, token, began = Redis(connection_pool=plane.redis), uuid4().hex, time.monotonic()
    try:
        await redis.ping()
        await redis.set(key, token, ex=60)
        kept = await redis.get(key)
    except (RedisError, OSError) as error:
        raise Unwell(f"{type(error).__name__}: {error}".removesuffix(": ")) from error
    if kept != token:
        raise Unwell("does not keep what is written")
    if time.monotonic() - began > ACCESSES * shared.BOUND:
        why = f"slower than {shared.BOUND * 1000:.0f} ms, after which calls go on without it"
        raise Unwell(why, Status.DEGRADED)
    return "keeps what is written"


async def _spool(data: Path, webhooks: WebhookSpool) -> str:
    """Both of them: calls wait in one folder for the database, webhooks in another."""

    def look() -> tuple[int, bool]:
        for name in (CALLS, FOLDER):
            _write_into(data / name)
        return Spool(data / CALLS).pending(), webhooks.is_full

    try:
        waiting, is_full = await asyncio.to_thread(look)
    except OSError as error:
        raise Unwell(f"cannot be written: {error.strerror}") from error
    if is_full:
        raise Unwell("holds as many webhooks as it may (webhooks.spool_bytes)")
    return f"can be written; {waiting} calls wait in it"


def _write_into(folder: Path) -> None:
    """Write and sync a file as a spool does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".trial-{uuid4().hex}"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, b"trial\n")
        os.fsync(file)
    finally:
        os.close(file)
        path.unlink()
