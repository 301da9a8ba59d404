"""Webhook events on disk while the database is away: in order, bounded, replayed by anybody.

The folder holds files of JSON lines, named by the time of their first event; several processes may
share it. What no database will ever take goes into its folder `dead`.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

from agent import log
from agent.durable import locked, write_all
from agent.errors import EventRefused
from agent.store.webhooks import WebhookRow

logger = log.get(__name__)

SEGMENT = 1_000_000
"""Bytes of a file after which a new one is begun: as much as is replayed at once."""

CHUNK = 200
"""Events that are given to the database in one transaction."""

FOLDER = "webhooks"
"""The spool's folder, within the data folder."""

DEAD = "dead"
PATTERN = "*.jsonl"

Keep = Callable[[Sequence[WebhookRow]], object]
"""Writes events to the database, those apart that it knows, as `WebhookEvents.add` does."""


class WebhookSpool:
    """The spool in `folder`, which is made when it is needed. Calls block: they wait for the disk.

    Methods raise OSError when the disk refuses, or when the spool holds `limit` bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def append(self, rows: Sequence[WebhookRow]) -> None:
        """Add the events at the end, all or none, and return when they are on the disk."""
        if not rows:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        data = b"".join(_line(row) for row in rows)
        files = self._files()
        if self.size() + len(data) > self._limit:
            raise OSError(errno.ENOSPC, f"the spool is full ({self._limit} bytes)")
        last = files[-1] if files and files[-1].stat().st_size < SEGMENT else None
        path = last or self._folder / f"{time.time_ns():020}.jsonl"
        with locked(path, create=True) as file:
            write_all(file, data)

    def size(self) -> int:
        """Bytes that wait here to be replayed."""
        return sum(_size(path) for path in self._files())

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing more."""
        return self.size() >= self._limit

    def replay(self, keep: Keep) -> bool:
        """Give the oldest file's events to `keep`, in order; whether more files wait.

        Raises StoreUnavailable, and what else `keep` raises: then the file stays.
        """
        files = self._files()
        if not files:
            return False
        path = files[0]
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return True  # another process was faster
        rows, bad = _rows(content)
        for start in range(0, len(rows), CHUNK):
            self._keep(keep, rows[start : start + CHUNK])
        if bad:  # put aside once, not with every attempt while the database is away
            self.bury(bad, f"{len(bad)} lines of {path.name} are damaged")
        self._remove(path, len(content))
        return bool(self._files())

    def bury_rows(self, rows: Sequence[WebhookRow], why: str) -> None:
        """Put events aside that the database refuses for good."""
        self.bury([_line(row) for row in rows], why)

    def bury(self, lines: Sequence[bytes], why: str) -> None:
        """Put what cannot be stored aside, where an operator finds it; the oldest give way."""
        dead = self._folder / DEAD
        dead.mkdir(parents=True, exist_ok=True)
        with locked(dead / f"{time.time_ns():020}.jsonl", create=True) as file:
            write_all(file, b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
        logger.error("webhook events cannot be stored", action=f"kept in {DEAD}/", why=why)
        files = sorted(dead.glob(PATTERN))
        while len(files) > 1 and sum(map(_size, files)) > self._limit:
            files.pop(0).unlink(missing_ok=True)

    def _keep(self, keep: Keep, rows: Sequence[WebhookRow]) -> None:
        """All together, or one by one when one of them spoils it."""
        try:
            keep(rows)
        except EventRefused as error:
            if len(rows) > 1:
                for row in rows:
                    self._keep(keep, [row])
            else:
                self.bury_rows(rows, str(error))

    def _remove(self, path: Path, size: int) -> None:
        """Remove a file unless it has grown since it was read: then it is replayed once more."""
        try:
            with locked(path) as file:
                if os.fstat(file).st_size == size:
                    path.unlink()
        except FileNotFoundError:
            logger.debug("another process replayed this file too", file=path.name)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(PATTERN))


def _rows(content: bytes) -> tuple[list[WebhookRow], list[bytes]]:
    """What can be read, and the lines that cannot.

    A line without its end was torn: nobody was told that it is safe.
    """
    rows, bad = [], []
    for line in BytesIO(content):
        try:
            rows.append(_row(line))
        except (ValueError, KeyError, TypeError, RecursionError):
            if line.strip() and line.endswith(b"\n"):
                bad.append(line)
    return rows, bad


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # replayed by another process just now


def _line(row: WebhookRow) -> bytes:
    told = {
        "id": row.id,
        "event": row.event,
        "room": row.room,
        "room_sid": row.room_sid,
        "created_at": row.created_at.isoformat(),
        "received_at": row.received_at.isoformat(),
        "body": row.body,
    }
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def _row(line: bytes) -> WebhookRow:
    told = json.loads(line)
    for name in ("created_at", "received_at"):
        told[name] = datetime.fromisoformat(told[name])
    row = WebhookRow(**told)
    if not isinstance(row.id, str) or not isinstance(row.body, dict) or not row.id:
        raise TypeError("no webhook event")
    return row
