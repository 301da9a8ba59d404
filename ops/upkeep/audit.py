"""`python -m ops audit`: once a month, what is not as it should be, and what to do first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.call import now
from agent.errors import StoreError, VoiceAgentError
from agent.store import CallLog
from agent.store.access import Access, ClientKeyRow
from agent.store.audit_figures import AuditFigures
from agent.store.engine import file_of
from config.errors import SettingsError
from config.settings import Settings, environment, load
from ops.doctor.finding import plain
from ops.printing import as_text, console, print_json
from ops.upkeep import audit_configuration, audit_performance, audit_security
from ops.upkeep.audit_advice import Advice, Area, Priority, in_order

STYLES = {Priority.HIGH: "bold red", Priority.MEDIUM: "yellow", Priority.LOW: "dim"}


def audit(
    *,
    days: Annotated[int, typer.Option(min=1, max=366, help="Of calls that are looked at.")] = 30,
    key_days: Annotated[
        int, typer.Option(min=1, max=36_500, help="Keys that are older are told of.")
    ] = 180,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the JSON to this file, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Audit security, performance and configuration; recommend, the most urgent first.

    Changes nothing. Exit code 0: nothing urgent, 1: something of priority high.
    """
    told = examine(environment(), days, timedelta(days=key_days))
    if out:
        _write(out, as_text(told))
    if as_json:
        print_json(told)
    else:
        _show(told)
    is_urgent = any(one["priority"] == Priority.HIGH for one in told["recommendations"])
    raise typer.Exit(1 if is_urgent else 0)


def examine(variables: Mapping[str, str], days: int, longest: timedelta) -> dict[str, Any]:
    """The whole audit as JSON's plain values. Never raises for what it finds."""
    try:
        settings = load()
    except SettingsError as error:
        wrong = [
            Advice(
                Area.CONFIGURATION, Priority.HIGH, "settings", line, "python -m ops config check"
            )
            for line in error.problems
        ]
        return _told(wrong, None, days)
    month, keys, away = _record(settings, days)
    found = [
        *audit_security.examine(settings, variables, keys, longest),
        *audit_performance.examine(settings, month),
        *audit_configuration.examine(settings, variables),
        *away,
    ]
    return _told(in_order(found), month, days)


def _record(
    settings: Settings, days: int
) -> tuple[audit_performance.Month | None, list[ClientKeyRow], list[Advice]]:
    """What the call log says, the client keys, and that it cannot be asked."""
    file = file_of(settings.store.url)
    if file and not file.exists():
        return None, [], []  # a fresh installation
    try:
        log = CallLog.open(settings.store.url, readonly=True)
        try:
            keys = [key for key in Access(log.engine).client_keys() if key.revoked_at is None]
            return audit_performance.read(AuditFigures(log.engine), days), keys, []
        finally:
            log.close()
    except StoreError as error:
        away = Advice(
            Area.PERFORMANCE,
            Priority.HIGH,
            "database",
            f"the call log cannot be read: {error}",
            "python -m ops diagnose; ops/docs/runbook.md, SpoolNotEmpty",
        )
        return None, [], [away]


def _told(found: list[Advice], month: audit_performance.Month | None, days: int) -> dict[str, Any]:
    def part(area: Area) -> dict[str, Any]:
        own = [one for one in found if one.area is area]
        return {
            "issues_found": len(own),
            "issues": [one.found for one in own],
            "status": "needs_attention" if own else "healthy",
        }

    return {
        "audit_date": now(),
        "days": days,
        "security_audit": part(Area.SECURITY),
        "performance_audit": {**part(Area.PERFORMANCE), "figures": _figures(month)},
        "configuration_audit": part(Area.CONFIGURATION),
        "recommendations": [one.told() for one in found],
    }


def _figures(month: audit_performance.Month | None) -> dict[str, Any] | None:
    """None: there is no record, or it cannot be read."""
    if month is None:
        return None
    return {
        "calls": sum(month.endings.values()),
        "endings": dict(month.endings),
        "turns": month.latency.turns,
        "latency_p50_s": month.latency.p50,
        "latency_p95_s": month.latency.p95,
        "database_bytes": month.size.bytes,
        "reads_s": {name: round(seconds, 4) for name, seconds in month.timings.items()},
    }


def _show(told: Mapping[str, Any]) -> None:
    out = console(soft_wrap=True)
    for one in told["recommendations"]:
        mark = Text(f"{one['priority']:6}", style=STYLES[one["priority"]])
        out.print(mark, plain(f"{one['area']}: {one['found']}"), sep="  ")
        out.print(plain(f"        -> {one['todo']}"))
    figures = told["performance_audit"]["figures"]
    if not figures or not figures["calls"]:
        out.print("no calls yet" if figures or not _is_away(told) else "the record was not read")
    else:
        p95 = figures["latency_p95_s"]
        answers = f", answers p95 {p95:.2f} s" if p95 is not None else ""
        out.print(f"{figures['calls']} calls in {told['days']} days{answers}")
    counts = [
        f"{sum(one['priority'] == level for one in told['recommendations'])} {level}"
        for level in Priority
    ]
    out.print(", ".join(counts))


def _is_away(told: Mapping[str, Any]) -> bool:
    return any(one["check"] == "database" for one in told["recommendations"])


def _write(out: Path, text: str) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise VoiceAgentError(f"--out {out}: cannot be written: {error.strerror}") from None
