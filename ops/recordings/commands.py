"""`python -m ops recordings`: what was recorded, and what is to be recorded now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from agent.egress import Kind, Output, Wanted
from agent.errors import VoiceAgentError
from agent.store.recordings import RecordingLogRow, Recordings
from config import settings as configured
from ops.printing import console, print_json
from ops.recordings.forget import obey
from ops.recordings.open import opened, operator, source
from ops.recordings.studio import Studio, new_id

app = typer.Typer(name="recordings", help="Recordings of calls and rooms.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="For machines: everything.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The recording's id, or its egress's.")]
T = TypeVar("T")


@app.command("list", epilog="Example: python -m ops recordings list --status failed --json")
def list_command(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 20,
    call: Annotated[str, typer.Option(metavar="ID", help="Only of this call (its whole id).")] = "",
    room: Annotated[str, typer.Option(help="Only of this room.")] = "",
    status: Annotated[
        str, typer.Option(help="Only asked, starting, active, failed or complete.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the newest recordings first."""
    rows = _done(
        lambda studio: studio.database.run(
            lambda log: Recordings(log.engine).listed(limit, call_id=call, room=room, status=status)
        )
    )
    if as_json:
        print_json([asdict(row) for row in rows])
    elif not rows:
        typer.echo("No recordings.")
    else:
        console().print(_table(rows))


@app.command(epilog="Example: python -m ops recordings show 4f6a...-room")
def show(recording: Id, *, as_json: Json = False) -> None:
    """Show one recording."""
    _show(_done(lambda studio: studio.get(recording)), as_json=as_json)


@app.command(
    epilog="Examples: python -m ops recordings start --room support-7 · "
    "python -m ops recordings start --kind web --url https://example.com/board --output mp4"
)
def start(
    *,
    kind: Annotated[Kind, typer.Option(help="What is recorded.")] = Kind.ROOM_AUDIO,
    output: Annotated[Output, typer.Option(help="What comes out.")] = Output.OGG,
    room: Annotated[str, typer.Option(help="All kinds but web.")] = "",
    identity: Annotated[str, typer.Option(help="participant: whom.")] = "",
    track: Annotated[str, typer.Option(help="track: its SID.")] = "",
    codec: Annotated[str, typer.Option(help="track: its codec; else the room is asked.")] = "",
    audio_track: Annotated[str, typer.Option(help="track-composite: SID.")] = "",
    video_track: Annotated[str, typer.Option(help="track-composite: SID.")] = "",
    url: Annotated[str, typer.Option(help="web: the page, of recording.targets.hosts.")] = "",
    audio_only: Annotated[bool, typer.Option("--audio-only", help="web: without picture.")] = False,
    stream: Annotated[
        str, typer.Option(help="rtmp: address with the stream key; `-`: asked for.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Start a recording. What cannot be made is refused, with what to use instead."""
    if stream == "-":
        stream = typer.prompt("RTMP address", hide_input=True, err=True)
    wanted = Wanted(
        id=new_id(),
        kind=kind,
        output=output,
        room=room,
        identity=identity,
        track=track,
        codec=codec,
        audio_track=audio_track,
        video_track=video_track,
        url=url,
        audio_only=audio_only,
        stream=stream,
    )
    row = _done(lambda studio: studio.start(wanted, operator(), source("recordings start")))
    _show(row, as_json=as_json)


@app.command(epilog="Example: python -m ops recordings stop EG_...")
def stop(recording: Id, *, as_json: Json = False) -> None:
    """Finish a recording; its file is there when its status is complete."""
    row = _done(lambda studio: studio.stop(recording, operator(), source("recordings stop")))
    _show(row, as_json=as_json)


@app.command(epilog="Example: python -m ops recordings delete 4f6a...-room --yes")
def delete(recording: Id, *, yes: Yes = False) -> None:
    """Delete a recording: file and row. The audit trail says so."""
    row = _done(lambda studio: studio.get(recording))
    if not yes:
        confirm(f"Delete recording {row.id} ({row.uri or 'no file'})?")
    gone = _done(lambda studio: studio.delete(row.id, operator(), source("recordings delete")))
    typer.echo("deleted" if gone else "it is being made still: deleted as soon as it has ended")


@app.command(epilog="Example: python -m ops recordings sweep --json (from cron, without `serve`)")
def sweep(*, as_json: Json = False) -> None:
    """Find what failed or never ended, delete what was kept long enough, obey tombstones."""

    async def all_of_it(studio: Studio) -> dict[str, Any]:
        swept = await studio.sweep(source("recordings sweep"))
        again = await obey(studio, source("recordings sweep"))
        return {**asdict(swept), "forgotten": [one.caller for one in again]}

    found = _done(all_of_it)
    if as_json:
        print_json(found)
    else:
        typer.echo(", ".join(f"{name} {len(ids)}" for name, ids in found.items()))


def confirm(question: str) -> None:
    """Ask on the terminal. Raises VoiceAgentError unless the answer is yes."""
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo(err=True)
        raise VoiceAgentError(
            "nobody answered, nothing was changed (--yes: without asking)"
        ) from None
    if not agreed:
        raise VoiceAgentError("nothing was changed")


def _done(work: Callable[[Studio], Awaitable[T]]) -> T:
    async def run() -> T:
        async with opened(configured.load()) as studio:
            return await work(studio)

    return asyncio.run(run())


def _show(row: RecordingLogRow, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(row))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in asdict(row).items():
        if value not in (None, ""):
            shown = (
                f"{value.astimezone():%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value
            )
            table.add_row(Text(name.replace("_", " "), style="bold"), Text(str(shown)))
    console().print(table)


def _table(rows: list[RecordingLogRow]) -> Table:
    names = ("when", "status", "kind", "output", "seconds", "by", "room", "id", "error")
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        seconds = "" if row.duration is None else f"{row.duration:.1f}"
        status = "deleting" if row.deleted_at else row.status
        when = f"{row.asked_at.astimezone():%Y-%m-%d %H:%M:%S}"
        values = (when, status, row.kind, row.output, seconds, row.made_by, row.room, row.id)
        table.add_row(*(Text(str(value)) for value in (*values, row.error)))
    return table
