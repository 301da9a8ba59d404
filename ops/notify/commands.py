"""`python -m ops alert`: tell people something, and keep alerts quiet for a while."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.call import now
from agent.errors import StoreError, VoiceAgentError
from agent.store.silences import Silence, Silences
from config import settings as configuration
from config.errors import nearest
from config.incidents import Contacts, duration
from config.settings import Settings
from config.yamlfile import shown
from ops.audit import audited, operator
from ops.notify.alertmanager import Alertmanager
from ops.notify.channels import Channel, channels_of, contacts_of
from ops.notify.message import COLOURS, GROUPS, RESOLVED, Message
from ops.notify.safe import safe
from ops.printing import console, print_json

app = typer.Typer(name="alert", help="Tell people, and silence alerts.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="For machines.")]

OURS, THEIRS = "ops serve", "alertmanager"


@app.command(
    epilog="Examples: python -m ops alert send --severity critical --component sip"
    ' --message "the trunk is down" · python -m ops alert send --message "a trial" --channel chat'
)
def send(
    *,
    message: Annotated[str, typer.Option(help="What happened, in a sentence.")],
    severity: Annotated[
        str, typer.Option(help=f"One of {', '.join(GROUPS)}, or {RESOLVED}.")
    ] = "warning",
    component: Annotated[str, typer.Option(help="The part of the product.")] = "ops",
    name: Annotated[str, typer.Option(help="What it is called.")] = "OperatorMessage",
    channel: Annotated[
        list[str] | None, typer.Option("--channel", metavar="NAME", help="Only this one; or more.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell people now, wait, and say what each channel answered. Exit code 1 where one did not."""
    if severity not in COLOURS:
        near = nearest(severity, COLOURS)
        hint = f"did you mean {near}?" if near else f"use one of {', '.join(COLOURS)}"
        raise VoiceAgentError(f"--severity {severity!r} is not known: {hint}")
    if not safe(message):
        raise VoiceAgentError("--message: say what happened")
    settings = configuration.load()
    contacts = contacts_of(settings)
    names = _chosen(settings, contacts, severity, channel or ())
    channels = channels_of(contacts, settings)
    told = Message(
        state=severity,
        severity="info" if severity == RESOLVED else severity,
        name=safe(name),
        component=safe(component),
        text=safe(message),
        at=now().isoformat(),
        about={"from": operator()},
    )
    answers = asyncio.run(_sent({one: channels[one] for one in names}, told))
    _audit_sent(settings, told, names)
    rows = [{"channel": one, "sent": not why, "why": why} for one, why in answers.items()]
    if as_json:
        print_json(rows)
    else:
        table = _table("channel", "result")
        for row in rows:
            table.add_row(Text(str(row["channel"])), Text(str(row["why"] or "sent")))
        console().print(table)
    if any(answers.values()):
        raise typer.Exit(1)


@app.command(
    epilog="Examples: python -m ops alert silence HealthCheck --subject redis --for 2h ·"
    ' python -m ops alert silence "suspicious_*" --for 30m --comment "a trial of ours"'
)
def silence(
    name: Annotated[str, typer.Argument(help="The alert's name; * and ? are wildcards.")],
    *,
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="30m, 2h, 1d.")],
    subject: Annotated[str, typer.Option(help="Only of this subject, such as redis.")] = "",
    comment: Annotated[str, typer.Option(help="Why, for the others.")] = "",
    as_json: Json = False,
) -> None:
    """Tell nobody of an alert for a while. What is still so at the end is told then.

    Of `ops serve`, and of the Alertmanager where notifications.alertmanager names one.
    """
    try:
        until = now() + duration(span)
    except ValueError as error:
        raise VoiceAgentError(f"--for {span!r}: {error}") from None
    if not name.strip() or not name.isprintable():
        raise VoiceAgentError("NAME: expected an alert's name, such as HealthCheck")
    settings = configuration.load()
    made = Silence(
        id=secrets.token_hex(4),
        name=name.strip(),
        subject=subject.strip(),
        comment=safe(comment),
        made_by=operator(),
        made_at=now(),
        until=until,
    )
    rows = [_told(made, OURS)]
    with audited(settings, "alert silence") as (log, audit):
        if settings.notifications.alertmanager:
            theirs = asyncio.run(Alertmanager(settings.notifications).silence(made))
            rows.append({**_told(made, THEIRS), "id": theirs})
        Silences(log.engine).add(made)
        audit("alert.silence", f"{made.name} {made.subject} ({made.id}) until {until:%F %T} UTC")
    if as_json:
        print_json(rows)
    else:
        typer.echo(f"silenced until {until.astimezone():%Y-%m-%d %H:%M} ({_ids(rows)})")


