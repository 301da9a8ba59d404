"""`python -m ops calls`: the calls that were answered, and what was said in one of them."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from agent.call import now
from agent.errors import VoiceAgentError
from agent.livekit import LiveKit
from agent.pseudonym import PSEUDONYM, Pseudonyms
from agent.start import check_livekit
from agent.store import CallLog
from agent.store.rows import CallRecord, CallRow, TurnRow
from config import settings
from ops import printing
from ops.printing import console, print_json
from ops.recordings.commands import confirm
from ops.rooms.hangup import WHAT, hang_up, rooms_of_others

app = typer.Typer(name="calls", help="Read the record of calls.", no_args_is_help=True)

Database = Annotated[
    str, typer.Option("--database", metavar="URL", help="Another call log than store.url.")
]
Json = Annotated[bool, typer.Option("--json", help="For machines: everything.")]
Numbers = Annotated[
    bool, typer.Option("--numbers", help="Show callers' pseudonyms and called numbers in full.")
]


AGO = re.compile(r"(\d{1,6})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command(
    "list",
    epilog="Examples: python -m ops calls list --since 1h · python -m ops calls list --open --json"
    " · python -m ops calls list --caller +15555550100",
)
def list_calls(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 20,
    only_open: Annotated[bool, typer.Option("--open", help="Only calls that go on.")] = False,
    since: Annotated[str, typer.Option(help="Started since: 30m, 1h, 2d or 2026-01-31.")] = "",
    caller: Annotated[
        str, typer.Option(metavar="NUMBER", help="Only this caller's (its number is not kept).")
    ] = "",
    as_json: Json = False,
    numbers: Numbers = False,
    database: Database = "",
) -> None:
    """List the newest calls first."""
    started = _moment(since) if since else None
    number = _pseudonym(caller) if caller else None
    with _opened(database) as log:
        calls = log.list_calls(
            limit, since=started, is_open=True if only_open else None, number=number
        )
    if as_json:
        print_json([asdict(call) for call in calls])
    elif not calls:
        narrowed = " of this kind" if only_open or since or caller else ""
        typer.echo(f"No calls{narrowed} in the record. `make call` makes one.")
    else:
        console().print(_calls_table(calls, numbers=numbers))


@app.command(epilog="Example: python -m ops calls show 3f2a (any unique beginning of the id)")
def show(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="The id or its beginning.")],
    *,
    as_json: Json = False,
    numbers: Numbers = False,
    database: Database = "",
) -> None:
    """Show one call: who, when, how it ended, its turns with their latencies, its notes."""
    with _opened(database) as log:
        record = log.get_call(call_id)
    if as_json:
        print_json(asdict(record))
        return
    console = printing.console()
    console.print(_header(record, numbers=numbers))
    console.print()
    console.print(_turns_table(record.turns))
    if record.call.cost:
        console.print()
        console.print(_cost_table(record.call.cost))
    if any(event.kind == "note" for event in record.events):
        console.print()
        console.print(_notes_table(record))


@app.command(epilog="Example: python -m ops calls hangup 3f2a --yes")
def hangup(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="The id or its beginning.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    database: Database = "",
) -> None:
    """End a call that goes on: its room is deleted, so that every leg in it ends."""
    configured = settings.load()
    log = CallLog.open(database or configured.store.url)
    try:
        call = log.get_call(call_id).call
        if not yes and call.ended_at is None:
            confirm(f"End call {call.id[:8]}, which goes on since {_local(call.started_at)}?")
        asyncio.run(_hang_up(configured, call, rooms_of_others(log, call)))
        log.audit(_operator(), WHAT, call.id, f"{socket.gethostname()}: ops calls hangup")
    finally:
        log.close()
    if as_json:
        print_json({"id": call.id, "room": call.room})
    else:
        typer.echo(f"call {call.id[:8]} is ended; python -m ops calls show {call.id[:8]} tells how")


def _operator() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a user without a name
        return str(os.getuid())


async def _hang_up(configured: settings.Settings, call: CallRow, others: set[str]) -> None:
    ring = check_livekit(configured)
    async with LiveKit.of(configured.livekit, ring.credentials) as livekit:
        await hang_up(livekit, call, others)


def _pseudonym(number: str) -> str:
    """What the record calls the caller with this number. Raises VoiceAgentError."""
    if not any(char.isdigit() for char in number):
        raise VoiceAgentError("--caller: expected a phone number, such as +15555550100")
    pseudonym = Pseudonyms.of(settings.load(), readonly=True).of_number(number)
    if not pseudonym:
        raise VoiceAgentError(
            "--caller: there is no salt that callers' numbers were hashed with: set"
            " VOICE_AGENT__SECURITY__CALLER_SALT, or data.folder to the worker's"
        )
    return pseudonym


@contextmanager
def _opened(database: str) -> Iterator[CallLog]:
    """Open the call log for reading. Raises StoreError and SettingsError."""
    log = CallLog.open(database or settings.load().store.url, readonly=True)
    try:
        yield log
    finally:
        log.close()


def _moment(text: str) -> datetime:
    """Read `1h` as an hour ago, anything else as a date; one without a zone is local time."""
    ago = AGO.fullmatch(text)
    try:
        if ago:
            return now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise VoiceAgentError(
            f"--since {text!r} is no time: use 30m, 1h, 2d or 2026-01-31T18:00"
        ) from None


def _calls_table(calls: list[CallRow], *, numbers: bool) -> Table:
    table = _table("when", "duration", "persona", "number", "turns", "end", "id")
    for call in calls:
        table.add_row(
            *map(
                _plain,
                (
                    _local(call.started_at),
                    _duration(call),
                    call.persona,
                    _number(call.caller_number, numbers=numbers),
                    call.turn_count,
                    _end(call),
                    call.id[:8],
                ),
            )
        )
    return table


def _header(record: CallRecord, *, numbers: bool) -> Table:
    call = record.call
    rows: dict[str, Any] = {
        "call": call.id,
        "started": _local(call.started_at),
        "duration": _duration(call),
        "end": " · ".join(part for part in (_end(call), call.end_detail) if part),
        "caller": _number(call.caller_number, numbers=numbers),
        "called": _number(call.called_number, numbers=numbers),
        "persona": " · ".join(part for part in (call.persona, call.language) if part),
        "providers": ", ".join(f"{kind} {name}" for kind, name in sorted(call.providers.items())),
        "room": " · ".join(part for part in (call.room, call.room_sid) if part),
        "worker": f"{call.worker_id} · process {call.pid}" if call.pid else call.worker_id,
        "memory": f"{call.memory_bytes / 1e6:.1f} MB private" if call.memory_bytes else "",
        "usage": _usage(call.usage),
        "cost": _cost(call.cost),
        "recording": ", ".join(f"{made.uri} ({made.duration:.1f} s)" for made in record.recordings),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="bold"), _plain(value))
    return table


def _turns_table(turns: tuple[TurnRow, ...]) -> Table:
    table = _table("turn", "caller", "agent", "latency", "llm", "tts", "tools")
    for turn in turns:
        heard = turn.agent_text + (" [interrupted]" if turn.interrupted else "")
        delays = (_seconds(value) for value in (turn.latency, turn.llm_ttft, turn.tts_ttfb))
        values = (turn.number, turn.user_text, heard, *delays, ", ".join(turn.tools))
        table.add_row(*map(_plain, values))
    return table


def _notes_table(record: CallRecord) -> Table:
    table = _table("after", "note", "detail")
    for event in record.events:
        if event.kind == "note":
            after = (event.at - record.call.started_at).total_seconds()
            detail = json.dumps(event.detail, ensure_ascii=False) if event.detail else ""
            table.add_row(*map(_plain, (f"{after:.1f} s", event.name, detail)))
    return table


def _cost(cost: dict[str, Any] | None) -> str:
    """The total in one line, or what is known of it."""
    if not cost:
        return ""
    currency, prices = cost["currency"], f"prices of {cost['prices']}"
    if cost["total"] is not None:
        return f"{cost['total']} {currency} ({prices})"
    return f"not known; at least {cost['known']} {currency} ({prices})"


def _cost_table(cost: dict[str, Any]) -> Table:
    table = _table("provider", "for", "model", f"cost, {cost['currency']}")
    for part in cost["parts"]:
        known = "not in the price book" if part["cost"] is None else part["cost"]
        table.add_row(*map(_plain, (part["provider"], part["kind"], part["model"], known)))
    return table


def _usage(usage: dict[str, Any]) -> str:
    """What each model was used for, without the counters that are zero: a line a model."""
    lines = []
    for model in usage.get("models", []):
        counts = [
            f"{name.replace('_', ' ')} {value:.1f}".removesuffix(".0")
            for name, value in model.items()
            if isinstance(value, int | float) and value
        ]
        lines.append(f"{model.get('provider')}/{model.get('model')}: {', '.join(counts)}")
    if leg := usage.get("telephony"):
        lines.append(f"telephony {leg.get('trunk')}: {leg.get('seconds')} seconds")
    return "\n".join(lines)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def _plain(value: Any) -> Text:
    """Return a cell that shows its text as it is: what callers say is no markup and no escape."""
    return Text("".join(char if char.isprintable() or char == "\n" else " " for char in str(value)))


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _duration(call: CallRow) -> str:
    if call.ended_at is None:
        return ""
    seconds = max(0, round((call.ended_at - call.started_at).total_seconds()))
    return f"{seconds // 60}:{seconds % 60:02}"


def _end(call: CallRow) -> str:
    if call.end_reason is None:
        return "goes on"
    return call.end_reason + (" (provisional)" if call.end_provisional else "")


def _number(number: str, *, numbers: bool) -> str:
    """A pseudonym's beginning, which tells callers apart; of a number the last two digits."""
    if numbers:
        return number
    if number.startswith(PSEUDONYM):
        return number[: len(PSEUDONYM) + 6]
    return "*" * len(number[:-2]) + number[-2:]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
