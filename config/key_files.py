"""LiveKit API keys as files: `NAME.key` holds `NAME: SECRET`, `signing.json` says which one signs.

A key's line is one of livekit-server's own `key_file`. Whoever may read a file of this folder may
be anybody in any room: it must belong to us, and nobody else may read it or put another there.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from pydantic import SecretStr

from config.errors import SettingsError
from config.yamlfile import shown

SUFFIX = ".key"
SIGNING = "signing.json"
LOCK = ".lock"
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A key's name is the name of its file, too."""
SECRET = re.compile(r"[!-~]{1,256}")
LARGEST = 4096
"""Bytes of a file of this folder, at most."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Signing:
    """Which key signs (empty: none of the files), since when, and who signed until when before."""

    key: str = ""
    since: datetime | None = None
    until: Mapping[str, datetime] = field(default_factory=dict)


def read_keys(folder: Path) -> dict[str, SecretStr]:
    """The secret of each key that has a file. A folder that is not there has none.

    Raises SettingsError with one line for each file that cannot be used.
    """
    if not _is_there(folder):
        return {}
    with _explained(folder, "read"):
        entries = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    found: dict[str, SecretStr] = {}
    problems = _about_folder(folder)
    for path in entries:
        try:
            found[path.stem] = _secret_in(path)
        except FileNotFoundError:
            continue  # retired a moment ago
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(*problems)
    return found


def read_signing(folder: Path) -> Signing:
    """Which key signs. Raises SettingsError."""
    path = folder / SIGNING
    if not _is_there(folder):
        return Signing()
    try:
        told = json.loads(_read(path))
        until = {str(key): _moment(at) for key, at in told["until"].items()}
        return Signing(str(told["key"]), _moment(told["since"]), until)
    except FileNotFoundError:
        return Signing()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SettingsError(
            f"{shown(path)}: cannot be understood: remove it, and promote a key"
        ) from None


def parse(text: str, where: str) -> tuple[str, SecretStr]:
    """A key and its secret from the line `KEY: SECRET`. Raises SettingsError without the text."""
    try:
        told: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        told = None
    if isinstance(told, dict) and len(told) == 1:
        ((key, secret),) = told.items()
        if isinstance(key, str) and isinstance(secret, str):
            if not KEY.fullmatch(key):
                raise SettingsError(f"{where}: a key is named in letters, digits, - and _")
            if not SECRET.fullmatch(secret):
                raise SettingsError(f"{where}: a secret has no spaces and is ASCII")
            return key, SecretStr(secret)
    raise SettingsError(f"{where}: expected one line `KEY: SECRET` (of digits only: in quotes)")


def line(key: str, secret: SecretStr) -> str:
    """The line `KEY: SECRET`, as `parse` and livekit-server read it."""
    return yaml.safe_dump({key: secret.get_secret_value()}, width=1000)


def add(folder: Path, key: str, secret: SecretStr) -> Path:
    """Keep a new key. Raises SettingsError, also when there is a file for this key."""
    path = folder / f"{key}{SUFFIX}"
    write_new(path, line(key, secret))
    return path


def sign_with(folder: Path, signing: Signing) -> None:
    """Make another key sign, by one rename. Raises SettingsError."""
    assert signing.since is not None
    told = {
        "key": signing.key,
        "since": signing.since.isoformat(),
        "until": {key: at.isoformat() for key, at in signing.until.items()},
    }
    with _written(folder / SIGNING, json.dumps(told) + "\n") as draft:
        draft.replace(folder / SIGNING)


def write_new(path: Path, text: str) -> None:
    """Write a file that only its owner may read; it appears whole. Raises SettingsError."""
    with _written(path, text) as draft:
        path.hardlink_to(draft)  # and never over another file


def remove(folder: Path, key: str) -> None:
    """Forget a key. Raises SettingsError."""
    path = folder / f"{key}{SUFFIX}"
    with _explained(path, "removed"):
        path.unlink()
        _sync(folder)


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """One command at a time changes the folder, which is made when it is missing.

    Raises SettingsError.
    """
    with _explained(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if problems := _about_folder(folder):
            raise SettingsError(*problems)
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def _written(path: Path, text: str) -> Iterator[Path]:
    """A draft beside `path` with the text, on the disk for good; the block gives it its name."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with _explained(path, "written"):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            yield draft
            _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> str:
    """The text of a file that is ours alone. Raises SettingsError and FileNotFoundError."""
    try:
        # A named pipe must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check(path, os.fstat(descriptor))
            return os.read(descriptor, LARGEST).decode()
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{shown(path)}: not UTF-8 text") from None


def _check(path: Path, state: os.stat_result) -> None:
    mode = stat.S_IMODE(state.st_mode)
    if not stat.S_ISREG(state.st_mode):
        raise SettingsError(f"{shown(path)}: not a plain file")
    if state.st_uid != os.geteuid():
        raise SettingsError(_not_ours(path, state))
    if mode & _OTHERS:
        raise SettingsError(
            f"{shown(path)}: others may read it (mode {mode:04o}): chmod 600, and think of its"
            " secret as known"
        )


def _secret_in(path: Path) -> SecretStr:
    key, secret = parse(_read(path), shown(path))
    if key != path.stem:
        raise SettingsError(f"{shown(path)}: holds another key than its name says")
    return secret


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _is_there(folder: Path) -> bool:
    """Whether there is such a folder. Raises SettingsError when it cannot be looked for."""
    try:
        mode = folder.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):  # the latter: its parent is a file
        return False
    except OSError as error:
        raise SettingsError(f"{shown(folder)}: cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(mode):
        raise SettingsError(f"{shown(folder)}: not a folder")
    return True


def _about_folder(folder: Path) -> list[str]:
    state = folder.stat()
    if state.st_uid != os.geteuid():
        return [_not_ours(folder, state)]
    if state.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(state.st_mode)
        return [f"{shown(folder)}: others may put keys there (mode {mode:04o}): chmod 700"]
    return []


def _not_ours(path: Path, state: os.stat_result) -> str:
    return (
        f"{shown(path)}: belongs to the user {state.st_uid}, and this process is {os.geteuid()}:"
        " run it as that user, or chown"
    )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{shown(path)}: cannot be {what}: {error.strerror}") from None
