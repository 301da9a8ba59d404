"""`python -m ops incident`: open, follow and close incidents; what is written after them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from agent.call import now
from agent.errors import VoiceAgentError
from agent.store import CallLog
from agent.store.incidents import Incident
from agent.store.leases import Leases
from config import settings as configuration
from config.incidents import Contacts, load_contacts
from config.yamlfile import shown
from ops.audit import Audit, audited, operator
from ops.incidents.desk import LEASE, Desk
from ops.incidents.policy import KINDS, POLICIES
from ops.incidents.report import Report, entry_told, incident_told, state_of
from ops.printing import console, print_json

app = typer.Typer(name="incident", help="Answer incidents.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The id or its beginning.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command(
    "open",
    epilog='Example: python -m ops incident open P1 --kind sip --what "no call comes in"',
)
def open_(
    level: Annotated[str, typer.Argument(help="P1 (the system is down) to P4 (a small matter).")],
    *,
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}.")],
    what: Annotated[str, typer.Option(help="What happened; no numbers of callers, no keys.")],
    as_json: Json = False,
) -> None:
    """Open an incident: `ops serve` tells people, level by level, until somebody acknowledges."""
    with _changing("open") as (log, desk, audit):
        incident = desk.open(level.upper(), kind, what, operator())
        audit("incident.open", f"{incident.id} {incident.level} {incident.kind}")
        is_served = Leases(log.engine).is_held(LEASE)
    if not desk.contacts.group(POLICIES[incident.level].severity):
        group = POLICIES[incident.level].severity
        _warn(f"nobody is told at once: notification_channels.{group} is empty")
    if not is_served:
        _warn("no ops serve is running: nobody is told until one does")
    _done(incident, f"incident {incident.id} is open", as_json=as_json)


@app.command("list", epilog="Examples: python -m ops incident list · incident list --all --json")
def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List open incidents, the newest first."""
    with _reading("list") as desk:
        rows = desk.store.listed(limit, is_open=None if every else True)
        any_yet = bool(rows or desk.store.listed(1))
    if as_json:
        print_json([incident_told(row) for row in rows])
    elif not rows:
        typer.echo("No open incidents." if any_yet else "No incidents yet.")
    else:
        table = _table("id", "level", "kind", "state", "opened", "step", "what")
        for row in rows:
            opened = f"{row.opened_at.astimezone():%Y-%m-%d %H:%M}"
            values = (row.id, row.level, row.kind, state_of(row), opened, str(row.step), row.what)
            table.add_row(*map(Text, values))
        console().print(table)


@app.command(epilog="Example: python -m ops incident show 3f2a (any unique beginning of the id)")
def show(which: Id, *, as_json: Json = False) -> None:
    """Show one incident and its timeline."""
    with _reading("show") as desk:
        incident = desk.store.get(which)
        timeline = desk.store.timeline(incident.id)
    if as_json:
        rows = [entry_told(one) for one in timeline]
        print_json({**incident_told(incident), "timeline": rows})
        return
    head = f"{incident.level} {incident.kind} {incident.id}, {state_of(incident)}: {incident.what}"
    console(soft_wrap=True).print(Text(head))
    table = _table("time", "who", "what", "text")
    for one in timeline:
        at = f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(*map(Text, (at, one.who, one.event, one.text)))
    console().print(table)


@app.command(epilog='Example: python -m ops incident ack 3f2a --note "I look at the trunk"')
def ack(
    which: Id,
    *,
    note: Annotated[str, typer.Option(help="What you are going to do.")] = "",
    as_json: Json = False,
) -> None:
    """Say that you look after it: nobody else is called."""
    with _changing("ack") as (_, desk, audit):
        incident = desk.acknowledge(which, operator(), note)
        audit("incident.ack", incident.id)
    _done(incident, f"incident {incident.id} is yours", as_json=as_json)


@app.command(
    epilog='Examples: python -m ops incident note 3f2a "the provider confirms" ·'
    ' incident note 3f2a "restarted Redis" --done · incident note 3f2a "why twice?" --question'
)
def note(
    which: Id,
    text: Annotated[str, typer.Argument(help="No numbers of callers, no keys.")],
    *,
    done: Annotated[bool, typer.Option("--done", help="Something that was done.")] = False,
    question: Annotated[bool, typer.Option("--question", help="What nobody knows yet.")] = False,
    as_json: Json = False,
) -> None:
    """Add a line to the timeline, also after the end."""
    if done and question:
        raise VoiceAgentError("--done or --question, not both")
    kind = "done" if done else "question" if question else "note"
    with _changing("note") as (_, desk, audit):
        incident = desk.note(which, operator(), text, kind)
        audit("incident.note", incident.id)
    _done(incident, f"noted in incident {incident.id}", as_json=as_json)


@app.command(epilog='Example: python -m ops incident close 3f2a --how "the provider is back"')
def close(
    which: Id,
    *,
    how: Annotated[str, typer.Option(help="What ended it.")],
    as_json: Json = False,
) -> None:
    """Say that it is over."""
    with _changing("close") as (_, desk, audit):
        incident = desk.close(which, operator(), how)
        audit("incident.close", incident.id)
    _done(
        incident,
        f"incident {incident.id} is closed: python -m ops incident report {incident.id}",
        as_json=as_json,
    )


@app.command(epilog="Example: python -m ops incident report 3f2a --out incident-3f2a.md")
def report(
    which: Id,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this new file; .json: for machines.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What is written after an incident: times, timeline, what was done, open questions."""
    with _reading("report") as desk:
        incident = desk.store.get(which)
        made = Report(incident=incident, timeline=desk.store.timeline(incident.id), at=now())
    if as_json and out is None:
        print_json(made.told())
        return
    if out is None:
        typer.echo(made.markdown(), nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(made.json() if as_json or out.suffix == ".json" else made.markdown())
    except OSError as error:
        raise VoiceAgentError(f"{shown(out)}: cannot be written: {error.strerror}") from None
    typer.echo(f"written to {shown(out)}")


@contextmanager
def _changing(command: str) -> Iterator[tuple[CallLog, Desk, Audit]]:
    settings = configuration.load()
    contacts = load_contacts(settings.notifications.contacts)  # `ops serve` has the secrets
    with audited(settings, f"incident {command}") as (log, audit):
        yield log, Desk(log, contacts), audit


@contextmanager
def _reading(command: str) -> Iterator[Desk]:
    """The desk, which tells nobody."""
    with audited(configuration.load(), f"incident {command}") as (log, _):
        yield Desk(log, Contacts())


def _done(incident: Incident, told: str, *, as_json: bool) -> None:
    if as_json:
        print_json(incident_told(incident))
    else:
        typer.echo(told)


def _warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")
