"""`python -m ops bench rooms`: telephones that all call at one moment, and what the burst costs.

Real servers (livekit-server, livekit-sip, redis-server, sipp on PATH) are started on loopback by
the harness that the tests use: it needs a checkout.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agent.errors import StartError
from ops.bench import show, standins

PROGRAMS = ("livekit-server", "livekit-sip", "redis-server", "sipp")


def rooms(
    *,
    calls: Annotated[int, typer.Option(min=1, max=50, help="Telephones at one moment.")] = 10,
    keep: Annotated[bool, typer.Option(help="Keep the figures in RESULTS.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: every figure.")] = False,
) -> None:
    """Call a worker from many telephones at once; exit code 1 when a call or record is lost."""
    if lacking := [program for program in PROGRAMS if not shutil.which(program)]:
        raise StartError(f"{', '.join(lacking)} not found on PATH: the bench calls real servers")
    harness: Any = standins.load("tests.sip_burst")
    with tempfile.TemporaryDirectory(prefix="voice-ai-bench-") as folder:
        told = asyncio.run(harness.burst(Path(folder), calls))
    figures = {**asdict(told), "joined_to_greeted_median": _median(told.joined_to_greeted)}
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        _show(told)
    recorded = sum(told.reasons.values())
    if keep:
        show.keep("rooms", {**_kept(told), "recorded": recorded, **show.about()})
    if not len(told.answered) == len(told.greeted) == recorded == calls:
        raise typer.Exit(1)


def _kept(told: Any) -> dict[str, Any]:
    times = told.joined_to_greeted
    cpu = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in told.cpu.items())
    return {
        "calls": told.calls,
        "answered": len(told.answered),
        "first": round(times[0], 2) if times else None,
        "median": _median(times),
        "last": round(times[-1], 2) if times else None,
        "cpu": cpu,
    }


def _show(told: Any) -> None:
    table = Table("seconds", "calls", "first", "median", "last", box=None)
    for name, times in (
        ("from the INVITE to the answer", told.answered),
        ("from the INVITE to the greeting", told.greeted),
        ("from the caller's join to the greeting", told.joined_to_greeted),
    ):
        row = [times[0], _median(times), times[-1]] if times else []
        table.add_row(name, f"{len(times)} of {told.calls}", *(f"{one:.2f}" for one in row))
    console = Console()
    console.print(table)
    ends = ", ".join(f"{count} {reason}" for reason, count in told.reasons.items())
    console.print(f"records: {ends or 'none'}", highlight=False)
    cpu = ", ".join(f"{name} {seconds:.1f}" for name, seconds in told.cpu.items())
    console.print(f"seconds of CPU: {cpu}", highlight=False)


def _median(times: tuple[float, ...]) -> float | None:
    return round(statistics.median(times), 3) if times else None
