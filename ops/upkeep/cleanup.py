"""`python -m ops cleanup`: old logs are compressed, old recordings and leftovers go.

Recordings go by the one rule there is, `ops.recordings`; what a call uses is never touched.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from agent.store import snapshot
from agent.store.recordings import Recordings
from config import settings as configured
from config.settings import Settings
from ops.audit import auditor
from ops.printing import console, print_json
from ops.recordings.open import opened, source
from ops.upkeep.archive import sum_of
from ops.upkeep.backup import STAGING
from ops.upkeep.backup_commands import megabytes
from ops.upkeep.shelf import Shelf, sync

KINDS = ("logs", "recordings", "temporary")
LOGS = ("*.log", "*.log.*", "*.jsonl")
COMPRESSED = (".gz", ".xz", ".bz2", ".zst")
DAY = 86_400.0
LOG_DAYS = 30
"""After which a log that nobody writes any more is compressed."""

OWN_FOLDERS = re.compile(r"(line|offline-stt|rehearsal|voice-ai-bench)-[a-z0-9_]{8}")
"""What simulated calls and benches that were killed leave in the folder for temporary files."""

OWN_DRAFTS = re.compile(r"caller_salt\.[0-9a-f]{32}|\.trial-[0-9a-f]{32}|\..+\.key\.[0-9a-f]{32}")
"""What a process that was killed leaves of a file it was about to write, in the data folder."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something whose time is up: a path, or a recording's id. `size` is bytes.

    `freed` is how many of them there are no more; None: nothing was done. `why`: why not.
    """

    kind: str
    what: str
    size: int
    freed: int | None = None
    why: str = ""


def cleanup(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; otherwise only say.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Compress logs of 30 days, delete recordings that were kept long enough, clear up leftovers.

    Only says what it would do, unless --yes. Exit code 1: something could not be done.
    """
    settings = configured.load()
    with Shelf(settings.backup.folder).locked():
        found = asyncio.run(look(settings))
        if yes and found:
            with auditor(settings, "cleanup") as audit:
                found = asyncio.run(clear(settings, found))
                audit("cleanup", ", ".join(f"{row['kind']} {row['freed']}" for row in _sums(found)))
    if as_json:
        print_json(_json(found, done=yes))
    else:
        _show(found, done=yes)
    if yes and any(one.freed is None for one in found):
        raise typer.Exit(1)


async def look(settings: Settings) -> list[Found]:
    """What there is to clear up. Changes nothing. Raises StoreError."""
    in_use = _open_files()
    found = [*_old_logs(settings.log.folder, in_use), *_leftovers(settings, in_use)]
    return sorted([*found, *await _recordings(settings)], key=lambda one: KINDS.index(one.kind))


async def clear(settings: Settings, found: list[Found]) -> list[Found]:
    """Do it: what became of each. Raises StoreError."""
    done = []
    for one in found:
        if one.kind == "recordings":
            continue
        try:
            work = _compress if one.kind == "logs" else _remove
            done.append(replace(one, freed=work(Path(one.what))))
        except OSError as error:
            done.append(replace(one, why=error.strerror or type(error).__name__))
    wanted = [one for one in found if one.kind == "recordings"]
    if wanted:
        async with opened(settings) as studio:
            swept = await studio.sweep(source("cleanup"))
        gone = set(swept.deleted)
        done += [
            replace(one, freed=one.size, why="")
            if one.what in gone
            else replace(one, why=one.why or "the log says why")
            for one in wanted
        ]
    return done


async def _recordings(settings: Settings) -> list[Found]:
    known = snapshot.facts(settings.store.url)
    if known is None or not known.revision:
        return []  # no calls yet
    section = settings.recording
    async with opened(settings) as studio:
        rows = await studio.database.run(
            lambda log: Recordings(log.engine).to_delete(section.days, section.days_by_persona)
        )
    return [
        Found("recordings", row.id, row.size or 0, why="" if row.is_over else "it goes on")
        for row in rows
    ]


def _old_logs(folder: Path, in_use: set[tuple[int, int]]) -> Iterator[Found]:
    until = time.time() - LOG_DAYS * DAY
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.suffix in COMPRESSED or not any(fnmatch(path.name, name) for name in LOGS):
            continue
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode) or state.st_mtime > until:
            continue
        if (state.st_dev, state.st_ino) not in in_use:
            yield Found("logs", str(path), state.st_size)


