"""`python -m ops diagnose`: what is wrong now, the likeliest cause first, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated

import psutil
import typer
from rich.text import Text

from config.errors import SettingsError
from config.settings import Settings, environment, load
from ops.doctor import examine
from ops.doctor.attempt import in_thread, masked
from ops.doctor.config import secrets_in
from ops.doctor.finding import MARKS, Finding, Level, plain, worst
from ops.health import telephone
from ops.health.check import Result, Status, attempt
from ops.printing import console, print_json
from ops.recovery import record, situation
from ops.recovery.causes import CHECKS, Cause, Kind, ordered
from ops.upkeep import audit_security
from ops.upkeep.audit_advice import Priority

LEVELS: Mapping[Status, Level] = {
    Status.HEALTHY: Level.WELL,
    Status.DEGRADED: Level.DEGRADED,
    Status.UNHEALTHY: Level.BROKEN,
}
BY_DOCTOR = frozenset({"redis", "database", "livekit", "room"})
"""Health checks that the doctor has as well, who says more."""

WORKS_ON = frozenset({"sessions", "spool"})
"""What fails without ending a call: degraded at worst."""

TOO_BUSY = 85
FULL, TOO_FULL = 80, 90
"""Per cent of processors and of memory: as the alerts HighCPUUsage and HighMemoryUsage have it."""


def diagnose(
    *,
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="Only what such an incident may be made of.")
    ] = None,
    hours: Annotated[
        int, typer.Option(min=1, max=720, help="Of the record that are looked at.")
    ] = 24,
    every: Annotated[bool, typer.Option("--all", help="Also what is well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Find what is wrong now, and name for each finding the step or the section that mends it.

    Looks at everything that the doctor and /health look at, at this machine, and at the last errors
    in the record. Changes nothing. Exit code 0: all well, 1: degraded, 2: broken.
    """
    causes = ordered(asyncio.run(look(kind, timedelta(hours=hours))), kind)
    level = worst([one.finding for one in causes])
    if as_json:
        told = [one.told() for one in causes if every or one.finding.level is not Level.WELL]
        print_json({"kind": kind, "exit": int(level), "causes": told})
    else:
        _show(causes, every=every)
    raise typer.Exit(int(level))


async def look(kind: Kind | None, since: timedelta) -> list[Finding]:
    """Everything that may matter to this kind of incident. Never raises for what it finds."""
    variables = environment()
    without = {name for name in examine.NAMES if not _matters(name, kind)}
    try:
        settings = load()
    except SettingsError:
        return await examine.examine(variables, without=without)  # which tells why
    doctor, health, history, machine, security = await asyncio.gather(
        examine.examine(variables, without=without),
        _health(settings, kind),
        in_thread(partial(record.look, settings, since)),
        in_thread(_machine),
        in_thread(partial(_security, settings, variables, kind)),
    )
    # The worker is looked at here as well, also when nothing answers though somebody should.
    doctor = [one for one in doctor if not one.tried.startswith("worker on this machine")]
    found = [*doctor, *health, *history, *machine, *security]
    return masked(found, secrets_in(settings, variables))


def _matters(check: str, kind: Kind | None) -> bool:
    return kind is None or check not in CHECKS or kind in CHECKS[check].kinds


async def _health(settings: Settings, kind: Kind | None) -> list[Finding]:
    """What health looks at and the doctor does not."""
    without = {*BY_DOCTOR, *(name for name in CHECKS if not _matters(name, kind))}
    if not settings.data.folder.exists():
        without.add("spool")  # trying it would make the folder
    checks = [one for one in telephone.checks(settings) if one.name not in without]
    seen, gateways = await asyncio.gather(
        situation.look(settings, without), asyncio.gather(*map(attempt, checks))
    )
    told = seen | {check.name: result for check, result in zip(checks, gateways, strict=True)}
    return [
        Finding(_level(name, result), f"health: {name}", result.detail, check=name)
        for name, result in told.items()
        if result.status in LEVELS
    ]


def _level(name: str, result: Result) -> Level:
    level = LEVELS[result.status]
    return min(level, Level.DEGRADED) if name in WORKS_ON else level


def _machine() -> list[Finding]:
    # Of five minutes: what is busy just now is no finding.
    load_of_one = psutil.getloadavg()[1] / (psutil.cpu_count() or 1) * 100
    memory = psutil.virtual_memory().percent
    worst_of_memory = Level.BROKEN if memory > TOO_FULL else Level.DEGRADED
    return [
        Finding(
            Level.DEGRADED if load_of_one > TOO_BUSY else Level.WELL,
            "processors of this machine",
            f"{load_of_one:.0f} % asked for in the last 5 min",
            "look which process it is",
            "processors",
        ),
        Finding(
            worst_of_memory if memory > FULL else Level.WELL,
            "memory of this machine",
            f"{memory:.0f} % in use",
            "look which process it is",
            "memory",
        ),
    ]


def _security(
    settings: Settings, variables: Mapping[str, str], kind: Kind | None
) -> Iterable[Finding]:
    """What an audit finds urgent: only when it is asked for, since it is no change of today."""
    if kind != "security":
        return []
    # Of keys an audit tells the age: that is nothing that is wrong now.
    found = audit_security.examine(settings, variables, [], timedelta.max)
    return [
        Finding(Level.DEGRADED, one.check, one.found, one.todo, "security")
        for one in found
        if one.priority is Priority.HIGH
    ]


def _show(causes: list[Cause], *, every: bool) -> None:
    out = console(soft_wrap=True)
    shown = [one for one in causes if every or one.finding.level is not Level.WELL]
    for one in shown:
        mark, style = MARKS[one.finding.level]
        said = plain(f"{one.finding.tried}: {one.finding.came_back}")
        out.print(Text(f"{mark:8}", style=style), said, sep="  ")
        if one.finding.level is not Level.WELL and one.way_out:
            out.print(plain(f"          -> {one.way_out}"))
    if not shown:
        out.print("Nothing is wrong that can be seen from here.")
    if any("no calls yet" in one.finding.came_back for one in causes):
        out.print("no calls yet")
