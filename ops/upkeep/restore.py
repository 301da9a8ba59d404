"""Bringing back a backup: verified first, all or nothing, nothing forgotten and nothing revoked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from agent.egress import UNFINISHED
from agent.errors import StoreError, StoreTooNew, StoreUnavailable
from agent.ledger import residents
from agent.store import CallLog, restoring, snapshot
from agent.store.keeping import Kept, Present, uris
from agent.store.restoring import Copy
from config.settings import Settings
from ops.recordings.forget import told_in_file
from ops.upkeep import archive
from ops.upkeep.archive import Contents, Held
from ops.upkeep.backup import Progress, make, opened, staged
from ops.upkeep.sealed import BackupError
from ops.upkeep.shelf import BEFORE, Backup, room
from ops.upkeep.sources import PARTS, RING, SNAPSHOT, Source, sources
from ops.upkeep.swap import Swap, recover

RETIRED = "keys.retire"
ONLY_MISSING = frozenset({"spool", "webhooks", "files", "reports"})
"""Labels of which what is here now is newer, and stays: events that wait, logs, reports."""

Line = dict[str, Any]


@dataclass(slots=True)
class Restored:
    """What came back. `files` counts them by part, the database's rows aside."""

    backup: Backup
    files: dict[str, int]
    database: bool
    before: Backup | None
    """What was there before, if there was anything."""
    kept: Kept
    notes: list[str] = field(default_factory=list)


