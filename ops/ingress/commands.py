"""`python -m ops ingress`: sound and picture from outside into a room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.livekit import LiveKit
from agent.start import check_livekit
from config import settings as configured
from ops.front.database import Database
from ops.ingress.desk import Desk, Ingress
from ops.ingress.wanted import Change, Kind, Wanted
from ops.printing import print_json
from ops.recordings.commands import confirm
from ops.recordings.open import operator, source

app = typer.Typer(name="ingress", help="Streams into rooms.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The ingress's id (IN_...).")]
T = TypeVar("T")


@app.command(
    epilog="Examples: python -m ops ingress create rtmp --room stage --identity studio · "
    "python -m ops ingress create url --room stage --identity clip --url https://HOST/clip.mp4"
)
def create(
    kind: Annotated[Kind, typer.Argument(help="How it comes.")],
    *,
    room: Annotated[str, typer.Option(help="The room that it comes into.")],
    identity: Annotated[str, typer.Option(help="Who it is in the room.")],
    name: Annotated[str, typer.Option(help="For people.")] = "",
    participant_name: Annotated[str, typer.Option(help="Shown in the room.")] = "",
    url: Annotated[str, typer.Option(help="url: of recording.targets.hosts.")] = "",
    transcode: Annotated[
        bool | None, typer.Option("--transcode/--pass-through", help="whip: encode anew or not.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make one. The stream key is shown here, and never again."""
    wanted = Wanted(
        kind=kind,
        room=room,
        identity=identity,
        name=name,
        participant_name=participant_name,
        url=url,
        transcode=transcode,
    )
    who, where = operator(), source("ingress create")
    row = _done(lambda desk: desk.create(wanted, who, where, into_calls=True))
    if as_json:
        print_json(asdict(row))
        return
    _show([row])
    if row.stream_key:
        typer.echo(f"\npush to     {row.url}\nstream key  {row.stream_key}   (shown only now)")


@app.command(epilog="Example: python -m ops ingress update IN_... --room other")
def update(
    ingress_id: Id,
    *,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    room: Annotated[str | None, typer.Option(help="The room that it comes into.")] = None,
    identity: Annotated[str | None, typer.Option(help="Who it is in the room.")] = None,
    participant_name: Annotated[str | None, typer.Option(help="Shown in the room.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable")] = None,
    as_json: Json = False,
) -> None:
    """Change one that is pushed to."""
    change = Change(
        name=name, room=room, identity=identity, participant_name=participant_name, enabled=enabled
    )
    who, where = operator(), source("ingress update")
    row = _done(lambda desk: desk.update(ingress_id, change, who, where, into_calls=True))
    _tell([row], as_json=as_json)


@app.command("list", epilog="Example: python -m ops ingress list --room stage --json")
def list_command(
    *, room: Annotated[str, typer.Option(help="Only of this room.")] = "", as_json: Json = False
) -> None:
    """List them, without stream keys."""
    _tell(_done(lambda desk: desk.list(room)), as_json=as_json)


@app.command(epilog="Example: python -m ops ingress delete IN_... --yes")
def delete(
    ingress_id: Id, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """End and remove one."""
    if not yes:
        confirm(f"Delete ingress {ingress_id}?")
    _done(lambda desk: desk.delete(ingress_id, operator(), source("ingress delete")))
    typer.echo("deleted")


def _done(work: Callable[[Desk], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = configured.load()
        ring = check_livekit(settings)
        database = Database(settings.store.url)
        try:
            async with LiveKit.of(settings.livekit, ring.credentials) as livekit:
                return await work(Desk(settings, database, livekit))
        finally:
            await database.aclose()

    return asyncio.run(run())


def _tell(rows: list[Ingress], *, as_json: bool) -> None:
    if as_json:
        told = [asdict(row) for row in rows]
        print_json([{k: v for k, v in one.items() if k != "stream_key"} for one in told])
    elif rows:
        _show(rows)
    else:
        typer.echo("No ingress.")


def _show(rows: list[Ingress]) -> None:
    names = ("id", "kind", "room", "identity", "status", "enabled", "name", "url")
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(getattr(row, name))) for name in names))
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)
