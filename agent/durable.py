"""Files that several processes append to, and that survive a crash: locked, synced, whole lines."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, create: bool = False) -> Iterator[int]:
    """Open and lock the file that has this name now. Raises FileNotFoundError without one.

    A replay may remove the file between our open and our lock; what is written to a removed
    file is lost, so the name is looked up again under the lock.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        file = os.open(path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_current(path, file):
                yield file
                return
        finally:
            os.close(file)


def _is_current(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def write_all(file: int, data: bytes) -> None:
    """Append and sync; a refused write (a full disk) leaves the file as it was. Raises OSError.

    A last line that a crash has torn is ended first, so that it spoils no other.
    """
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        data = b"\n" + data
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise
