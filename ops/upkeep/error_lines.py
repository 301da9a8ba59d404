"""Error lines in log files: how many since when, and what they say.

The product logs a JSON object a line: of a process under `start`, of `ops serve`, of a job. What
is not such an object is passed over.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE = re.compile(r".+\.log([.-][^/]*)?")
"""calls.log, calls.log.1, calls.log-20260131.gz"""

SERIOUS = re.compile(r'"level":\s*"(error|critical|fatal)"', re.IGNORECASE)
MOST = 10
LONGEST = 160
"""Characters of a message that are told."""


@dataclass(frozen=True, slots=True)
class Errors:
    """The error lines of a folder."""

    folder: str
    since: datetime
    files: int
    """Files that were written to since then; None of them: nothing was looked through."""
    lines: int
    messages: tuple[tuple[str, int], ...]
    """The most frequent first."""
    unread: tuple[str, ...] = ()
    """Files that could not be read, and why."""


def error_lines(folder: Path, since: datetime) -> Errors:
    """Look through the files that were written to since then. Raises nothing."""
    messages: Counter[str] = Counter()
    unread, files = [], 0
    for path in sorted(folder.rglob("*.log*")) if folder.is_dir() else ():
        try:
            if not FILE.fullmatch(path.name) or path.stat().st_mtime < since.timestamp():
                continue
            files += 1
            messages.update(_messages(path, since))
        except (OSError, EOFError, zlib.error) as error:
            unread.append(f"{path}: {getattr(error, 'strerror', None) or error}")
    told = tuple(messages.most_common(MOST))
    return Errors(str(folder), since, files, messages.total(), told, tuple(unread))


def _messages(path: Path, since: datetime) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            if SERIOUS.search(line) and (said := _message(line, since)):
                yield said


def _message(line: str, since: datetime) -> str:
    """What an error line says; empty: it is none, or was written before. No time counts as new."""
    try:
        body = json.loads(line[line.index("{") :])
        level = str(body["level"]).lower()
        at = body.get("timestamp") or body.get("time")
        moment = datetime.fromisoformat(str(at)) if at else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    if level not in {"error", "critical", "fatal"}:
        return ""
    if moment is not None and moment.replace(tzinfo=moment.tzinfo or UTC) < since:
        return ""
    said = str(body.get("event") or body.get("message") or "(no message)")
    return "".join(char if char.isprintable() else " " for char in said)[:LONGEST]
