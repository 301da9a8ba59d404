"""`python -m ops worker`: the workers that there are, and taking one out of dispatch.

An order is a word in the database, which a worker reads every few seconds: it reaches workers on
any machine, and whoever may write the call log may give one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.call import now
from agent.errors import VoiceAgentError
from agent.roster import BEAT, SEEN
from agent.store import CallLog
from agent.store.workers import Wanted, WorkerRow, Workers, WorkerState
from config import settings
from ops.audit import auditor
from ops.printing import console, print_json
from ops.recordings.commands import confirm

app = typer.Typer(name="worker", help="Workers, and what is wanted of them.", no_args_is_help=True)

DRAIN, BACK = "worker.drain", "worker.back"
"""How the audit trail names it."""

Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command("list", epilog="Example: python -m ops worker list --json")
def list_workers(*, as_json: Json = False) -> None:
    """List the workers that are there: what they are at, their calls, what is wanted of them."""
    with _opened() as log:
        found = Workers(log.engine).seen(SEEN)
    if as_json:
        print_json([asdict(row) for row in found])
    elif not found:
        typer.echo(
            f"No worker has told of itself for {SEEN:g} s (in the database of store.url):"
            " python agent.py start"
        )
    else:
        console().print(_table(found))


@app.command(
    epilog="Examples: python -m ops worker drain 3f2a · python -m ops worker drain 3f2a --back · "
    "python -m ops worker drain 3f2a --leave --yes (before a new release)"
)
def drain(
    worker: Annotated[
        str, typer.Argument(metavar="ID", help="The id, or the beginning of the part after /.")
    ],
    *,
    back: Annotated[bool, typer.Option("--back", help="Let it take calls again.")] = False,
    leave: Annotated[
        bool, typer.Option("--leave", help="Have it end when its calls have.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Take a worker out of dispatch: its calls go on, new ones go to the others.

    It stays, and comes back with --back; a worker that is to leave (--leave) does not come back.
    """
    if back and leave:
        raise VoiceAgentError("--back, --leave: one of them")
    wanted = Wanted.SERVE if back else Wanted.LEAVE if leave else Wanted.REST
    with _opened() as log:
        there = Workers(log.engine).seen(SEEN)
        row = named(there, worker)
        if back and row.state == WorkerState.LEAVING:
            raise VoiceAgentError(f"{row.id} is leaving: it cannot be called back")
        others = [one for one in there if one.id != row.id and one.state == WorkerState.SERVING]
        if not (back or others or yes):
            confirm(f"No other worker takes calls: callers would not be answered. Drain {row.id}?")
        with auditor(settings.load(), "worker drain") as audit:
            audit(BACK if back else DRAIN, f"{row.id} {wanted.value}".strip())
            Workers(log.engine).want(row.id, wanted, "operator")
    if as_json:
        print_json({"worker": row.id, "wanted": wanted.value, "calls": row.calls})
    elif back:
        typer.echo(f"{row.id} takes calls again within {BEAT:g} s")
    else:
        typer.echo(
            f"{row.id} takes no new calls within {BEAT:g} s; {row.calls} of its own go on:"
            " python -m ops worker list"
        )


def named(rows: list[WorkerRow], name: str, what: str = "ID") -> WorkerRow:
    """The one worker that is meant. Raises VoiceAgentError."""
    if not name:
        raise VoiceAgentError(f"{what}: which worker? python -m ops worker list")
    found = [row for row in rows if row.id.startswith(name) or _short(row.id).startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise VoiceAgentError(f"{what} {name}: {len(found)} workers begin so: give more of it")
    there = ", ".join(_short(row.id) for row in rows) or "none"
    raise VoiceAgentError(f"{what} {name}: no such worker (there are: {there})")


def _short(worker: str) -> str:
    return worker.rpartition("/")[2]


@contextmanager
def _opened() -> Iterator[CallLog]:
    """Open the database. Raises StoreError and SettingsError."""
    log = CallLog.open(settings.load().store.url)
    try:
        yield log
    finally:
        log.close()


def _table(rows: list[WorkerRow]) -> Table:
    names = ("worker", "state", "calls", "up since", "heard of", "wanted", "by")
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        ago = max(0.0, (now() - row.seen_at).total_seconds())
        since = f"{row.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
        calls = f"{row.calls} of {row.max_calls}"
        values: tuple[Any, ...] = (row.id, row.state, calls, since, f"{ago:.0f} s ago")
        table.add_row(*(Text(str(value)) for value in (*values, row.wanted, row.wanted_by)))
    return table
