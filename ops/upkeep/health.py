"""`python -m ops health`: the daily look at everything, in one process and one answer.

The checks are those of `ops serve`; they run here, so that a control plane that is down is told of,
too. On a fresh install nothing is made: what is not there yet is told as that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

from agent.call import now
from agent.errors import StoreAbsent, StoreError, VoiceAgentError
from agent.store import CallLog
from config import settings as configured
from config.settings import Settings
from ops.doctor.attempt import in_thread
from ops.front.plane import Plane
from ops.health.board import Board, checks_of
from ops.health.check import Result, Status
from ops.printing import console, print_json
from ops.upkeep import neighbours
from ops.upkeep.error_lines import Errors, error_lines
from ops.upkeep.period import midnight

FOUND = 1
"""Exit code: something is not well."""

SERVICES = "livekit room egress ingress sip keys redis database spool sip_gateway stt llm tts"
NAMES = (*SERVICES.split(), *neighbours.NAMES, "disk", "memory", "cpu")
"""The checks, in the order in which they are told."""

STYLES = {
    Status.HEALTHY: "green",
    Status.DEGRADED: "yellow",
    Status.UNHEALTHY: "bold red",
    Status.NOT_CONFIGURED: "dim",
}


@dataclass(frozen=True, slots=True)
class Health:
    """What was found."""

    made_at: datetime
    checks: Mapping[str, Result]
    errors: Errors
    figures: Mapping[str, Any]

    @property
    def status(self) -> Status:
        """The worst of the checks; error lines make it degraded at least."""
        found = {result.status for result in self.checks.values()}
        if Status.UNHEALTHY in found:
            return Status.UNHEALTHY
        is_well = Status.DEGRADED not in found and not self.errors.lines and not self.errors.unread
        return Status.HEALTHY if is_well else Status.DEGRADED


def health(
    *,
    without: Annotated[
        str,
        typer.Option(
            metavar="NAME,...", help="Leave these checks out; stt,llm,tts ask paid providers."
        ),
    ] = "",
    expect: Annotated[
        str,
        typer.Option(metavar="NAME,...", help="What must run on this machine: serve, worker."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check services, logs, disk, memory, connections, Redis and the database, once a day.

    Exit code 0: all is well, 1: something is not.
    """
    # What a library logs of a service that is away is told in the table, in a line.
    logging.getLogger().addHandler(logging.NullHandler())
    left_out = _names("--without", without, NAMES)
    expected = _names("--expect", expect, neighbours.NAMES)
    found = asyncio.run(look(configured.load(), left_out, expected, now()))
    if as_json:
        print_json(_told(found))
    else:
        _show(found)
    if found.status is not Status.HEALTHY:
        raise typer.Exit(FOUND)


async def look(
    settings: Settings, left_out: Collection[str], expected: Collection[str], moment: datetime
) -> Health:
    """Everything that is not left out. Never raises for what it finds; SettingsError as `Plane`."""
    zone = ZoneInfo(settings.reports.zone)
    yesterday = midnight(moment.astimezone(zone).date() - timedelta(days=1), zone)
    fresh, calls = await in_thread(lambda: _stored(settings))
    plane = Plane.of(settings)
    try:
        ours = (one for one in checks_of(plane) if one.name not in {*left_out, *fresh})
        board = Board(ours)
        try:
            services, beside, errors = await asyncio.gather(
                board.everything(),
                neighbours.results(settings, expected),
                in_thread(lambda: error_lines(settings.log.folder, yesterday)),
            )
        finally:
            await board.aclose()
    finally:
        await plane.aclose()
    machine = await in_thread(lambda: neighbours.machine(settings))
    found = {**fresh, **services.checks, **beside, **machine}
    checks = {name: found[name] for name in NAMES if name in found and name not in left_out}
    figures = {"calls": calls, "connections": neighbours.connections(settings)}
    return Health(moment, checks, errors, figures)


def _stored(settings: Settings) -> tuple[dict[str, Result], str]:
    """The checks that would make what is not there yet, and how it stands with the calls.

    A database of another release is not brought up to date by looking at it.
    """
    fresh: dict[str, Result] = {}
    if not settings.livekit.url:
        fresh["keys"] = Result(Status.NOT_CONFIGURED, None, "livekit.url is empty")
    if not settings.data.folder.exists():
        fresh["spool"] = Result(Status.NOT_CONFIGURED, None, "not there yet: no calls yet")
    try:
        log = CallLog.open(settings.store.url, readonly=True)
    except StoreAbsent:
        fresh["database"] = Result(Status.NOT_CONFIGURED, None, "not there yet: no calls yet")
        return fresh, "no calls yet"
    except StoreError as error:
        fresh["database"] = Result(Status.UNHEALTHY, None, str(error))
        return fresh, "not known: the call log does not answer"
    try:
        going = len(log.list_calls(1000, is_open=True))
        newest = log.list_calls(1)
    except StoreError as error:
        fresh["database"] = Result(Status.UNHEALTHY, None, str(error))
        return fresh, "not known: the call log does not answer"
    finally:
        log.close()
    if not newest:
        return fresh, "no calls yet"
    return fresh, f"{going} go on; the last began at {newest[0].started_at:%Y-%m-%d %H:%M} UTC"


def _names(option: str, given: str, known: Collection[str]) -> set[str]:
    names = {name for part in given.split(",") if (name := part.strip())}
    if unknown := names - set(known):
        told = ", ".join(sorted(unknown))
        raise VoiceAgentError(f"{option}: no {told}: there are {', '.join(known)}")
    return names


def _told(found: Health) -> dict[str, Any]:
    errors = asdict(found.errors)
    errors["messages"] = [{"message": said, "count": many} for said, many in found.errors.messages]
    return {
        "status": found.status,
        "made_at": found.made_at,
        "checks": {name: asdict(result) for name, result in found.checks.items()},
        "errors": errors,
        "calls": found.figures["calls"],
        "connections": found.figures["connections"],
    }


def _show(found: Health) -> None:
    shown = console()
    table = Table("check", "status", "took", "detail", box=None, pad_edge=False)
    for name, one in found.checks.items():
        took = "" if one.latency_ms is None else f"{one.latency_ms:.0f} ms"
        status = Text(one.status.value.replace("_", " "), style=STYLES[one.status])
        table.add_row(name, status, took, Text(_clean(one.detail)))
    shown.print(table)
    shown.print(Text(f"calls: {found.figures['calls']}"))
    for name, many in found.figures["connections"].items():
        shown.print(Text(f"connections to {name}: {many}"))
    errors = found.errors
    if errors.files:
        since = f"{errors.since:%Y-%m-%d %H:%M} UTC"
        shown.print(Text(f"error lines since {since}: {errors.lines} in {errors.files} files"))
    else:
        shown.print(
            Text(f"no log file configured: none written to since yesterday in {errors.folder}"
                 " (log.folder); the journal is not read")
        )  # fmt: skip
    for said, many in errors.messages:
        shown.print(Text(f"  {many} x {said}"))
    for path in errors.unread:
        shown.print(Text(f"  not read: {path}"))
    shown.print(Text(found.status.value, style=STYLES[found.status]))


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
