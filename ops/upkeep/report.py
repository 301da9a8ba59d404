"""`python -m ops report`: a day or a week of calls, for people and for machines."""

from __future__ import annotations

import json
import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

from agent.call import now
from agent.errors import StoreAbsent, VoiceAgentError
from agent.metrics import FAULTS
from agent.store import CallLog
from agent.store.statistics import Figures, Statistics
from config import settings
from ops.printing import console, print_json
from ops.upkeep import figures, report_page
from ops.upkeep.period import Period

app = typer.Typer(
    name="report",
    help="What a day or a week of calls came to: JSON, and a page with charts. Canary calls and"
    " those that only heard that all is busy are left out. The day is that of reports.zone.",
    no_args_is_help=True,
)

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Write .json and .html there.")
]
Json = Annotated[bool, typer.Option("--json", help="For machines: all figures.")]
Database = Annotated[
    str, typer.Option("--database", metavar="URL", help="Another call log than store.url.")
]
Day = Annotated[
    str, typer.Option("--date", metavar="DAY", help="The (last) day, as 2026-01-31; yesterday.")
]


@app.command(
    epilog="Examples: python -m ops report daily --out reports · python -m ops report daily"
    " --date 2026-01-31 --json"
)
def daily(
    *, out: Out = None, day: Day = "", as_json: Json = False, database: Database = ""
) -> None:
    """Tell of one day, hour by hour, and of what changed since the day before."""
    _report("daily", out, day, database, as_json=as_json)


@app.command(
    epilog="Examples: python -m ops report weekly --out reports · python -m ops report weekly"
    " --date 2026-02-01 --out reports"
)
def weekly(
    *, out: Out = None, day: Day = "", as_json: Json = False, database: Database = ""
) -> None:
    """Tell of the seven days that end with --date, and of what changed since the seven before."""
    _report("weekly", out, day, database, as_json=as_json)


def report_of(log: CallLog | None, period: Period, made_at: datetime) -> dict[str, Any]:
    """Everything that is told of a period; without a call log, that there are no calls yet."""
    edges, first = period.edges, None
    rows = figures.Rows(
        calls=(), turns=(), notes=(), costs=(), durations=(), recordings=(), most_at_once=0
    )
    if log is not None:
        first, rows = Statistics(log.engine).read(lambda found: _rows(found, period))
    told = figures.series(rows, len(edges) - 1)
    zone = ZoneInfo(period.zone)
    return {
        "report": period.kind,
        "date": period.last.isoformat(),
        "from": period.start.astimezone(zone).isoformat(),
        "to": period.end.astimezone(zone).isoformat(),
        "zone": period.zone,
        "made_at": made_at.isoformat(timespec="seconds"),
        "is_over": made_at >= period.end,
        "first_call": first.isoformat(timespec="seconds") if first else None,
        **figures.figures(rows),
        "trends": figures.trends(rows),
        "series": {"from": [edge.astimezone(zone).isoformat() for edge in edges[:-1]], **told},
    }


def _report(kind: str, out: Path | None, day: str, database: str, *, as_json: bool) -> None:
    loaded = settings.load()
    period = _period(kind, day, loaded.reports.zone)
    try:
        log = CallLog.open(database or loaded.store.url, readonly=True)
    except StoreAbsent:
        log = None
    try:
        report = report_of(log, period, now())
    finally:
        if log is not None:
            log.close()
    written = _write(report, period, out) if out else []
    if as_json:
        print_json(report)
        return
    _show(report)
    for path in written:
        typer.echo(str(path))


def _rows(found: Figures, period: Period) -> tuple[datetime | None, figures.Rows]:
    edges = period.edges
    both = [period.start_before, *edges]
    rough = [period.start_before, period.start, period.end]
    return found.first_call(), figures.Rows(
        calls=found.calls(both, [reason.value for reason in FAULTS]),
        turns=found.turns(both),
        notes=found.notes(rough),
        costs=found.provider_costs([period.start, period.end]),
        durations=found.durations([period.start, period.end]),
        recordings=found.recordings(period.start, period.end),
        most_at_once=found.most_at_once([period.start, period.end]),
    )


def _period(kind: str, day: str, zone: str) -> Period:
    """The period that was asked for. Raises VoiceAgentError."""
    if not day:
        return Period.before(kind, now(), zone)
    try:
        last = date.fromisoformat(day)
        period = Period(kind, last, zone)
        begins = period.start_before
    except (ValueError, OverflowError):
        raise VoiceAgentError(f"--date {day!r} is no day: use one such as 2026-01-31") from None
    if begins > now() or period.start > now():
        raise VoiceAgentError(f"--date {day}: that has not begun yet (reports.zone is {zone})")
    return period


def _write(report: dict[str, Any], period: Period, folder: Path) -> list[Path]:
    """The files, each of them there as a whole or not at all. Raises VoiceAgentError."""
    page = report_page.page(report, period.labels)
    text = json.dumps(report, ensure_ascii=False, indent=2) + "\n"
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending, content in (("json", text), ("html", page)):
            path = folder / f"{period.name}.{ending}"
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.write_text(content, "utf-8")
            part.replace(path)
            written.append(path)
    except OSError as error:
        raise VoiceAgentError(
            f"--out {folder}: the report cannot be written there: {error.strerror}"
        ) from error
    return written


def _show(report: dict[str, Any]) -> None:
    shown = console()
    until = date.fromisoformat(report["date"])
    first = until - timedelta(days=6) if report["report"] == "weekly" else until
    days = f"{until}" if first == until else f"{first} to {until}"
    over = "" if report["is_over"] else ", not over yet"
    shown.print(Text(f"{days} ({report['zone']}{over})", style="bold"))
    if report["first_call"] is None:
        shown.print("no calls yet")
        return
    table = Table("", "now", "before", "change", box=None, pad_edge=False, header_style="bold")
    for line in report_page.headlines(report):
        table.add_row(*map(Text, line))
    shown.print(table)
    for title, values in (
        ("endings", report["endings"]),
        ("failed providers", report["errors"]["providers"]),
        ("left out", report["volume"]["left_out"]),
    ):
        told = ", ".join(f"{name} {many}" for name, many in values.items() if many)
        if told:
            shown.print(Text(f"{title}: {told}"))
