"""Who may read and change the files of an installation: keys, data, configuration."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from agent.pseudonym import SALT_FILE
from agent.store.engine import file_of
from config.errors import SettingsError
from config.livekit_auth import folder_of
from config.settings import ROOT, Settings
from config.yamlfile import shown
from ops.upkeep.audit_advice import Advice, Area, Priority

CHECK = "file modes"
OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
ANYBODY_READS = stat.S_IROTH
ANYBODY_WRITES = stat.S_IWOTH

advice = partial(Advice, Area.SECURITY, check=CHECK)


def modes(settings: Settings) -> Iterator[Advice]:
    """Files that others may read or change, and should not."""
    for path in _secrets(settings):
        if (mode := _mode(path)) is not None and mode & OTHERS_READ:
            yield advice(
                Priority.HIGH,
                found=f"{shown(path)}: others may read it (mode {mode:04o})",
                todo=f"chmod 600 {shown(path)}, and think of what it holds as known: replace it",
            )
    for path in _private(settings):
        if (mode := _mode(path)) is not None and mode & ANYBODY_READS:
            yield advice(
                Priority.MEDIUM,
                found=f"{shown(path)}: everybody on this machine may read it (mode {mode:04o})",
                todo=f"chmod o-rwx {shown(path)}: what callers said is in it",
            )
    for path in (*_secrets(settings), *_private(settings), *_configuration(settings)):
        if (mode := _mode(path)) is not None and mode & ANYBODY_WRITES:
            yield advice(
                Priority.HIGH,
                found=f"{shown(path)}: everybody may change it (mode {mode:04o})",
                todo=f"chmod o-w {shown(path)}, and compare it with what it should be",
            )


def first_key(settings: Settings) -> Iterator[Advice]:
    """The client key of the first start is to be taken away from its file."""
    path = settings.serve.client_key_file
    if path.exists():
        yield Advice(
            Area.SECURITY,
            Priority.MEDIUM,
            "first client key",
            f"{shown(path)} holds the client key of the first start, with all scopes",
            "keep the key in a safe place and remove the file, or make narrower keys"
            " (python -m ops clients add) and revoke it",
        )


def _secrets(settings: Settings) -> list[Path]:
    """Files that are nobody's but ours."""
    found = [settings.data.folder / SALT_FILE, settings.serve.client_key_file, ROOT / ".env"]
    if settings.serve.tls_key:
        found.append(settings.serve.tls_key)
    try:
        keys = folder_of(settings)
        found += sorted(keys.glob("*.key")) if keys and keys.is_dir() else []
    except (SettingsError, OSError):
        pass  # the configuration's part tells of it
    return found


def _private(settings: Settings) -> list[Path]:
    """What callers said, and when: where a folder lets nobody in, what is in it does not matter."""
    database = file_of(settings.store.url)
    folder = settings.data.folder
    found = [folder]
    if database and not _is_closed(database.parent):
        found.append(database)
    if settings.recording.storage.kind == "local" and not _is_closed(folder):
        found.append(settings.recording.storage.folder)
    return found


def _configuration(settings: Settings) -> list[Path]:
    folders = (ROOT / "config", settings.personas.folder)
    return [*folders, *(path for one in folders for path in sorted(one.glob("*.yaml")))]


def _is_closed(folder: Path) -> bool:
    mode = _mode(folder)
    return mode is not None and not mode & (stat.S_IXOTH | stat.S_IROTH)


def _mode(path: Path) -> int | None:
    """The mode; None where there is nothing, or nothing that we may look at."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
