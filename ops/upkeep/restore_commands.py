"""`python -m ops restore NAME`: a backup takes the place of what is there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from config import settings as configured
from config.errors import SettingsError
from config.settings import Settings
from ops.printing import print_json
from ops.recordings.commands import confirm
from ops.recordings.open import operator, source
from ops.upkeep.backup import parts_of
from ops.upkeep.backup_commands import KeyFile, Name, key_of, progressing, row_of
from ops.upkeep.restore import Restored
from ops.upkeep.restore import restore as bring_back
from ops.upkeep.sealed import BackupError
from ops.upkeep.shelf import Shelf


def restore(
    name: Name,
    *,
    what: Annotated[
        str, typer.Option(metavar="PART,...", help="Only these of what is in it.")
    ] = "",
    key_file: KeyFile = None,
    discard_present: Annotated[
        bool,
        typer.Option("--discard-present", help="Do not back up first what is there now."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Verify a backup, back up what is there, and put the backup in its place: all or nothing.

    Workers and `ops serve` must be stopped. Callers who were forgotten since stay forgotten, and
    tokens and keys that were revoked stay revoked. Files that the backup does not know are left.
    """
    settings = _settings(name, what)
    shelf = Shelf(settings.backup.folder)
    backup = shelf.find(name)
    parts = parts_of(what) if what else ()
    if not yes:
        when = f"{backup.made_at.astimezone():%Y-%m-%d %H:%M:%S}"
        confirm(f"Put {', '.join(parts or backup.parts)} of {when} in the place of what is there?")
    line = {
        "who": operator(),
        "what": "restore",
        "object": backup.name,
        "source": source("restore"),
    }
    with shelf.locked(), progressing("verifying") as progress:
        done = bring_back(
            settings,
            backup,
            key_of(settings, key_file),
            line,
            parts=parts,
            discard=discard_present,
            progress=progress,
        )
    if as_json:
        print_json(_json(done))
        return
    typer.echo(f"restored {backup.name}")
    for part, count in done.files.items():
        typer.echo(f"  {part}: {count} files")
    for text in _told(done):
        typer.echo(f"  {text}")
    for note in done.notes:
        typer.echo(f"note: {note}")


def _settings(name: str, what: str) -> Settings:
    """Those of now; to have the configuration back they need not be complete."""
    try:
        return configured.load()
    except SettingsError as error:
        if what.strip() == "config":
            return configured.load(lenient=True)
        raise BackupError(
            f"{error}; if the configuration is gone, have it back first:"
            f" python -m ops restore {name} --what config"
        ) from None


def _told(done: Restored) -> list[str]:
    kept = done.kept
    told = ["database: all its rows"] if done.database else []
    if done.before:
        told.append(f"what was there before: {done.before.name}")
    if kept.forgotten:
        told.append(f"forgotten again: {len(kept.forgotten)} callers, {kept.calls} calls")
    if kept.revocations or kept.client_keys:
        told.append(f"stay revoked: {kept.revocations} tokens, {kept.client_keys} client keys")
    return told


def _json(done: Restored) -> dict[str, Any]:
    return {
        "restored": row_of(done.backup),
        "files": done.files,
        "database": done.database,
        "before": row_of(done.before) if done.before else None,
        "kept": {**asdict(done.kept), "uris": len(done.kept.uris)},
        "notes": done.notes,
    }
