"""The call log's writes, each inside a transaction of `agent.store.engine.write`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agent import log
from agent.call import EndReason, RecordingStatus, stand_in_id
from agent.errors import CallUnknown
from agent.events import (
    CallEnded,
    Event,
    RecordingAsked,
    RecordingChanged,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
)
from agent.store import projection
from agent.store.projection import Row
from agent.store.recording_tables import recording_log
from agent.store.room_rows import Ended
from agent.store.tables import call_events, calls, recordings, turns

logger = log.get(__name__)

ROOM_SEQ = 0
"""The number of the end that a room told: below those of the job, above those of `end_call`."""
KNOWN_BEST_BY_JOB = ("call_id", "made_by", "kind", "output", "persona", "uri", "asked_at")
ORDER = [status.value for status in RecordingStatus]


def apply(connection: Connection, worker_id: str, events: Sequence[Event]) -> list[Event]:
    """Write the events that are not in the log yet, and return them."""
    _open_calls(connection, worker_id, events)
    new = []
    for event in events:
        if insert_new(connection, call_events, projection.history(event)):
            _apply_one(connection, event)
            new.append(event)
    return new


def end_from_outside(
    connection: Connection,
    call_id: str,
    reason: EndReason,
    *,
    at: datetime | None = None,
    detail: str = "",
    provisional: bool = False,
) -> bool:
    """End a call with an event of our own, whose number is below those of any job.

    Nothing is written, and False returned, when an earlier end stands. Raises CallUnknown.
    """
    own = call_events.c.call_id == call_id
    first, last = connection.execute(
        select(func.min(call_events.c.seq), func.max(call_events.c.at)).where(own)
    ).one()
    if first is None:
        raise CallUnknown(f"no call {call_id}")
    seq = min(first, 0) - 1
    end = CallEnded(call_id=call_id, seq=seq, at=at or last, reason=reason, detail=detail)
    counts = _end(connection, call_id, projection.end_values(end, provisional=provisional))
    if counts:
        connection.execute(insert(call_events).values(projection.history(end)))
    return counts


def end_by_room(
    connection: Connection, call_id: str, ended: Ended, *, provisional: bool = True
) -> bool:
    """End a call as its room tells, or correct such an end; False when another one stands.

    There is one event of this kind in a call's history, with the number ROOM_SEQ.
    """
    end = CallEnded(
        call_id=call_id, seq=ROOM_SEQ, at=ended.at, reason=ended.reason, detail=ended.detail
    )
    values = projection.end_values(end, provisional=provisional)
    told = ("ended_at", "end_reason", "end_detail", "end_provisional")
    differs = or_(*(calls.c[name].is_distinct_from(values[name]) for name in told))
    may_end = or_(calls.c.ended_at.is_(None), calls.c.end_provisional)
    statement = update(calls).where(calls.c.id == call_id, may_end, differs).values(values)
    if connection.execute(statement).rowcount == 0:
        return False
    row = projection.history(end)
    _upsert(connection, call_events, row, row)
    return True


def _open_calls(connection: Connection, worker_id: str, events: Sequence[Event]) -> None:
    """Make the row of every call of the batch; a call that a job spooled gets its worker here."""
    first: dict[str, datetime] = {}
    for event in events:
        first[event.call_id] = min(event.at, first.get(event.call_id, event.at))
    for call_id, at in sorted(first.items()):  # one order for all writers: no deadlocks
        _upsert(
            connection,
            calls,
            {"id": call_id, "worker_id": worker_id, "started_at": at},
            {"worker_id": worker_id} if worker_id else {},
            where=calls.c.worker_id == "",
        )


def _apply_one(connection: Connection, event: Event) -> None:
    match event:
        case TurnCommitted() | TurnFinished():
            row = projection.turn_values(event)
            _upsert(connection, turns, row, row)
        case RecordingAsked():
            row = projection.asked_values(event)
            known = {name: row[name] for name in KNOWN_BEST_BY_JOB}
            # Egress's own word may be here first, when the events waited in a spool.
            _upsert(connection, recording_log, row, known)
        case RecordingChanged():
            _move(connection, event)
            change_recording(connection, event.recording, projection.changed_values(event))
        case RecordingMade():
            connection.execute(insert(recordings).values(projection.recording_values(event)))
            change_recording(connection, event.recording, projection.changed_values(event))
        case CallEnded():
            _end(connection, event.call_id, projection.end_values(event))
        case _:
            values = projection.call_values(event)
            _without_taken_room(connection, event.call_id, values)
            if values:
                connection.execute(update(calls).where(calls.c.id == event.call_id).values(values))


def _without_taken_room(connection: Connection, call_id: str, values: Row) -> None:
    """Leave the SID of a room to the first call there: a job started again makes a second one.

    The row of the event itself still names it. A stand-in gives way to the job's own record.
    """
    sid = values.get("room_sid")
    if sid is None:
        return
    taken = connection.scalar(
        select(calls.c.id).where(calls.c.room_sid == sid, calls.c.id != call_id)
    )
    if taken == stand_in_id(sid):
        connection.execute(delete(calls).where(calls.c.id == taken))
    elif taken is not None:
        logger.warning("a second call in one room", action="keep its SID in the events only")
        values["room_sid"] = None


def _end(connection: Connection, call_id: str, values: Row) -> bool:
    """Set the end unless there is one; a provisional one gives way to one that is not."""
    may_end: ColumnElement[bool] = calls.c.ended_at.is_(None)
    if not values["end_provisional"]:
        may_end = or_(may_end, calls.c.end_provisional)
    statement = update(calls).where(calls.c.id == call_id, may_end).values(values)
    return connection.execute(statement).rowcount > 0


def _move(connection: Connection, event: RecordingChanged) -> None:
    """The mention of a file in its call goes where the file went."""
    if event.uri:
        before = select(recording_log.c.uri).where(recording_log.c.id == event.recording)
        own = (recordings.c.call_id == event.call_id) & (
            recordings.c.uri == before.scalar_subquery()
        )
        connection.execute(update(recordings).where(own).values(uri=event.uri))


def change_recording(connection: Connection, recording: str, values: Row) -> bool:
    """Set columns of a recording; its status goes on, never back. Whether there is such a row.

    A later word of an earlier state still brings what it knows: egress's id, an address.
    """
    own = recording_log.c.id == recording
    held = connection.scalar(select(recording_log.c.status).where(own).with_for_update())
    if held is None:
        return False
    values = _adopted(connection, recording, values)
    status = values.get("status", held)
    if ORDER.index(status) < ORDER.index(held):
        values = {**values, "status": held}
    if values:
        connection.execute(update(recording_log).where(own).values(values))
    return True


def _adopted(connection: Connection, recording: str, values: Row) -> Row:
    """The values, with what egress told before it was known whose it is, in a row that goes now.

    A stream has no file whose name would have said so.
    """
    table = recording_log
    theirs = (
        (table.c.egress_id == values.get("egress_id"))
        & (table.c.id != recording)
        & (table.c.made_by == "other")
    )
    row = values.get("egress_id") and (
        connection.execute(select(table).where(theirs)).mappings().one_or_none()
    )
    if not row:
        return values
    connection.execute(delete(table).where(theirs))
    names = ("room_sid", "size", "duration", "started_at", "ended_at", "error")
    told = {name: row[name] for name in names if row[name] not in (None, "")}
    later = max(row["status"], values.get("status", row["status"]), key=ORDER.index)
    return {**told, **values, "status": later}


def insert_new(connection: Connection, table: Table, row: Row) -> bool:
    """Insert a row unless its key is there; say whether it was new."""
    statement = insert_into(connection, table).values(row).on_conflict_do_nothing()
    keep = {"preserve_rowcount": True}  # SQLAlchemy forgets it for an INSERT
    return connection.execute(statement, execution_options=keep).rowcount > 0


def _upsert(
    connection: Connection,
    table: Table,
    row: Row,
    changes: Row,
    where: ColumnElement[bool] | None = None,
) -> None:
    """Insert a row, or set `changes` in the one with its key (where `where` holds)."""
    statement = insert_into(connection, table).values(row)
    if changes:
        key = list(table.primary_key)
        statement = statement.on_conflict_do_update(index_elements=key, set_=changes, where=where)
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement)


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows what to do when the key is there (`on_conflict_...`)."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