def _leftovers(settings: Settings, in_use: set[tuple[int, int]]) -> Iterator[Found]:
    """Older than a day, ours, and open nowhere."""
    data, temporary = settings.data.folder, Path(tempfile.gettempdir())
    drafts = [data, data / "keys"]
    candidates = [path for path in _in(data) if path.name.startswith(STAGING)]
    candidates += [path for path in _in(temporary) if OWN_FOLDERS.fullmatch(path.name)]
    candidates += [
        path for folder in drafts for path in _in(folder) if OWN_DRAFTS.fullmatch(path.name)
    ]
    for path in candidates:
        try:
            states = [path.lstat(), *(below.lstat() for below in path.rglob("*"))]
        except OSError:
            continue  # gone just now
        is_ours = states[0].st_uid == os.geteuid() and not stat.S_ISLNK(states[0].st_mode)
        newest = max(state.st_mtime for state in states)
        is_open = any((state.st_dev, state.st_ino) in in_use for state in states)
        if is_ours and newest < time.time() - DAY and not is_open:
            size = sum(state.st_size for state in states if stat.S_ISREG(state.st_mode))
            yield Found("temporary", str(path), size)


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _open_files() -> set[tuple[int, int]]:
    """Device and number of every file that a process has open or works in, as far as we may see."""
    known: set[tuple[int, int]] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [process / "cwd", *(process / "fd").iterdir()]
        except OSError:
            continue  # it has ended, or is somebody else's
        for link in links:
            try:
                state = link.stat()
            except OSError:
                continue
            known.add((state.st_dev, state.st_ino))
    return known


def _compress(path: Path) -> int:
    """Put a compressed file, read back, in the place of a log: bytes that this frees."""
    state = path.stat()
    day = time.strftime("%Y%m%d", time.localtime(state.st_mtime))
    target = path.with_name(f"{path.name}.{day}.gz")
    draft = path.with_name(f".{target.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            path.open("rb") as log,
            os.fdopen(os.open(draft, flags, 0o600), "wb") as out,
            gzip.GzipFile("", "wb", fileobj=out, mtime=int(state.st_mtime)) as packed,
        ):
            shutil.copyfileobj(log, packed, 1 << 20)
        with path.open("rb") as log, gzip.open(draft, "rb") as packed:
            if sum_of(log) != sum_of(packed):  # type: ignore[arg-type]
                raise OSError(0, "what was read back is not what was written")
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) != (state.st_size, state.st_mtime_ns):
            raise OSError(0, "somebody writes it again")
        draft.chmod(stat.S_IMODE(state.st_mode))
        os.utime(draft, ns=(state.st_mtime_ns, state.st_mtime_ns))
        target.hardlink_to(draft)  # never over another one
        sync(path.parent)
        path.unlink()
    finally:
        draft.unlink(missing_ok=True)
    return state.st_size - target.stat().st_size


def _remove(path: Path) -> int:
    if not path.is_dir():
        size = path.stat().st_size
        path.unlink()
        return size
    size = sum(below.lstat().st_size for below in path.rglob("*") if below.is_file())
    shutil.rmtree(path)
    return size


def _sums(found: list[Found]) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "count": len(own := [one for one in found if one.kind == kind]),
            "bytes": sum(one.size for one in own),
            "freed": sum(one.freed or 0 for one in own),
        }
        for kind in KINDS
    ]


def _json(found: list[Found], *, done: bool) -> dict[str, Any]:
    items = [
        {"kind": one.kind, "what": one.what, "bytes": one.size, "freed": one.freed, "why": one.why}
        for one in found
    ]
    return {"done": done, "kinds": _sums(found), "items": items}


def _show(found: list[Found], *, done: bool) -> None:
    if not found:
        typer.echo("nothing to clear up")
        return
    last = "freed" if done else "would be"
    table = Table("kind", "count", "size", last, box=None, pad_edge=False, header_style="bold")
    verbs = {"logs": "compressed", "recordings": "deleted", "temporary": "removed"}
    for row in _sums(found):
        said = megabytes(row["freed"]) if done else verbs[row["kind"]]
        table.add_row(row["kind"], str(row["count"]), megabytes(row["bytes"]), said)
    console().print(table)
    for one in found:
        if one.why:
            typer.echo(f"left: {one.what}: {one.why}")
    if not done:
        typer.echo("nothing was changed: --yes does it")