@app.command(epilog="Example: python -m ops alert silences --json")
def silences(*, as_json: Json = False) -> None:
    """List the silences in force, the first to end first."""
    settings = configuration.load()
    with audited(settings, "alert silences") as (log, _):
        rows = [_told(one, OURS) for one in Silences(log.engine).active(now())]
    if settings.notifications.alertmanager:
        theirs = asyncio.run(Alertmanager(settings.notifications).silences())
        rows += [_told(one, THEIRS) for one in theirs]
    if as_json:
        print_json(rows)
    elif not rows:
        typer.echo("No silences.")
    else:
        table = _table("id", "of", "alert", "subject", "until", "by", "comment")
        for row in rows:
            until = f"{row['until'].astimezone():%Y-%m-%d %H:%M}"
            values = (row["id"], row["of"], row["name"], row["subject"], until)
            table.add_row(*map(Text, (*values, row["made_by"], row["comment"])))
        console().print(table)


@app.command(epilog="Example: python -m ops alert unsilence 3f2a (any unique beginning of the id)")
def unsilence(
    which: Annotated[str, typer.Argument(metavar="ID", help="The id or its beginning.")],
    *,
    as_json: Json = False,
) -> None:
    """End a silence: what it held back is told now."""
    settings = configuration.load()
    there = Alertmanager(settings.notifications) if settings.notifications.alertmanager else None
    with audited(settings, "alert unsilence") as (log, audit):
        ours = Silences(log.engine)
        found = {one.id: OURS for one in ours.active(now())}
        if there:
            found |= {one.id: THEIRS for one in asyncio.run(there.silences())}
        meant = [one for one in found if which and one.startswith(which)]
        meant = [which] if which in found else meant
        if len(meant) != 1:
            what = "may be " + ", ".join(meant) if meant else "is no silence in force"
            raise VoiceAgentError(f"{which!r} {what}: python -m ops alert silences")
        if found[meant[0]] == OURS:
            ours.end(meant[0], now())
        elif there:
            asyncio.run(there.end(meant[0]))
        audit("alert.unsilence", meant[0])
    if as_json:
        print_json({"id": meant[0], "of": found[meant[0]], "ended": True})
    else:
        typer.echo(f"the silence {meant[0]} is ended")


def _chosen(
    settings: Settings, contacts: Contacts, severity: str, wanted: Sequence[str]
) -> Sequence[str]:
    """The channels to send to. Raises VoiceAgentError."""
    path = settings.notifications.contacts
    file = shown(path) if path else "notifications.contacts"
    if not contacts.channels:
        raise VoiceAgentError(f"nobody can be told: no channels are configured in {file}")
    for one in wanted:
        if one not in contacts.channels:
            there = ", ".join(contacts.channels)
            raise VoiceAgentError(f"--channel: no channel {one} in {file}; there are {there}")
    group = "low" if severity == RESOLVED else GROUPS[severity]
    names = list(dict.fromkeys(wanted)) or contacts.group(group)
    if not names:
        raise VoiceAgentError(
            f"nobody is told of {severity}: notification_channels.{group} in {file} is empty;"
            " name one with --channel"
        )
    return names


async def _sent(channels: Mapping[str, Channel], message: Message) -> dict[str, str]:
    """Why each channel did not take it, "" where it did; all at once."""
    answers = await asyncio.gather(*(one.send(message) for one in channels.values()))
    return dict(zip(channels, answers, strict=True))


def _audit_sent(settings: Settings, message: Message, names: Sequence[str]) -> None:
    """After the fact: that the database is down may be just what people have to know."""
    try:
        with audited(settings, "alert send") as (_, audit):
            audit("alert.send", f"{message.severity} {message.component} to {', '.join(names)}")
    except StoreError as error:
        typer.echo(f"warning: not in the audit trail: {error}", err=True)


def _told(silence: Silence, of: str) -> dict[str, Any]:
    return {"of": of, **asdict(silence)}


def _ids(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{row['of']}: {row['id']}" for row in rows)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")