def restore(
    settings: Settings,
    backup: Backup,
    key: str,
    line: Line,
    *,
    parts: Sequence[str] = (),
    discard: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Restored:
    """Bring back `parts` of a backup, or all of it. The shelf is locked by the caller.

    `line` is what the audit trail says; `discard`: what is there need not be backed up first.
    Raises BackupError, StoreError, SettingsError: then everything is as it was.
    """
    missing = [part for part in parts if part not in backup.parts]
    if missing:
        raise BackupError(f"{backup.name} has no {', '.join(missing)}")
    work = _Restore(settings, backup, parts or backup.parts, line)
    work.check_unused()
    recover(settings.backup.journal)
    with opened(backup) as file:
        contents = archive.read(file, key, progress=lambda count: work.count(count, progress))
    work.check_room(contents)
    with staged(settings) as folder:
        (folder / "files").mkdir()
        with opened(backup) as file:
            contents = archive.read(file, key, folder / "files")
        work.take(contents, folder)
        before = None if discard else _keep_what_is_there(settings, work.parts)
        work.run()
    return replace(work.done, before=before) if before else work.done


class _Restore:
    """One restore on its way."""

    def __init__(
        self, settings: Settings, backup: Backup, parts: Sequence[str], line: Line
    ) -> None:
        self.settings, self.backup, self.line = settings, backup, line
        self.parts = [part for part in PARTS if part in parts]
        self.url = settings.store.url
        self.places = {(one.part, one.label): one for one in sources(settings)}
        self.files: list[Held] = []
        self.copy: Copy | None = None
        self.present = Present()
        self.swap = Swap(settings.backup.journal)
        self.done = Restored(backup, {}, database=False, before=None, kept=Kept())
        self._read = 0

    def count(self, count: int, progress: Progress) -> None:
        """Of bytes that were verified."""
        self._read += count
        progress(self._read, 0)

    def check_unused(self) -> None:
        """Raises BackupError and StoreError while a worker or `ops serve` is at work here."""
        count = residents(self.settings.data.folder / "run")
        if count:
            raise BackupError(
                f"{self.settings.data.folder} is in use by {count} processes (workers, `ops"
                " serve`): stop them first"
            )
        if "database" in self.parts:
            snapshot.check_free(self.url)

    def check_room(self, contents: Contents) -> None:
        """Raises BackupError unless all of it fits, beside what is there."""
        needed: Counter[Path] = Counter()
        for one in contents.files:
            needed[self.settings.data.folder] += one.size
            place = self.places.get((one.part, one.label))
            if place is not None and one.label != SNAPSHOT:
                needed[place.path.parent] += one.size
        room(needed)

    def take(self, contents: Contents, folder: Path) -> None:
        """Look at what was unpacked. Raises BackupError, StoreError where it does not fit here."""
        chosen = [one for one in contents.files if one.part in self.parts]
        rows = [one for one in chosen if one.label == SNAPSHOT]
        self.files = [one for one in chosen if one.label != SNAPSHOT]
        for one in self.files:
            self._place(one)
        if "database" in self.parts:
            self.present = self._present()
        elif any(one.label == RING for one in self.files):
            self.present = self._present_if_any()
        if rows:
            self.copy = _copy(rows, folder / SNAPSHOT)
            restoring.check_fits(self.copy, self.url)
            if not self.copy.words:
                self._note("transcripts are not in this backup: it was made without a key")

    def run(self) -> None:
        """Do it. Whatever is raised, everything is as it was."""
        try:
            if self.copy is None:
                self._put(Kept())
            elif self.copy.kind == "postgresql":
                restoring.load_postgres(self.copy, self.url, self.present, self.line, self._put)
            else:
                kept = restoring.ready_file(self.copy, self.present, self.line)
                self._put(kept)
        except BaseException:
            self.swap.undo()
            raise
        self.swap.settle()
        if self.copy is None:
            self._audit()

    def _put(self, kept: Kept) -> None:
        """Put all files in their places, at the last moment."""
        for one in self._wanted(kept):
            place = self._place(one)
            target = place.target(one.path)
            if _is_same(target, one):
                continue
            assert one.staged is not None
            self.swap.place(one.staged, target, one.mode, one.mtime_ns, alone=place.label == RING)
        if self.copy is not None and self.copy.kind == "sqlite":
            self._put_database(self.copy)
        self.check_unused_again()
        self.swap.run()
        self.done.kept, self.done.database = kept, self.copy is not None

    def _audit(self) -> None:
        """Of files alone: they can be had back while the database cannot."""
        try:
            known = snapshot.facts(self.url)
            if known is None or not known.revision:
                return
            log = CallLog.open(self.url)
            try:
                log.audit(**self.line)
            finally:
                log.close()
        except StoreError as error:
            self._note(f"this is not in the audit trail: {error}")

    def check_unused_again(self) -> None:
        """Somebody may have come meanwhile. PostgreSQL's own locks look after its tables."""
        if self.copy is not None and self.copy.kind == "postgresql":
            return
        self.check_unused()

    def _put_database(self, copy: Copy) -> None:
        target = restoring.file_of(self.url)
        file = copy.folder / snapshot.SQLITE_FILE
        state = target.stat() if target.is_file() else file.stat()
        self.swap.place(file, target, state.st_mode & 0o777, file.stat().st_mtime_ns)
        for ending in ("-wal", "-shm", "-journal"):
            self.swap.put_aside(target.with_name(f"{target.name}{ending}"))

    def _wanted(self, kept: Kept) -> list[Held]:
        ring = self.places.get(("config", RING))
        has_ring = ring is not None and any(ring.items())
        retired = _retired(self.present)
        forgotten = _names(kept.uris)
        known = None
        if self.copy is None and "recordings" in self.parts:
            known = _names(uris(self.url))
        wanted, left = [], Counter[str]()
        for one in self.files:
            why = ""
            if one.label == RING and (has_ring or Path(one.path).stem in retired):
                why = "the keys of now stay" if has_ring else "a key was retired since"
            elif one.part == "recordings":
                name = _recording(one.path)
                if name in forgotten:
                    why = "their caller was forgotten"
                elif known is not None and name not in known:
                    why = "the database of now knows no such recordings"
            elif one.label in ONLY_MISSING and self._place(one).target(one.path).exists():
                why = "what is there is newer" if one.label != SNAPSHOT else ""
            if why:
                left[why] += 1
            else:
                wanted.append(one)
        for why, count in left.items():
            self._note(f"{count} files were left out: {why}")
        self.done.files = dict(Counter(one.part for one in wanted))
        return wanted

    def _place(self, one: Held) -> Source:
        place = self.places.get((one.part, one.label))
        if place is None:
            raise BackupError(f"{one.name}: the settings of now have no place for it")
        place.target(one.path)
        return place

    def _present(self) -> Present:
        in_file = tuple(told_in_file(self.settings))
        try:
            known = restoring.present(self.url)
        except (StoreUnavailable, StoreTooNew):
            raise
        except StoreError as error:
            self._note(f"the database that was there cannot be read ({error}): revocations in it"
                       " are lost")  # fmt: skip
            known = Present()
        return replace(known, tombstones=(*known.tombstones, *in_file))

    def _present_if_any(self) -> Present:
        """For the configuration alone, which can be had back while the database cannot."""
        try:
            return self._present()
        except StoreError as error:
            self._note(f"whether keys were retired since is not known: {error}")
            return Present()

    def _note(self, text: str) -> None:
        if text not in self.done.notes:
            self.done.notes.append(text)


def _keep_what_is_there(settings: Settings, parts: Sequence[str]) -> Backup | None:
    """Back up what is about to be replaced. Raises BackupError when that cannot be done whole."""
    without = "--discard-present goes on without"
    if not settings.backup.key.get_secret_value():
        present = [one for one in sources(settings) if one.part in parts and one.is_secret]
        is_there = "database" in parts and _has_rows(settings.store.url)
        if is_there or any(True for one in present for _ in one.items()):
            raise BackupError(
                "what is there now cannot be backed up whole without backup.key: set it"
                f" (VOICE_AGENT__BACKUP__KEY), or {without}"
            )
    try:
        return make(settings, parts, tag=BEFORE).backup
    except (BackupError, StoreError) as error:
        raise BackupError(f"what is there now cannot be backed up ({error}): {without}") from None


def _has_rows(url: str) -> bool:
    known = snapshot.facts(url)
    return known is not None and bool(known.revision)


def _copy(rows: Iterable[Held], folder: Path) -> Copy:
    """The database's files by their names. Raises BackupError for a name that is none of them."""
    folder.mkdir()
    for one in rows:
        is_plain = one.path == os.path.basename(one.path)  # noqa: PTH119 - a name, not a path
        if not is_plain or one.staged is None:
            raise BackupError(f"{one.name}: not a file of a database")
        one.staged.rename(folder / one.path)
    return restoring.describe(folder)


def _is_same(target: Path, one: Held) -> bool:
    """Whether the file is there already, with this content and mode."""
    try:
        state = target.lstat()
        if target.is_symlink() or state.st_size != one.size or state.st_mode & 0o777 != one.mode:
            return False
        with target.open("rb") as file:
            return archive.sum_of(file) == one.sha256
    except OSError:
        return False


def _retired(present: Present) -> set[str]:
    """LiveKit keys that were retired, and not added again since."""
    known: dict[str, str] = {}
    for row in sorted(present.audit, key=lambda row: row["at"]):
        if str(row["what"]).startswith("keys."):
            known[str(row["object"]).partition(" ")[0]] = str(row["what"])
    return {name for name, what in known.items() if what == RETIRED}


def _recording(path: str) -> str:
    """What a file or folder of recordings is called when it is finished."""
    return path.split("/", maxsplit=1)[0].removesuffix(UNFINISHED)


def _names(addresses: Iterable[str]) -> set[str]:
    """Names that these addresses end in: of a file, or of the folder of a playlist."""
    paths = [Path(unquote(urlsplit(one).path)) for one in addresses]
    return {path.name for path in paths} | {path.parent.name for path in paths}
