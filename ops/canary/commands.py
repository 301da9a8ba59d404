"""`python -m ops canary`: one synthetic call, now."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from agent import framework
from agent.errors import StoreError
from agent.roster import SEEN
from agent.start import check_livekit
from agent.store import CallLog
from agent.store.workers import Workers
from config import settings as configured
from config.settings import Settings
from ops.canary.call import NotPlaced, Result, place
from ops.printing import console, print_json
from ops.worker import named

FAILED = 1


def canary(
    *,
    worker: Annotated[
        str, typer.Option(metavar="ID", help="Only this one is to answer; else any.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Call the agent as a caller does, and tell whether it greets, answers and understands.

    0 greeted and answered in time, 1 not so, 2 the call could not be placed. It is not recorded,
    knows no limit of callers, and is left out of business figures.
    """
    framework.make_lean()
    settings = configured.load()
    ring = check_livekit(settings)
    if worker and settings.canary.number:
        raise NotPlaced("--worker: a call to canary.number reaches whichever LiveKit chooses")
    framework.start_native_runtime()
    result = asyncio.run(place(settings, ring, _whole(settings, worker)))
    if as_json:
        print_json(result.as_json())
    else:
        console().print(_table(result))
    if not result.well:
        raise typer.Exit(FAILED)


def _whole(settings: Settings, worker: str) -> str:
    """The worker's whole id. Raises VoiceAgentError."""
    if not worker:
        return ""
    try:
        log = CallLog.open(settings.store.url, readonly=True)
    except StoreError as error:
        raise NotPlaced(f"--worker {worker}: the workers cannot be listed: {error}") from None
    try:
        return named(Workers(log.engine).seen(SEEN), worker, "--worker").id
    finally:
        log.close()


def _table(result: Result) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = {
        "canary": "well" if result.well else f"failed: {result.why}",
        "worker": result.worker or "none answered, as far as the record knows",
        "greeted": _seconds(result.greeted_after),
        "answered": _seconds(result.answered_after),
        "words right": "" if result.word_accuracy is None else f"{result.word_accuracy:.0%}",
        "record": f"python -m ops calls show {result.call[:8]}" if result.call else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="bold"), Text(value))
    return table


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"after {value:.2f} s"
