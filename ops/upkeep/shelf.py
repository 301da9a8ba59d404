"""The folder of backups: their names, its lock, what is too old, when each part was last safe."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from uuid import uuid4

from ops.upkeep.sealed import BackupError

LAST, LOCK = "last.json", ".lock"
DRAFT = ".draft-"
PLAIN, SEALED = ".tar.gz", ".tar.gz.sealed"
BEFORE = "before-restore"
MARGIN = 64 << 20
"""Bytes that stay free on a disk, at least."""

_NAME = re.compile(
    r"(?P<name>voice-(?P<at>\d{8}T\d{6}Z)(-\d+)?-(?P<parts>[a-z]+(\+[a-z]+)*)"
    r"(?P<before>-before-restore)?)\.tar\.gz(?P<sealed>\.sealed)?"
)
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Backup:
    """One file of the folder. `size` is bytes."""

    name: str
    path: Path
    made_at: datetime
    parts: tuple[str, ...]
    is_encrypted: bool
    is_before_restore: bool
    size: int


class Shelf:
    """The backups in `folder`. Methods raise BackupError, which says what to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def listed(self) -> list[Backup]:
        """All of them, the newest first. A folder that is not there has none."""
        try:
            paths = list(self.folder.iterdir()) if self.folder.is_dir() else []
        except OSError as error:
            raise self._wrong("read", error) from None
        found = [one for path in paths if (one := self._backup(path.name))]
        return sorted(found, key=lambda one: (one.made_at, one.name), reverse=True)

    def find(self, name: str) -> Backup:
        """By its name or the beginning of it, with or without `voice-`; `latest`: the newest."""
        known = self.listed()
        ordinary = [one for one in known if not one.is_before_restore]
        if name == "latest" and ordinary:
            return ordinary[0]
        exact = [one for one in known if name in {one.name, one.path.name}]
        begun = [one for one in known if one.name.startswith((name, f"voice-{name}"))]
        found = exact or (begun if name else [])
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(one.name for one in found[:5])
            raise BackupError(f"{name} may be any of {several}: write more of the name")
        raise BackupError(
            f"no backup {name} in {self.folder} (setting backup.folder):"
            " python -m ops backup list tells their names"
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time works here. The folder is made, and is its owner's alone."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(self.folder / LOCK, flags, 0o600)
        except OSError as error:
            raise self._wrong("written", error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(
                f"another backup, restore or cleanup works in {self.folder}: wait for its end"
            ) from None
        else:
            for path in self.folder.glob(f"{DRAFT}*"):  # of a command that was killed
                path.unlink(missing_ok=True)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def drafted(self) -> Iterator[tuple[IO[bytes], Path]]:
        """A new file that only its owner may read; it is removed unless `keep` named it."""
        draft = self.folder / f"{DRAFT}{uuid4().hex}"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(draft, flags, 0o600), "w+b") as file:
                yield file, draft
        except OSError as error:
            raise self._wrong("written", error) from None
        finally:
            draft.unlink(missing_ok=True)

    def keep(
        self, draft: Path, parts: Sequence[str], at: datetime, *, sealed: bool, tag: str = ""
    ) -> Backup:
        """Give a finished draft its name, for good."""
        stamp, what = f"{at.astimezone(UTC):{_STAMP}}", "+".join(parts)
        ending = f"{f'-{tag}' if tag else ''}{SEALED if sealed else PLAIN}"
        for number in ("", *(f"-{count}" for count in range(2, 1000))):
            path = self.folder / f"voice-{stamp}{number}-{what}{ending}"
            try:
                os.link(draft, path)  # never over another one
            except FileExistsError:
                continue
            except OSError:
                if path.exists():
                    continue
                draft.rename(path)  # a disk that knows no links
            sync(self.folder)
            made = self._backup(path.name)
            assert made is not None
            return made
        raise BackupError("a thousand backups within one second")

    def told(self) -> dict[str, str]:
        """When each part was last backed up: ISO 8601, UTC."""
        try:
            told = json.loads((self.folder / LAST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(key): str(at) for key, at in told.items()} if isinstance(told, dict) else {}

    def tell(self, parts: Sequence[str], at: datetime) -> None:
        """Say that these parts are safe as of then."""
        told = {**self.told(), **dict.fromkeys(parts, f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")}
        draft = self.folder / f"{DRAFT}{uuid4().hex}"
        try:
            draft.write_text(f"{json.dumps(told, sort_keys=True)}\n", encoding="utf-8")
            draft.replace(self.folder / LAST)
        except OSError as error:
            raise self._wrong("written", error) from None

    def outdated(self, days: int, now: datetime) -> list[Backup]:
        """Those older than that, of which every part is in a newer one that is as secret."""
        known = self.listed()
        gone: list[Backup] = []
        for old in reversed(known):
            newer = [one for one in known if one.made_at > old.made_at and one not in gone]
            worthy = [
                one
                for one in newer
                if (one.is_encrypted or not old.is_encrypted) and not one.is_before_restore
            ]
            is_covered = all(any(part in one.parts for one in worthy) for part in old.parts)
            if old.made_at < now - timedelta(days=days) and is_covered:
                gone.append(old)
        return gone

    def remove(self, backup: Backup) -> None:
        """Remove one."""
        try:
            backup.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._wrong("written", error) from None

    def _backup(self, name: str) -> Backup | None:
        told = _NAME.fullmatch(name)
        if not told:
            return None
        path = self.folder / name
        try:
            made_at = datetime.strptime(told["at"], _STAMP).replace(tzinfo=UTC)
            size = path.stat().st_size
        except (ValueError, OSError):
            return None
        parts = tuple(told["parts"].split("+"))
        sealed, before = bool(told["sealed"]), bool(told["before"])
        return Backup(told["name"], path, made_at, parts, sealed, before, size)

    def _wrong(self, what: str, error: OSError) -> BackupError:
        return BackupError(
            f"{self.folder}: cannot be {what} ({error.strerror}): set backup.folder"
            " (VOICE_AGENT__BACKUP__FOLDER)"
        )


def room(needed: Mapping[Path, int]) -> None:
    """Raises BackupError unless every disk has room for what is to be written below its folder."""
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, size in needed.items():
        place = folder
        while not place.exists():
            place = place.parent
        disk = place.stat().st_dev
        known = by_disk.get(disk, (place, 0))
        by_disk[disk] = known[0], known[1] + size
    for place, size in by_disk.values():
        free = shutil.disk_usage(place).free
        if free < size + MARGIN:
            raise BackupError(
                f"{place}: {free >> 20} MB are free, and {(size + MARGIN) >> 20} MB are needed"
            )


def sync(folder: Path) -> None:
    """Make names in a folder last. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
