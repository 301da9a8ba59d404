"""The call log's reads, each inside a transaction of `agent.store.engine.read`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, ScalarSelect, func, select

from agent.call import EndReason
from agent.errors import CallUnknown
from agent.store.recording_tables import recording_log
from agent.store.rows import AuditRow, CallRecord, CallRow, EventRow, RecordingRow, TurnRow
from agent.store.tables import audit_log, call_events, calls, recordings, turns

CHANNELS_OF_A_ROOM = 2
"""Channels of a room's sound: the agent's, and everybody else's."""

BEGINNING = re.compile(r"[0-9a-f]{1,32}")


def list_calls(
    connection: Connection,
    limit: int,
    *,
    since: datetime | None,
    is_open: bool | None,
    number: str | None,
) -> list[CallRow]:
    """Return the newest calls first: see CallStore."""
    statement = select(calls, _turn_count())
    if since is not None:
        statement = statement.where(calls.c.started_at >= since)
    if is_open is not None:
        ended = calls.c.ended_at
        statement = statement.where(ended.is_(None) if is_open else ended.is_not(None))
    if number is not None:
        statement = statement.where(calls.c.caller_number == number)
    statement = statement.order_by(calls.c.started_at.desc(), calls.c.id).limit(limit)
    return [_call(row) for row in connection.execute(statement).mappings()]


def get_call(connection: Connection, call_id: str) -> CallRecord:
    """Return one call by its id or a unique beginning: see CallStore."""
    full = full_id(call_id, _ids_from(connection, call_id.lower()))
    call = connection.execute(select(calls, _turn_count()).where(calls.c.id == full)).mappings()
    return CallRecord(
        call=_call(call.one()),
        turns=tuple(
            TurnRow(**{**row, "tools": tuple(row["tools"])})
            for row in _rows(connection, full, turns.c.number)
        ),
        recordings=tuple(
            RecordingRow(**{name: row[name] for name in ("uri", "channels", "duration", "made_at")})
            for row in _rows(connection, full, recordings.c.seq)
        )
        + tuple(_of_egress(connection, full)),
        events=tuple(
            EventRow(**row) for row in _rows(connection, full, call_events.c.at, call_events.c.seq)
        ),
    )


def audit_trail(connection: Connection, limit: int) -> list[AuditRow]:
    """Return the newest lines first."""
    columns = [column for column in audit_log.c if column.name != "id"]
    statement = select(*columns).order_by(audit_log.c.id.desc()).limit(limit)
    return [AuditRow(**row) for row in connection.execute(statement).mappings()]


def open_calls(connection: Connection) -> list[tuple[str, str]]:
    """Return (call id, worker id) of every call that has not ended, in one order for all."""
    statement = select(calls.c.id, calls.c.worker_id).where(calls.c.ended_at.is_(None))
    return [(row.id, row.worker_id) for row in connection.execute(statement.order_by(calls.c.id))]


def histories(connection: Connection, call_ids: Collection[str]) -> dict[str, list[EventRow]]:
    """Return the history of each of these calls that is known, in the order of its numbers."""
    found: dict[str, list[EventRow]] = {}
    statement = select(call_events).where(call_events.c.call_id.in_(call_ids))
    ordered = statement.order_by(call_events.c.call_id, call_events.c.seq)
    for row in connection.execute(ordered).mappings():
        values = dict(row)
        found.setdefault(values.pop("call_id"), []).append(EventRow(**values))
    return found


def full_id(asked: str, found: Sequence[str]) -> str:
    """Return the id that was meant by `asked`, of those `found`. Raises CallUnknown."""
    if not found:
        raise CallUnknown(f"no call has an id that begins with {asked!r}")
    if len(found) > 1:
        raise CallUnknown(f"several calls have an id that begins with {asked!r}: give more of it")
    return found[0]


def end_reason(stored: str | None) -> EndReason | str | None:
    """Return the reason that was stored; one that this release does not know stays a text."""
    try:
        return EndReason(stored) if stored else None
    except ValueError:
        return stored


def _ids_from(connection: Connection, beginning: str) -> list[str]:
    """At most two ids: enough to know whether the beginning is unique."""
    if not BEGINNING.fullmatch(beginning):
        return []
    # A range uses the primary key's index, which LIKE does not in most collations.
    in_range = calls.c.id.between(beginning, beginning.ljust(32, "f"))
    return list(connection.scalars(select(calls.c.id).where(in_range).limit(2)))


def _rows(connection: Connection, call_id: str, *order: Column[Any]) -> list[dict[str, Any]]:
    """Return the rows of one call from the table of the `order` columns, without the call's id."""
    table = order[0].table
    columns = [column for column in table.c if column.name != "call_id"]
    statement = select(*columns).where(table.c.call_id == call_id).order_by(*order)
    return [dict(row) for row in connection.execute(statement).mappings()]


def _of_egress(connection: Connection, call_id: str) -> Iterator[RecordingRow]:
    """What LiveKit recorded of a call, beside what its own worker did."""
    log = recording_log.c
    statement = select(recording_log).where(
        log.call_id == call_id, log.made_by != "worker", log.status == "complete", log.uri != ""
    )
    for row in connection.execute(statement.order_by(log.asked_at)).mappings():
        yield RecordingRow(
            uri=row["uri"],
            channels=CHANNELS_OF_A_ROOM if row["kind"] == "room-audio" else 0,
            duration=row["duration"] or 0.0,
            made_at=row["ended_at"] or row["asked_at"],
        )


def _turn_count() -> Any:
    count: ScalarSelect[int] = (
        select(func.count())
        .where(turns.c.call_id == calls.c.id, turns.c.number > 0)
        .scalar_subquery()
    )
    return count.label("turn_count")


def _call(row: Mapping[Any, Any]) -> CallRow:
    return CallRow(**{**row, "end_reason": end_reason(row["end_reason"])})
