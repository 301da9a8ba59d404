"""One backup as one file: a compressed tar, encrypted if there is a key, with its own list of sums.

Its members are `about.json`, the files, named PART/LABEL/PATH, and at the end `manifest.json` with
size, SHA-256, mode and time of each. Without a key any tar reads it. What is read is kept under
numbers, never under the names that an archive tells.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from ops.upkeep.sealed import MAGIC, BackupError, SealedReader, SealedWriter

ABOUT, MANIFEST = "about.json", "manifest.json"
FORMAT = 1
LEVEL = 1
"""Of compression: recordings do not shrink, and calls want the processor."""

BLOCK = 1 << 20
LARGEST_JSON = 256 << 20
_CAREFULLY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, and no waiting for a pipe
NAME = re.compile(r"[a-z]+/[a-z_]+/[^\x00\\]+")

Progress = Callable[[int], None]
"""Told of bytes of content that are done since."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that is to be backed up, and its name in the archive."""

    name: str
    file: Path


@dataclass(frozen=True, slots=True)
class Held:
    """A file in an archive. `staged` is where it was unpacked to."""

    name: str
    size: int
    sha256: str
    mode: int
    mtime_ns: int
    staged: Path | None = None

    @property
    def part(self) -> str:
        """Such as `database`."""
        return self.name.split("/")[0]

    @property
    def label(self) -> str:
        """Which place of that part: see `ops.upkeep.sources`."""
        return self.name.split("/")[1]

    @property
    def path(self) -> str:
        """Below that place."""
        return self.name.split("/", 2)[2]


@dataclass(frozen=True, slots=True)
class Contents:
    """All of an archive."""

    about: dict[str, Any]
    files: tuple[Held, ...]


def write(
    out: IO[bytes],
    passphrase: str,
    about: dict[str, Any],
    items: Iterable[Item],
    progress: Progress = lambda _: None,
) -> list[Held]:
    """Write an archive onto `out`: what is in it. Files that are gone meanwhile are left out.

    A file that grows is kept up to where it was. Raises BackupError for what cannot be read, and
    OSError when `out` cannot be written.
    """
    sealed = SealedWriter(out, passphrase) if passphrase else None
    packed = gzip.GzipFile("", "wb", LEVEL, sealed or out, mtime=0)
    held: list[Held] = []
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, ABOUT, json.dumps({"format": FORMAT, **about}).encode())
        for item in items:
            try:
                descriptor = os.open(item.file, os.O_RDONLY | _CAREFULLY)
            except FileNotFoundError:
                continue  # gone meanwhile
            except OSError as error:
                raise BackupError(f"{item.file}: cannot be read: {error.strerror}") from None
            with os.fdopen(descriptor, "rb") as file:
                held.append(_add_file(tar, item.name, file, progress))
        files = [asdict(replace(one, staged=None)) for one in held]
        _add(tar, MANIFEST, json.dumps({"files": files}).encode())
    packed.close()
    if sealed:
        sealed.finish()
    return held


def read(
    source: IO[bytes],
    passphrase: str,
    into: Path | None = None,
    progress: Progress = lambda _: None,
) -> Contents:
    """Read a whole archive and compare every sum; unpack it `into` a folder of numbered files.

    Raises BackupError for anything wrong with it, OSError when `into` cannot be written.
    """
    try:
        return _read(source, passphrase, into, progress)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, UnicodeError) as error:
        raise BackupError(f"it is damaged ({type(error).__name__})") from None


def sum_of(file: IO[bytes]) -> str:
    """The SHA-256 of the rest of a file, in hexadecimal."""
    summed = hashlib.sha256()
    while block := file.read(BLOCK):
        summed.update(block)
    return summed.hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, file: IO[bytes], progress: Progress) -> Held:
    state = os.fstat(file.fileno())
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = state.st_size, 0o600, int(state.st_mtime)
    summed = _Summed(file, state.st_size, progress)
    tar.addfile(info, summed)  # type: ignore[arg-type]
    mode = stat.S_IMODE(state.st_mode) & 0o777
    return Held(name, state.st_size, summed.sum.hexdigest(), mode, state.st_mtime_ns)


