"""`python -m ops clients`: who may use the HTTP API, and what each of them may do."""

from __future__ import annotations

import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from os import getuid
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.errors import VoiceAgentError
from agent.store import CallLog
from agent.store.access import Access, ClientKeyRow
from config import settings
from ops.front import scopes as known
from ops.front.clients import new_key
from ops.printing import console, print_json

app = typer.Typer(name="clients", help="Keys of those who use the HTTP API.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Database = Annotated[
    str, typer.Option("--database", metavar="URL", help="Another database than store.url.")
]


@app.command(
    epilog="Examples: python -m ops clients add desk --scope tokens --scope calls ·"
    " python -m ops clients add kiosk --scope tokens:viewer:lobby-* --per-minute 20 ·"
    " python -m ops clients add load --scope tokens --per-minute 0"
)
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people.")],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help=f"One of {', '.join(known.SCOPES)}."),
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option(min=0, max=1_000_000, help="Requests a minute; 0: any number."),
    ] = None,
    as_json: Json = False,
    database: Database = "",
) -> None:
    """Make a key. It is printed here and kept nowhere: only its hash is."""
    if not name.strip() or not name.isprintable():
        raise VoiceAgentError("NAME: expected a printable name, such as desk")
    scopes = known.check(scope or ())
    row, key = new_key(name.strip(), scopes, per_minute)
    with _opened(database) as log:
        Access(log.engine).add_key(row)
        _audit(log, "add", f"{row.name} ({row.id}): {', '.join(scopes)}")
    if as_json:
        print_json({**_told(row), "key": key})
        return
    typer.echo(key)
    typer.echo("Shown this once. Send it as: Authorization: Bearer KEY", err=True)


@app.command("list", epilog="Example: python -m ops clients list --json")
def list_clients(
    *,
    every: Annotated[bool, typer.Option("--all", help="Revoked ones, too.")] = False,
    as_json: Json = False,
    database: Database = "",
) -> None:
    """List the keys, the oldest first."""
    with _opened(database) as log:
        rows = [row for row in Access(log.engine).client_keys() if every or row.revoked_at is None]
    if as_json:
        print_json([_told(row) for row in rows])
    elif not rows:
        typer.echo("No client keys. `python -m ops clients add NAME --scope ...` makes one.")
    else:
        console().print(_table(rows))


@app.command(epilog="Example: python -m ops clients revoke 3f2a9c (its id, a beginning, or NAME)")
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID", help="The id, its beginning, or the name.")],
    *,
    as_json: Json = False,
    database: Database = "",
) -> None:
    """Refuse a key from now on; a running `serve` does so within a second."""
    with _opened(database) as log:
        access = Access(log.engine)
        row = _one(which, [row for row in access.client_keys() if row.revoked_at is None])
        access.revoke_key(row.id)
        _audit(log, "revoke", f"{row.name} ({row.id})")
    if as_json:
        print_json({"id": row.id, "name": row.name, "revoked": True})
    else:
        typer.echo(f"{row.name} ({row.id}) is refused from now on")


@contextmanager
def _opened(database: str) -> Iterator[CallLog]:
    log = CallLog.open(database or settings.load().store.url)
    try:
        yield log
    finally:
        log.close()


def _one(which: str, rows: list[ClientKeyRow]) -> ClientKeyRow:
    found = [row for row in rows if which in {row.id, row.name}]
    found = found or [row for row in rows if which and row.id.startswith(which)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise VoiceAgentError(f"no client key {which!r} is in force: python -m ops clients list")
    raise VoiceAgentError(f"{which!r} may be {', '.join(row.id for row in found)}: give the id")


def _audit(log: CallLog, what: str, thing: str) -> None:
    try:
        who = pwd.getpwuid(getuid()).pw_name
    except KeyError:  # a container may run as a user without a name
        who = str(getuid())
    log.audit(who, f"clients.{what}", thing, f"{socket.gethostname()}: ops clients {what}")


def _told(row: ClientKeyRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": list(row.scopes),
        "per_minute": row.per_minute,
        "made_at": row.made_at.isoformat(),
        "used_at": row.used_at.isoformat() if row.used_at else None,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }


def _table(rows: list[ClientKeyRow]) -> Table:
    columns = ("id", "name", "scopes", "a minute", "made", "used", "revoked")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        most = {None: "default", 0: "any number"}.get(row.per_minute, str(row.per_minute))
        times = (f"{at.astimezone():%Y-%m-%d %H:%M}" if at else "" for at in
                 (row.made_at, row.used_at, row.revoked_at))  # fmt: skip
        table.add_row(*map(Text, (row.id, row.name, " ".join(row.scopes), most, *times)))
    return table
