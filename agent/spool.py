"""Events that could not be handed over, on disk until they can: one file of JSON lines a call.

Written by a job whose worker is gone and by a worker whose database is down; replayed by a
worker. Every file is touched only under its flock, which is never held while events are applied.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import groupby
from pathlib import Path
from uuid import uuid4

from agent import log
from agent.durable import locked, write_all
from agent.errors import EventRefused, StoreError, StoreUnavailable
from agent.events import Event, decode

logger = log.get(__name__)

Apply = Callable[[str, Sequence[Event]], object]
"""Writes the events of a worker for good, as `CallLog.apply` does."""

CALL_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Replay:
    """What a replay did, in files (one a call) and events."""

    applied: int = 0
    """Events that are now in the call log."""
    finished: int = 0
    """Files that were applied and removed."""
    bad: list[str] = field(default_factory=list)
    """Names of files that were moved to `bad/`; what could be read of them was applied."""
    kept: int = 0
    """Files that wait for the next replay."""


@dataclass(slots=True)
class Piece:
    """What can be handed over of one file."""

    path: Path
    end: int
    """Where it ends in the file, in bytes from the beginning."""
    is_last: bool
    """Whether there was no more when it was read."""
    entries: list[tuple[str, Event]]
    """Each event with the id of its worker."""
    is_bad: bool
    """Whether something in it could not be read."""


class Spool:
    """The spool in `folder`, which is made when it is needed. Calls block: they wait for the disk.

    Methods raise OSError when the disk refuses. Several processes may share a folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def append(self, call_id: str, lines: Sequence[str], worker_id: str = "") -> None:
        """Add encoded events of one call, and return when they are on the disk.

        All of `lines` are kept or none. Raises ValueError for what cannot be a call's id.
        """
        if not CALL_ID.fullmatch(call_id):
            raise ValueError(f"not the id of a call: {call_id!r}")
        self._folder.mkdir(parents=True, exist_ok=True)
        worker = json.dumps(worker_id)
        added = "".join(f'{{"worker_id":{worker},"event":{line}}}\n' for line in lines)
        with locked(self._folder / f"{call_id}.jsonl", create=True) as file:
            write_all(file, added.encode("utf-8", "replace"))

    def pending(self) -> int:
        """Return how many calls wait here to be replayed."""
        return len(self._files())

    def replay(self, apply: Apply) -> Replay:
        """Apply what waits here, the oldest call first, each call in its order.

        A file is removed when its events were applied and nothing was added meanwhile. When
        the call log does not answer, the rest is kept for the next replay.
        """
        done = Replay()
        files = self._files()
        for index, path in enumerate(files):
            try:
                self._replay_file(path, apply, done)
            except StoreUnavailable as error:
                logger.warning("the call log is away", action="keep spool", error=str(error))
                done.kept += len(files) - index
                break
            except (StoreError, OSError) as error:
                logger.warning(
                    "a spool file waits", action="keep", file=path.name, error=str(error)
                )
                done.kept += 1
        return done

    def pieces(self, taken: Mapping[Path, int], most: int) -> list[Piece]:
        """Return what waits, the oldest call first: one line at least, then up to `most` bytes.

        `taken` tells how many bytes of a file were handed over before. What was handed over
        altogether is removed by `put_away`.
        """
        found: list[Piece] = []
        for path in self._files():
            if most <= 0:
                break
            try:
                piece = _piece(path, taken.get(path, 0), most)
            except FileNotFoundError:
                continue  # replayed by another process just now
            most -= piece.end - taken.get(path, 0)
            found.append(piece)
        return found

    def _replay_file(self, path: Path, apply: Apply, done: Replay) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return  # another process replayed it
        entries, is_bad = _parse(content, path.name)
        for worker_id, group in groupby(entries, key=lambda entry: entry[0]):
            events = [event for _, event in group]
            refused = _apply(apply, worker_id, events)
            done.applied += len(events) - refused
            is_bad = is_bad or refused > 0
        if not self.put_away(path, len(content), is_bad=is_bad):
            done.kept += 1
        elif is_bad:
            done.bad.append(path.name)
        else:
            done.finished += 1

    def put_away(self, path: Path, size: int, *, is_bad: bool) -> bool:
        """Remove a file, or move a bad one aside; False when it has grown since it was read."""
        try:
            with locked(path) as file:
                if os.fstat(file).st_size != size:
                    return False
                if not is_bad:
                    path.unlink()
                    return True
                aside = self._folder / "bad"
                aside.mkdir(exist_ok=True)
                path.rename(aside / f"{path.stem}.{uuid4().hex[:8]}.jsonl")
        except FileNotFoundError:
            logger.debug("another process replayed this file too", file=path.name)
            return True
        logger.error("a spool file is damaged", action="moved to bad/", file=path.name)
        return True

    def _files(self) -> list[Path]:
        """Return the files that wait, the oldest first."""
        ages = []
        for path in self._folder.glob("*.jsonl"):
            try:
                ages.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:
                continue  # replayed by another process just now
        return [path for _, path in sorted(ages)]


def _piece(path: Path, begin: int, most: int) -> Piece:
    # Under the lock no line is being written: one without an end was torn by a crash.
    with locked(path) as file:
        size = os.fstat(file).st_size
        content = os.pread(file, size - begin, begin)
    if len(content) > most:
        end = content.rfind(b"\n", 0, most) + 1 or content.find(b"\n", most) + 1 or len(content)
        content = content[:end]
    entries, is_bad = _parse(content, path.name)
    end = begin + len(content)
    return Piece(path, end, end == size, entries, is_bad)


def _apply(apply: Apply, worker_id: str, events: list[Event]) -> int:
    """Apply together, or one by one when one of them spoils it; return how many were refused."""
    try:
        apply(worker_id, events)
    except EventRefused as error:
        if len(events) > 1:
            return sum(_apply(apply, worker_id, [event]) for event in events)
        logger.warning("an event was refused", call=events[0].call_id, error=str(error))
        return 1
    return 0


def _parse(content: bytes, name: str) -> tuple[list[tuple[str, Event]], bool]:
    """Return what can be read as (worker id, event), and whether a whole line could not be.

    A line without its newline was torn by a crash in mid-write: nobody was told that it is safe.
    """
    entries: list[tuple[str, Event]] = []
    is_bad = False
    for line in BytesIO(content):
        if not line.strip():
            continue
        try:
            entries.append(_entry(line, name))
        except ValueError as error:
            torn = not line.endswith(b"\n")
            is_bad = is_bad or not torn
            logger.warning("a spool line was passed over", file=name, torn=torn, error=str(error))
    return entries, is_bad


def _entry(line: bytes, name: str) -> tuple[str, Event]:
    try:
        body = json.loads(line)
        worker_id, event = body["worker_id"], decode(json.dumps(body["event"]))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a spooled event: {error!r}") from error
    if not isinstance(worker_id, str) or name != f"{event.call_id}.jsonl":
        raise ValueError("an event of another call")
    return worker_id, event