class _Summed:
    """Reads exactly `size` bytes: zeros after the end of a file that was cut off meanwhile."""

    def __init__(self, file: IO[bytes], size: int, progress: Progress) -> None:
        self._file, self._left, self._progress = file, size, progress
        self.sum = hashlib.sha256()

    def read(self, size: int) -> bytes:
        wanted = min(size, self._left)
        data = self._file.read(wanted).ljust(wanted, b"\0")
        self._left -= len(data)
        self.sum.update(data)
        self._progress(len(data))
        return data


def _read(source: IO[bytes], passphrase: str, into: Path | None, progress: Progress) -> Contents:
    plain: Any = _opened(source, passphrase)
    about: dict[str, Any] = {}
    manifest: dict[str, Any] = {}
    found: list[Held] = []
    with (
        gzip.GzipFile("", "rb", fileobj=plain) as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        for member in tar:
            data = _content(tar, member)
            if manifest:
                raise BackupError("it goes on after its end")
            if member.name == ABOUT and not about:
                about = _json(data, member)
                if about.get("format") != FORMAT:
                    raise BackupError("it is of a form that this release does not know")
            elif member.name == MANIFEST:
                manifest = _json(data, member)
            else:
                target = into / str(len(found)) if into else None
                found.append(_take(member, data, target, progress))
        while packed.read(BLOCK):  # what a tar is filled up with: its sum is at the very end
            pass
    if not (about and manifest):
        raise BackupError("it is not complete")
    return Contents(about, tuple(_compared(found, manifest)))


def _opened(source: IO[bytes], passphrase: str) -> Any:
    is_sealed = source.read(len(MAGIC)) == MAGIC
    source.seek(0)
    if not is_sealed:
        return source
    if not passphrase:
        raise BackupError("it is encrypted: set backup.key (VOICE_AGENT__BACKUP__KEY)")
    return SealedReader(source, passphrase)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    data = tar.extractfile(member) if member.type in {tarfile.REGTYPE, tarfile.AREGTYPE} else None
    if data is None:
        raise BackupError("it holds something that is no plain file")
    return data


def _json(data: IO[bytes], member: tarfile.TarInfo) -> dict[str, Any]:
    if member.size > LARGEST_JSON:
        raise BackupError("its list of files is too long")
    try:
        told = json.loads(data.read())
    except ValueError:
        raise BackupError("its list of files cannot be read") from None
    if not isinstance(told, dict):
        raise BackupError("its list of files cannot be read")
    return told


def _take(
    member: tarfile.TarInfo, data: IO[bytes], target: Path | None, progress: Progress
) -> Held:
    parts = member.name.split("/")
    if not NAME.fullmatch(member.name) or {"", ".", ".."} & set(parts):
        raise BackupError("it holds a name that leads out of its folder")
    summed, size = hashlib.sha256(), 0
    with _created(target) as out:
        while block := data.read(BLOCK):
            summed.update(block)
            size += len(block)
            if out:
                out.write(block)
            progress(len(block))
    return Held(member.name, size, summed.hexdigest(), 0o600, 0, target)


@contextlib.contextmanager
def _created(target: Path | None) -> Iterator[IO[bytes] | None]:
    if target is None:
        yield None
        return
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, 0o600), "wb") as out:
        yield out


def _compared(found: list[Held], manifest: dict[str, Any]) -> Iterator[Held]:
    try:
        told = {one["name"]: Held(**{**one, "staged": None}) for one in manifest["files"]}
        times = {name: (int(one.mode) & 0o777, int(one.mtime_ns)) for name, one in told.items()}
    except (LookupError, TypeError, ValueError):
        raise BackupError("its list of files cannot be read") from None
    if len(told) != len(found) or {one.name for one in found} != set(told):
        raise BackupError("its files are not those of its list")
    for one in found:
        wanted = told[one.name]
        if (one.size, one.sha256) != (wanted.size, wanted.sha256):
            raise BackupError(f"{one.name} is damaged: its SHA-256 is another")
        mode, mtime_ns = times[one.name]
        yield replace(wanted, mode=mode, mtime_ns=mtime_ns, staged=one.staged)
