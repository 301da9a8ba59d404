"""Making a backup and looking whether one is whole. Calls go on meanwhile."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from agent.call import now
from agent.store import snapshot
from config.settings import Settings
from ops.upkeep import archive
from ops.upkeep.archive import Contents, Held, Item
from ops.upkeep.sealed import MAGIC, BackupError
from ops.upkeep.shelf import Backup, Shelf, room
from ops.upkeep.sources import PARTS, SNAPSHOT, Source, sources
from ops.upkeep.swap import make_folder

STAGING = ".upkeep-"
"""What folders begin with in which something is unpacked or copied for a moment."""

ONLY_SEALED = "secrets (.env, keys, the callers' salt), transcripts and recordings"

Progress = Callable[[int, int], None]
"""Told of bytes that are done, and of how many there are about."""


@dataclass(slots=True)
class Made:
    """What was backed up. `parts` counts files and bytes of each."""

    backup: Backup | None
    parts: dict[str, tuple[int, int]]
    notes: list[str]
    removed: list[str] = field(default_factory=list)
    """Names of old backups."""
    seconds: float = 0.0


def make(
    settings: Settings,
    parts: Sequence[str],
    progress: Progress = lambda _done, _all: None,
    *,
    tag: str = "",
) -> Made:
    """Back up these parts, read it back, and only then remove what is too old.

    With a `tag` nothing old is removed, and the parts do not count as backed up. `backup` is None
    when there is nothing to back up yet. The shelf is locked by the caller. Raises BackupError,
    StoreError, SettingsError.
    """
    begun, at = time.monotonic(), now()
    shelf = Shelf(settings.backup.folder)
    key = settings.backup.key.get_secret_value()
    wanted = [one for one in sources(settings) if one.part in parts]
    plan = _Plan(settings, [one for one in wanted if key or not one.is_secret], words=bool(key))
    notes = _notes(settings, parts, encrypted=bool(key))
    found = plan.look()
    if "database" in parts and plan.facts is None:
        notes.append("no calls yet: there is no database to back up")
    if not found:
        return Made(None, {}, [*notes, "there is nothing to back up yet"])
    with staged(settings) as folder, shelf.drafted() as (file, draft):
        meter = _Meter(plan.size, progress)
        about = {"made_at": at.isoformat(), "parts": list(parts), "encrypted": bool(key)}
        held = archive.write(file, key, about, plan.items(folder, meter), meter)
        file.flush()
        os.fsync(file.fileno())
        # From the disk, not from memory.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        _compare(archive.read(file, key, progress=meter), held)
        done = [part for part in PARTS if part in {one.part for one in held}]
        if not done:
            return Made(None, {}, [*notes, "there is nothing to back up yet"])
        backup = shelf.keep(draft, done, at, sealed=bool(key), tag=tag)
    made = Made(backup, _counted(held), notes)
    if not tag:
        shelf.tell(done, at)
        for old in shelf.outdated(settings.backup.days, at):
            shelf.remove(old)
            made.removed.append(old.name)
    made.seconds = time.monotonic() - begun
    return made


def verify(backup: Backup, key: str, progress: Progress = lambda _done, _all: None) -> Contents:
    """Read a whole backup and compare every sum. Raises BackupError, which names it."""
    with opened(backup) as file:
        return archive.read(file, key, progress=_Meter(0, progress))


@contextmanager
def opened(backup: Backup) -> Iterator[Any]:
    """The file of a backup; what is wrong with it is said with its name."""
    try:
        with backup.path.open("rb") as file:
            _check_sealed(backup, file)
            yield file
    except OSError as error:
        raise BackupError(f"{backup.name}: {error.strerror}") from None
    except BackupError as error:
        raise BackupError(f"{backup.name}: {error}") from None


def _check_sealed(backup: Backup, file: IO[bytes]) -> None:
    """Whoever can write there, and has no key, must not be believed for a name."""
    if backup.is_encrypted and file.read(len(MAGIC)) != MAGIC:
        raise BackupError("it is not encrypted, though its name says so")
    file.seek(0)


@contextmanager
def staged(settings: Settings) -> Iterator[Path]:
    """A folder beside the data that is its owner's alone and goes with what is in it."""
    place = settings.data.folder
    try:
        make_folder(place)
        folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=place))  # mode 0700
    except OSError as error:
        raise BackupError(
            f"{place}: cannot be written ({error.strerror}): set data.folder"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parts_of(text: str) -> tuple[str, ...]:
    """The parts that `--what` names, in our order; all of them for nothing. Raises BackupError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise BackupError(f"--what: {name} is none of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in names or not names)


class _Plan:
    """What is to be read: looked at before, for its size, and again file by file."""

    def __init__(self, settings: Settings, chosen: Sequence[Source], *, words: bool) -> None:
        self._settings, self._chosen, self._words = settings, chosen, words
        self.facts: snapshot.Facts | None = None
        self.size = 0
        """Bytes, as far as they can be told before."""

    def look(self) -> bool:
        """Whether there is anything. Raises BackupError where it would not fit on the disk."""
        is_any = False
        for one in self._chosen:
            if one.label == SNAPSHOT:
                known = snapshot.facts(self._settings.store.url)
                self.facts = known if known and known.revision else None
                continue
            for item in one.items():
                is_any = True
                self.size += _size(item.file)
        database = self.facts.size if self.facts else 0
        self.size += database
        room({self._settings.data.folder: database, self._settings.backup.folder: self.size})
        return is_any or self.facts is not None

    def items(self, folder: Path, meter: Callable[[int], None]) -> Iterator[Item]:
        """Each file, when its turn comes."""
        for one in self._chosen:
            if one.label != SNAPSHOT:
                yield from one.items()
            elif self.facts is not None:
                url = self._settings.store.url
                for path in snapshot.take(url, folder, words=self._words, progress=meter):
                    yield Item(f"{one.part}/{one.label}/{path.name}", path)
                    path.unlink()


class _Meter:
    """Turns bytes that were done since into how much is done of all."""

    def __init__(self, size: int, progress: Progress) -> None:
        # Everything is written once and read back once.
        self._size, self._done, self._progress = 2 * size, 0, progress

    def __call__(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._size)


def _notes(settings: Settings, parts: Sequence[str], *, encrypted: bool) -> list[str]:
    notes = []
    if not encrypted:
        notes.append(f"backup.key is not set: without {ONLY_SEALED}")
    if "recordings" in parts and settings.recording.storage.kind != "local":
        kind = settings.recording.storage.kind
        notes.append(f"recordings in {kind} stay there: let that store keep versions of them")
    if _disk(settings.backup.folder) == _disk(settings.data.folder):
        notes.append("backup.folder is on the disk of the data: what takes one takes both")
    return notes


def _disk(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return folder.stat().st_dev


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # gone just now


def _compare(read: Contents, held: Sequence[Held]) -> None:
    sums = [(one.name, one.size, one.sha256) for one in read.files]
    if sums != [(one.name, one.size, one.sha256) for one in held]:
        raise BackupError("what was read back is not what was written: look at the disk")


def _counted(held: Sequence[Held]) -> dict[str, tuple[int, int]]:
    files = Counter(one.part for one in held)
    sizes: Counter[str] = Counter()
    for one in held:
        sizes[one.part] += one.size
    return {part: (files[part], sizes[part]) for part in PARTS if part in files}
