"""`python -m ops analyze`: what grows, what was slow, what expires, for people and machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from rich.text import Text

from agent.call import now
from config import settings
from ops.printing import console, print_json
from ops.upkeep.analysis import analysis_of
from ops.upkeep.sizes import told

FOUND = 1
"""Exit code: there is something to do."""
UNKNOWN = "–"


def analyze(
    *,
    days: Annotated[int, typer.Option(min=1, max=366, help="Whole days before today.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: everything.")] = False,
    database: Annotated[
        str, typer.Option("--database", metavar="URL", help="Another call log than store.url.")
    ] = "",
) -> None:
    """Analyse the last days: growth, trends, certificates, slow turns, bad calls.

    Exit code 1: something has to be done (a disk that fills, a certificate that expires, something
    that could not be asked).
    """
    loaded = settings.load()
    if database:
        store = loaded.store.model_copy(update={"url": database})
        loaded = loaded.model_copy(update={"store": store})
    result = analysis_of(loaded, days, now())
    if as_json:
        print_json(result)
    else:
        _show(result)
    if result["findings"]:
        raise typer.Exit(FOUND)


def _show(result: Mapping[str, Any]) -> None:
    shown = console()
    for finding in result["findings"]:
        shown.print(Text(f"! {_clean(finding)}", style="yellow"))
    if result["first_call"] is None and not result["unknown"]:
        shown.print("no calls yet")
    for title, table in _tables(result):
        if table.row_count:
            shown.print(Text(title, style="bold"))
            shown.print(table)
            shown.print()


def _tables(result: Mapping[str, Any]) -> Iterable[tuple[str, Table]]:
    yield "Growth", _growth(result["growth"])
    yield f"Days ({result['zone']}), the last of them so far", _days(result)
    yield "Slowest turns", _table(
        ("call", "began", "turn", "latency", "end of turn", "llm", "tts", "providers"),
        (
            (one["call"][:8], _when(one["began"]), one["turn"], _seconds(one["latency"]),
             *(_seconds(one[name]) for name in ("end_of_turn_delay", "llm_ttft", "tts_ttfb")),
             f"{one['llm']} {one['tts']}")
            for one in result["slowest_turns"]
        ),
    )  # fmt: skip
    yield "Worst calls", _table(
        ("call", "began", "end", "persona", "providers failed", "silences", "MOS", "points"),
        (
            (one["call"][:8], _when(one["began"]), one["end_reason"] or "goes on", one["persona"],
             one["providers"], one["silences"], _number(one["mos"]), _number(one["points"]))
            for one in result["worst_calls"]
        ),
    )  # fmt: skip
    yield (
        "Certificates",
        _table(
            ("of", "expires", "days left"),
            (
                (one["name"], _when(one["expires"] or UNKNOWN), _number(one["days_left"]))
                for one in result["certificates"]
            ),
        ),
    )


def _growth(growth: Mapping[str, Any]) -> Table:
    rows: list[tuple[Any, ...]] = [
        (name, told(growth[name]["bytes"]), told(growth[name]["a_day"]))
        for name in ("database", "recordings", "logs")
    ]
    rows.append(("spool", told(growth["spool"]["bytes"]), UNKNOWN))
    rows += [
        (f"rows of {name}", f"{one['rows']:,}", f"{one['a_day']:,.0f}")
        for name, one in growth["rows"].items()
    ]
    if disk := growth["disk"]:
        rows.append((f"disk, {disk['used_percent']:.0f} % used", told(disk["free"]) + " free", ""))
        full = disk["full_in_days"]
        left = UNKNOWN if full is None else f"{full:,} days, on {disk['full_on'] or 'no near day'}"
        rows.append(("full in", left, told(disk["a_day"])))
    return _table(("", "now", "a day"), rows)


def _days(result: Mapping[str, Any]) -> Table:
    zone = ZoneInfo(result["zone"])
    return _table(
        ("day", "calls", "failed", "mean duration", "response p95", "memory of a call", "most"),
        (
            (
                f"{datetime.fromisoformat(day['from']).astimezone(zone):%a %Y-%m-%d}",
                day["calls"],
                day["failed"],
                _seconds(day["mean_duration"]),
                _seconds(day["response_p95"]),
                told(day["memory_mean"]),
                told(day["memory_most"]),
            )
            for day in (result["trends"] if result["first_call"] else ())
        ),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_clean(str(cell))) for cell in row))
    return table


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _when(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f} s"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"
