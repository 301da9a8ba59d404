"""How much lies in a folder, and how full its disk is. Nothing is changed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Heap:
    """The files of a folder and of those below it."""

    files: int = 0
    size: int = 0
    """Bytes."""
    changed: int = 0
    """Bytes of the files that were written to since then: what has grown, at most."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of a folder, in bytes."""

    total: int
    free: int
    device: int

    @property
    def used_percent(self) -> float:
        """Of what is there."""
        return round(100 * (1 - self.free / self.total), 1) if self.total else 0.0


def heap(folder: Path, since: datetime) -> Heap:
    """What is in the folder; nothing for one that is not there or cannot be read."""
    files = size = changed = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found = Path(parent, name).lstat()
            except OSError:
                continue  # removed meanwhile
            files, size = files + 1, size + found.st_size
            if found.st_mtime >= since.timestamp():
                changed += found.st_size
    return Heap(files, size, changed)


def disk(folder: Path) -> Disk:
    """The disk on which the folder is, or will be. Raises OSError."""
    there = there_of(folder)
    found = shutil.disk_usage(there)
    return Disk(found.total, found.free, there.stat().st_dev)


def there_of(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def told(size: float | None) -> str:
    """Bytes for people, in powers of a thousand."""
    if size is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
