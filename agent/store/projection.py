"""What an event changes in the call log, as plain data: both call logs write the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from agent.call import RecordingStatus
from agent.errors import EventRefused
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    Event,
    RecordingAsked,
    RecordingChanged,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
    decode,
)
from agent.store.rows import EventRow

KEPT_ELSEWHERE = frozenset(
    {"call_id", "seq", "at", "user_text", "agent_text", "identity", "number", "called"}
)
"""Fields that the history leaves out: words and numbers of people stand in one place only."""

ID_LENGTH = 32
LARGEST = 2**63 - 1
Row = dict[str, Any]


def check(event: Event) -> None:
    """Refuse what no database could hold under its key. Raises EventRefused."""
    if not (isinstance(event.call_id, str) and len(event.call_id) == ID_LENGTH):
        raise EventRefused("an event without the id of a call")
    if not (isinstance(event.seq, int) and abs(event.seq) < 2**31):
        raise EventRefused(f"an event of call {event.call_id} without a sequence number")
    if event.at.tzinfo is None:
        raise EventRefused(f"event {event.seq} of call {event.call_id} has no time zone")


def history(event: Event) -> Row:
    """Return the row of `call_events`: its key marks the event as applied."""
    body = {key: value for key, value in asdict(event).items() if key not in KEPT_ELSEWHERE}
    name = ""
    if isinstance(event, CallNote):
        name, body = event.name, event.detail
    row = {"kind": event.kind, "name": name, "at": event.at, "detail": body}
    return {"call_id": event.call_id, "seq": event.seq, **_row(row)}


def told_again(call_id: str, row: EventRow) -> Event:
    """Return the event that `history` made a row of, without what is kept elsewhere.

    Raises ValueError for a row that a newer release wrote.
    """
    body = {"name": row.name, "detail": row.detail} if row.kind == CallNote.kind else row.detail
    key = {"kind": row.kind, "call_id": call_id, "seq": row.seq, "at": row.at.isoformat()}
    return decode(json.dumps({"identity": "", **body, **key}))


def call_values(event: Event) -> Row:
    """Return the columns of `calls` that an event sets at any time; an end sets its own."""
    match event:
        case CallOpened():
            row: Row = {
                "room": event.room,
                "room_sid": event.room_sid or None,
                "job_id": event.job_id,
                "agent_name": event.agent_name,
                "pid": event.pid,
                "started_at": event.at,
            }
        case CallerJoined():
            row = {
                "identity": event.identity,
                "caller_number": event.number,
                "called_number": event.called,
                "persona": event.persona,
                "language": event.language,
                "providers": event.providers,
                "answered_at": event.at,
            }
        case _:
            row = {}
    return _row(row)


def end_values(event: CallEnded, *, provisional: bool = False) -> Row:
    """Return the columns of `calls` that the end sets, if it is the one that counts."""
    return _row(
        {
            "ended_at": event.at,
            "end_reason": str(event.reason),
            "end_detail": event.detail,
            "end_provisional": provisional,
            "usage": event.usage,
            "memory_bytes": event.memory_bytes,
            "cost": event.cost,
        }
    )


def turn_values(event: TurnCommitted | TurnFinished) -> Row:
    """Return the row of `turns` that an event writes or completes, with its key."""
    row = asdict(event)
    del row["seq"], row["at"]
    row["number"] = row.pop("turn")
    row["committed_at" if isinstance(event, TurnCommitted) else "finished_at"] = event.at
    return _row(row)


def recording_values(event: RecordingMade) -> Row:
    """Return the row of `recordings`."""
    row = asdict(event)
    row["made_at"] = row.pop("at")
    del row["recording"], row["size"]
    return _row(row)


def asked_values(event: RecordingAsked) -> Row:
    """Return the row of `recording_log`."""
    return _row(
        {
            "id": event.recording,
            "call_id": event.call_id,
            "made_by": event.by,
            "kind": event.what,
            "output": event.output,
            "persona": event.persona,
            "room": event.room,
            "room_sid": event.room_sid,
            "uri": event.uri,
            "status": RecordingStatus.ASKED.value,
            "asked_at": event.at,
        }
    )


def changed_values(event: RecordingChanged | RecordingMade) -> Row:
    """Return the columns of `recording_log` that an event sets."""
    if isinstance(event, RecordingMade):
        row: Row = {
            "status": RecordingStatus.COMPLETE.value,
            "uri": event.uri,
            "duration": event.duration,
            "size": event.size,
            "ended_at": event.at,
        }
        return _row(row)
    names = ("status", "egress_id", "uri", "error")
    return _row({name: getattr(event, name) for name in names if getattr(event, name)})


def _row(values: Row) -> Row:
    return {name: storable(value) for name, value in values.items()}


def storable(value: Any) -> Any:
    """Return the value as a database gives it back: in UTC, and without what it would refuse.

    PostgreSQL takes no NUL and no NaN in JSON, neither takes half a surrogate pair.
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\0", "")
        case datetime():
            return value.astimezone(UTC)
        case float() | int() if not abs(value) <= LARGEST:  # NaN is not, either
            return None
        case dict():
            return {storable(str(key)): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value
