"""What belongs to a backup and where it is: a restore puts it back where the same list says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from agent.pseudonym import SALT_FILE
from config import settings as configured
from config.livekit_auth import folder_of
from config.settings import ROOT, Settings
from ops.upkeep.archive import Item
from ops.upkeep.sealed import BackupError
from ops.webhooks.spool import FOLDER as WEBHOOKS

PARTS = ("config", "database", "logs", "recordings")
SNAPSHOT = "snapshot"
"""The label of the copy of the database, which is no place on disk."""

SALT, RING = "caller_salt", "keys"
"""Labels that a restore treats by themselves."""

SIP_STATES = "sip"
"""The folder of saved states (`ops.sip.commands`), within the data folder."""

YAML = ("*.yaml", "*.yml")


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or a folder with all below it that has such a name; no links, no hidden files."""

    part: str
    label: str
    path: Path
    is_secret: bool = False
    """It is in a backup only if that is encrypted."""
    names: Sequence[str] = ()
    """Patterns of the names of files in a folder; none: it is a file."""

    def items(self) -> Iterator[Item]:
        """The files that are there now, by name."""
        prefix = f"{self.part}/{self.label}"
        if not self.names:
            if _is_plain(self.path):
                yield Item(f"{prefix}/file", self.path)
            return
        for folder, folders, files in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(folder, name)
                if self._is_ours(name) and _is_plain(path):
                    yield Item(f"{prefix}/{path.relative_to(self.path)}", path)

    def target(self, path: str) -> Path:
        """Where a file of the archive goes.

        Raises BackupError when that leads elsewhere, or is no file that a backup takes from there:
        without a key anybody may have written the archive, and our own code is beside YAML files.
        """
        if not self.names:
            return self.path
        target = self.path / path
        *folders, name = path.split("/")
        if not self._is_ours(name) or any(folder.startswith(".") for folder in folders):
            raise BackupError(f"{path} is no file that belongs into {self.path}")
        root = self.path.resolve()
        if not (root == target.parent.resolve() or root in target.parent.resolve().parents):
            raise BackupError(f"{path} would lead out of {self.path}")
        return target

    def _is_ours(self, name: str) -> bool:
        return not name.startswith(".") and any(fnmatch(name, one) for one in self.names)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def sources(settings: Settings) -> list[Source]:
    """Every place, in the order in which it is backed up. Raises SettingsError.

    Files of a spool come before the database: an event that is handed over meanwhile is in both
    then, never in neither. Recordings come after it, for the same reason.
    """
    data = settings.data.folder
    all_names = ("*",)
    found = [
        *_configuration(settings),
        Source("database", "spool", data / "spool", is_secret=True, names=("*.jsonl",)),
        Source("database", "webhooks", data / WEBHOOKS, is_secret=True, names=("*.jsonl",)),
        Source("database", SALT, data / SALT_FILE, is_secret=True),
        Source("database", SNAPSHOT, Path(os.devnull)),
    ]
    if settings.recording.storage.kind == "local":
        folder = settings.recording.storage.folder
        found.append(Source("recordings", "store", folder, is_secret=True, names=all_names))
    else:
        own = data / "recordings"
        found.append(Source("recordings", "own", own, is_secret=True, names=all_names))
    logs = settings.log.folder
    return [
        *found,
        Source("logs", "files", logs, names=all_names),
        Source("logs", "reports", data / "reports", names=all_names),
    ]


def _ring(settings: Settings) -> Path | None:
    """Where LiveKit keys are; where their YAML file is gone, where they are by default."""
    auth = settings.livekit.auth
    return folder_of(settings) if auth is None or auth.exists() else settings.data.folder / "keys"


def _configuration(settings: Settings) -> Iterator[Source]:
    own = ROOT / "config"
    yield Source("config", "checkout", own, names=YAML)
    for label, path in (
        ("settings", configured.file()),
        ("personas", settings.personas.folder),
        ("auth", settings.livekit.auth),
        ("retries", settings.livekit.retry_policies),
        ("prices", settings.costs.prices),
        ("contacts", settings.notifications.contacts),
        ("certificate", settings.serve.tls_certificate),
    ):
        if path is not None and own not in path.parents:
            names = YAML if label == "personas" else ()
            yield Source("config", label, path, names=names)
    secret = [
        ("env", ROOT / ".env", ()),
        ("tls_key", settings.serve.tls_key, ()),
        (RING, _ring(settings), ("*.key", "signing.json")),
        ("client_key", settings.serve.client_key_file, ()),
        ("sip", settings.data.folder / SIP_STATES, YAML),
    ]
    for label, place, patterns in secret:
        if place is not None:
            yield Source("config", label, place, is_secret=True, names=patterns)
