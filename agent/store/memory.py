"""The call log's in-memory twin: for tests, by the same contract tests as the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, DefaultClause, Table

from agent.call import EndReason, now, stand_in_id
from agent.errors import CallUnknown
from agent.events import (
    CallEnded,
    Event,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
    is_passing,
)
from agent.store import projection
from agent.store.projection import Row
from agent.store.queries import BEGINNING, end_reason, full_id
from agent.store.rows import AuditRow, CallRecord, CallRow, EventRow, RecordingRow, TurnRow
from agent.store.tables import calls, turns

Kept = dict[str, dict[int, Row]]


class MemoryCallLog:
    """The call log in the memory of one process: `agent.store.rows.CallStore` says what it does."""

    def __init__(self) -> None:
        self._calls: dict[str, Row] = {}
        self._turns: Kept = {}
        self._recordings: Kept = {}
        self._events: Kept = {}
        self._audit: list[AuditRow] = []

    def apply(self, worker_id: str, events: Sequence[Event]) -> list[Event]:
        """Write a batch, each event once: see CallStore."""
        new = []
        for event in events:
            projection.check(event)
        kept = [event for event in events if not is_passing(event)]
        for event in kept:
            self._open(worker_id, event, min(e.at for e in kept if e.call_id == event.call_id))
            seen = self._events.setdefault(event.call_id, {})
            if event.seq not in seen:
                seen[event.seq] = projection.history(event)
                self._apply_one(event)
                new.append(event)
        return new

    def end_call(
        self,
        call_id: str,
        reason: EndReason,
        *,
        at: datetime | None = None,
        detail: str = "",
        provisional: bool = False,
    ) -> bool:
        """End a call that cannot speak for itself: see CallStore."""
        events = self._events.get(call_id)
        if not events:
            raise CallUnknown(f"no call {call_id}")
        seq = min(0, *events) - 1
        at = at or max(event["at"] for event in events.values())
        end = CallEnded(call_id=call_id, seq=seq, at=at, reason=reason, detail=detail)
        counts = self._end(call_id, projection.end_values(end, provisional=provisional))
        if counts:
            events[seq] = projection.history(end)
        return counts

    def close_orphans(
        self,
        is_gone: Callable[[str], bool],
        reason: EndReason = EndReason.WORKER_KILLED,
        at: datetime | None = None,
    ) -> list[str]:
        """End the open calls of workers that are gone: see CallStore."""
        unended = [call for call in self._calls.values() if call["ended_at"] is None]
        orphans = sorted(call["id"] for call in unended if is_gone(call["worker_id"]))
        return [call_id for call_id in orphans if self.end_call(call_id, reason, at=at)]

    def list_calls(
        self,
        limit: int = 20,
        *,
        since: datetime | None = None,
        is_open: bool | None = None,
        number: str | None = None,
    ) -> list[CallRow]:
        """Return the newest calls first: see CallStore."""
        found = [
            call
            for call in self._calls.values()
            if (since is None or call["started_at"] >= since)
            and (is_open is None or (call["ended_at"] is None) == is_open)
            and (number is None or call["caller_number"] == number)
        ]
        found.sort(key=lambda call: call["id"])
        found.sort(key=lambda call: call["started_at"], reverse=True)
        return [self._call(call) for call in found[:limit]]

    def get_call(self, call_id: str) -> CallRecord:
        """Return one call by its id or a unique beginning: see CallStore."""
        asked = call_id.lower()
        meant = BEGINNING.fullmatch(asked) is not None
        full = full_id(
            call_id, [known for known in self._calls if meant and known.startswith(asked)]
        )
        turn_rows = sorted(self._turns.get(full, {}).items())
        return CallRecord(
            call=self._call(self._calls[full]),
            turns=tuple(
                TurnRow(number=number, **{**_columns(row), "tools": tuple(row["tools"])})
                for number, row in turn_rows
            ),
            recordings=tuple(
                RecordingRow(**_columns(row))
                for _, row in sorted(self._recordings.get(full, {}).items())
            ),
            events=tuple(
                sorted(
                    (EventRow(seq=seq, **_columns(row)) for seq, row in self._events[full].items()),
                    key=lambda row: (row.at, row.seq),
                )
            ),
        )

    def audit(self, who: str, what: str, object: str, source: str) -> None:  # noqa: A002  the column
        """Add a line to the audit trail: see CallStore."""
        self._audit.append(AuditRow(at=now(), who=who, what=what, object=object, source=source))

    def audit_trail(self, limit: int = 100) -> list[AuditRow]:
        """Return the newest lines of the audit trail first."""
        return self._audit[::-1][:limit]

    def close(self) -> None:
        """Nothing to let go of."""

    def _open(self, worker_id: str, event: Event, started_at: datetime) -> None:
        call = self._calls.setdefault(
            event.call_id,
            {
                **_defaults(calls),
                "id": event.call_id,
                "worker_id": worker_id,
                "started_at": projection.storable(started_at),
            },
        )
        call["worker_id"] = call["worker_id"] or worker_id

    def _apply_one(self, event: Event) -> None:
        match event:
            case TurnCommitted() | TurnFinished():
                row = projection.turn_values(event)
                known = self._turns.setdefault(event.call_id, {})
                known.setdefault(row["number"], _defaults(turns)).update(row)
            case RecordingMade():
                row = projection.recording_values(event)
                self._recordings.setdefault(event.call_id, {})[event.seq] = row
            case CallEnded():
                self._end(event.call_id, projection.end_values(event))
            case _:
                values = projection.call_values(event)
                sid = values.get("room_sid")
                others = [key for key in self._calls if key != event.call_id]
                taken = next((key for key in others if self._calls[key]["room_sid"] == sid), None)
                if sid and taken == stand_in_id(sid):
                    del self._calls[taken], self._events[taken]
                elif sid and taken:
                    values["room_sid"] = None
                self._calls[event.call_id].update(values)

    def _end(self, call_id: str, values: Row) -> bool:
        call = self._calls[call_id]
        gives_way = call["end_provisional"] and not values["end_provisional"]
        if call["ended_at"] is not None and not gives_way:
            return False
        call.update(values)
        return True

    def _call(self, row: Row) -> CallRow:
        values: dict[str, Any] = {
            **row,
            "end_reason": end_reason(row["end_reason"]),
            "turn_count": sum(number > 0 for number in self._turns.get(row["id"], {})),
        }
        return CallRow(**deepcopy(values))


def _defaults(table: Table) -> Row:
    """Return a row of `table` before anything is known, with the database's own defaults."""
    row: Row = {}
    for column in table.c:
        default = (
            column.server_default.arg if isinstance(column.server_default, DefaultClause) else None
        )
        if isinstance(column.type, Boolean):
            row[column.name] = False
        elif column.nullable:
            row[column.name] = None
        elif isinstance(default, str):
            row[column.name] = json.loads(default or '""')
    return row


def _columns(row: Row) -> Row:
    """Copy a row without its key, so that nobody changes what is kept."""
    return {
        name: deepcopy(value)
        for name, value in row.items()
        if name not in {"call_id", "seq", "number"}
    }
