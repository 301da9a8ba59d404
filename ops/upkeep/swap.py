"""Many files changed as one: all of them or none, also when this process is killed in between.

New files wait beside their places; then each old one is put aside and the new one takes its name.
What is about to be done stands in a journal before, by which it is undone.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ops.upkeep.sealed import BackupError
from ops.upkeep.shelf import sync

DONE = ".done"
ALONE = 0o700


@dataclass(frozen=True, slots=True)
class Move:
    """`draft` takes the place of what is at `target`, which goes `aside`; None: there is none."""

    target: Path
    draft: Path | None
    aside: Path | None


class Swap:
    """One change of many files. The owner runs it, then settles or undoes it."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._id = journal, uuid4().hex[:12]
        self._moves: list[Move] = []

    def __len__(self) -> int:
        return len(self._moves)

    def place(
        self, staged: Path, target: Path, mode: int, mtime_ns: int, *, alone: bool = False
    ) -> None:
        """Let `staged` become `target`. A folder that is made for it is ours `alone` if wanted.

        Raises BackupError; nothing but a draft is there until `run`.
        """
        draft = target.with_name(f".{target.name}.{self._id}.new")
        try:
            make_folder(target.parent, ALONE if alone else 0o777)
            aside = self._aside(target)
            self._moves.append(Move(target, draft, aside))
            _moved(staged, draft)
            _given(draft, to_owner_of=target.parent if aside is None else target)
            draft.chmod(mode)
            os.utime(draft, ns=(mtime_ns, mtime_ns))
        except OSError as error:
            raise BackupError(f"{target}: cannot be written: {error.strerror}") from None

    def put_aside(self, target: Path) -> None:
        """Let `target` be gone, if it is there."""
        if (aside := self._aside(target)) is not None:
            self._moves.append(Move(target, None, aside))

    def run(self) -> None:
        """Do it all. Raises BackupError, after all was undone."""
        try:
            self._write()
            for move in self._moves:
                if move.aside is not None:
                    move.target.rename(move.aside)
                if move.draft is not None:
                    move.draft.rename(move.target)
            for folder in {move.target.parent for move in self._moves}:
                sync(folder)
        except OSError as error:
            self.undo()
            raise BackupError(f"{error.filename}: {error.strerror}; all was put back") from None

    def undo(self) -> None:
        """Put everything back as it was; also before `run`. Raises BackupError."""
        _undo(self._moves)
        self._journal.unlink(missing_ok=True)

    def settle(self) -> None:
        """Let it stand: what was put aside is removed."""
        done = self._journal.with_name(f"{self._journal.name}{DONE}")
        if self._journal.exists():
            self._journal.rename(done)
        _clear(self._moves)
        done.unlink(missing_ok=True)

    def _aside(self, target: Path) -> Path | None:
        if not target.exists() and not target.is_symlink():
            return None
        return target.with_name(f".{target.name}.{self._id}.old")

    def _write(self) -> None:
        told = [
            {"target": str(one.target), "draft": _text(one.draft), "aside": _text(one.aside)}
            for one in self._moves
        ]
        draft = self._journal.with_name(f".draft-{self._id}")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._journal)
        sync(self._journal.parent)


def recover(journal: Path) -> bool:
    """Undo, or clear up after, a change whose process was killed; whether there was one.

    Raises BackupError when it cannot be done, or would throw away what was written since then.
    """
    done = journal.with_name(f"{journal.name}{DONE}")
    if done.exists():
        _clear(_read(done))
        done.unlink()
    if not journal.exists():
        return False
    moves = _read(journal)
    _check_unwritten(moves, journal)
    _undo(moves)
    journal.unlink()
    return True


def _check_unwritten(moves: Iterable[Move], journal: Path) -> None:
    """What was put in a place has the time of the backup: what is newer, somebody has written."""
    since = journal.stat().st_mtime_ns
    for move in moves:
        try:
            is_newer = move.target.lstat().st_mtime_ns > since
        except FileNotFoundError:
            continue
        is_replaced = move.aside.exists() if move.aside else not _exists(move.draft)
        if is_newer and is_replaced:
            before = f", and what was there before is {move.aside}" if move.aside else ""
            raise BackupError(
                f"{move.target}: was written since a restore was cut off{before}: to go on with"
                f" what is there now, move {journal} away; to have back what was, move the"
                " newer file away"
            )


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()


def _read(journal: Path) -> list[Move]:
    try:
        told = json.loads(journal.read_text(encoding="utf-8"))
        return [Move(Path(one["target"]), _path(one["draft"]), _path(one["aside"])) for one in told]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BackupError(
            f"{journal}: a restore was cut off, and its journal cannot be read: put the files"
            " *.old back by hand"
        ) from error


def _undo(moves: Iterable[Move]) -> None:
    try:
        for move in reversed(list(moves)):
            if move.aside is not None and move.aside.exists():
                move.aside.replace(move.target)
            elif move.aside is None and move.draft is not None and not move.draft.exists():
                move.target.unlink(missing_ok=True)
            if move.draft is not None:
                move.draft.unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(
            f"{error.filename}: cannot be put back: {error.strerror}; run the command again, it"
            " goes on with that"
        ) from None


def _clear(moves: Iterable[Move]) -> None:
    for move in moves:
        if move.aside is not None:
            move.aside.unlink(missing_ok=True)


def _moved(staged: Path, draft: Path) -> None:
    try:
        staged.rename(draft)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(staged, draft)
        staged.unlink()
    descriptor = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder with those above it, for the user whom the first one there belongs to.

    Raises OSError.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=mode, exist_ok=True)
        _given(one, to_owner_of=one.parent)


def _given(path: Path, *, to_owner_of: Path) -> None:
    """Root restores for the user whom the worker runs as."""
    if os.geteuid() == 0:
        owner = to_owner_of.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
