"""`python -m ops backup`: what cannot be had again is kept somewhere else, whole and unread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from config import settings as configured
from config.errors import SettingsError
from config.settings import Settings
from config.yamlfile import read_text
from ops.printing import console, print_json
from ops.upkeep import backup as backups
from ops.upkeep.archive import Contents
from ops.upkeep.sealed import BackupError
from ops.upkeep.shelf import Backup, Shelf

app = typer.Typer(
    name="backup",
    help="Back up configuration, database, logs and recordings while calls go on.",
    epilog="Examples: python -m ops backup · python -m ops backup --what config,database --json ·"
    " python -m ops backup list · python -m ops backup verify latest",
)

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="Holds the key of then, where backup.key is another now."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Or the beginning of it, or `latest`.")]


@app.callback(invoke_without_command=True)
def backup(
    context: typer.Context,
    *,
    what: Annotated[
        str,
        typer.Option(metavar="PART,...", help="config, database, logs, recordings; else all."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Back up, read it back, and remove what is older than backup.days.

    Encrypted with backup.key (VOICE_AGENT__BACKUP__KEY or ..._KEY_FILE; openssl rand -base64 32).
    Without a key it holds no secrets, transcripts or recordings.
    """
    if context.invoked_subcommand is not None:
        return
    settings, parts = configured.load(), backups.parts_of(what)
    with Shelf(settings.backup.folder).locked(), progressing("backing up") as progress:
        made = backups.make(settings, parts, progress)
    if as_json:
        print_json(_json(made))
        return
    if made.backup is not None:
        sealed = "encrypted" if made.backup.is_encrypted else "not encrypted"
        typer.echo(f"{made.backup.name} ({megabytes(made.backup.size)}, {sealed}, verified)")
        for part, (files, size) in made.parts.items():
            typer.echo(f"  {part}: {files} files, {megabytes(size)}")
    for name in made.removed:
        typer.echo(f"removed, older than {settings.backup.days} days: {name}")
    for note in made.notes:
        typer.echo(f"note: {note}")


@app.command("list", epilog="Example: python -m ops backup list --json")
def list_command(*, as_json: Json = False) -> None:
    """List the backups, the newest first."""
    found = Shelf(configured.load(lenient=True).backup.folder).listed()
    if as_json:
        print_json([row_of(one) for one in found])
        return
    if not found:
        typer.echo("no backups yet: python -m ops backup")
        return
    table = Table("when", "what", "size", "", "name", box=None, pad_edge=False, header_style="bold")
    for one in found:
        sealed = "encrypted" if one.is_encrypted else "not encrypted"
        when = f"{one.made_at.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(when, ", ".join(one.parts), megabytes(one.size), sealed, one.name)
    console().print(table)


@app.command(epilog="Examples: python -m ops backup verify latest · ... verify 20261121 --json")
def verify(name: Name, *, key_file: KeyFile = None, as_json: Json = False) -> None:
    """Read a whole backup and compare every checksum. Changes nothing."""
    settings = configured.load(lenient=True)
    found = Shelf(settings.backup.folder).find(name)
    with progressing("verifying") as progress:
        contents = backups.verify(found, key_of(settings, key_file), progress)
    if as_json:
        print_json({**row_of(found), "whole": True, "files": _files(contents)})
    else:
        typer.echo(f"{found.name} is whole: {len(contents.files)} files")


def key_of(settings: Settings, file: Path | None) -> str:
    """The key in `file`, else that of the settings. Raises BackupError."""
    if file is None:
        return settings.backup.key.get_secret_value()
    try:
        return read_text(file).strip()
    except SettingsError as error:
        raise BackupError(f"--key-file: {error}") from None


@contextmanager
def progressing(what: str) -> Iterator[backups.Progress]:
    """A bar on the terminal, if there is one, for what takes long."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=(shown := Console(stderr=True)),
        disable=not shown.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size or None)


def row_of(one: Backup) -> dict[str, Any]:
    """One backup for machines."""
    return {
        "name": one.name,
        "file": str(one.path),
        "made_at": one.made_at,
        "parts": list(one.parts),
        "encrypted": one.is_encrypted,
        "before_restore": one.is_before_restore,
        "size": one.size,
    }


def megabytes(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"  # noqa: PLR2004 - of taste


def _files(contents: Contents) -> list[dict[str, Any]]:
    return [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in contents.files]


def _json(made: backups.Made) -> dict[str, Any]:
    return {
        "backup": row_of(made.backup) if made.backup else None,
        "parts": {
            part: {"files": files, "bytes": size} for part, (files, size) in made.parts.items()
        },
        "removed": made.removed,
        "notes": made.notes,
        "seconds": round(made.seconds, 2),
    }
