"""Recordings in the database: what was asked for, what became of it, what is to be deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, or_, select

from agent.call import RecordingStatus, now
from agent.errors import RecordingUnknown
from agent.store import engine as database
from agent.store import writes
from agent.store.projection import storable
from agent.store.recording_tables import recording_log
from agent.store.tables import calls, recordings

OVER = [status.value for status in RecordingStatus if status.is_over]
GOING_ON = [status.value for status in RecordingStatus if not status.is_over]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingLogRow:
    """One recording, whoever makes it. Times are UTC, `duration` is seconds, `size` bytes."""

    id: str
    made_by: str
    """`egress` (we asked for it), `worker`, or `other`: an egress that somebody else started."""
    kind: str
    status: str
    asked_at: datetime
    egress_id: str | None = None
    call_id: str | None = None
    output: str = ""
    persona: str = ""
    room: str = ""
    room_sid: str = ""
    uri: str = ""
    error: str = ""
    size: int | None = None
    duration: float | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deleted_at: datetime | None = None
    """When it was asked to be deleted."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is recorded."""
        return self.status in OVER


class Followed(NamedTuple):
    """A recording after egress's word was taken over; `before` is the status that it had, if any.

    Of several who follow at once, one alone sees a status change.
    """

    row: RecordingLogRow
    before: str


@dataclass(frozen=True, slots=True)
class Recordings:
    """The recordings of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def add(self, row: RecordingLogRow) -> bool:
        """Keep a new recording; whether its id was new."""
        values = {field.name: storable(getattr(row, field.name)) for field in fields(row)}
        return database.write(
            self.engine,
            lambda connection: writes.insert_new(connection, recording_log, values),
        )

    def change(self, recording: str, **values: Any) -> bool:
        """Set columns; the status goes on, never back. Whether there is such a recording."""
        row = {name: storable(value) for name, value in values.items()}
        return database.write(
            self.engine,
            lambda connection: writes.change_recording(connection, recording, row),
        )

    def follow(self, told: RecordingLogRow) -> Followed:
        """Take over what egress tells of a recording, by its own id, else by that in its file.

        One that nobody asked us for is kept too. Told twice, or in another order, it is the same.
        """

        def work(connection: Connection) -> Followed:
            table, is_new = recording_log, False
            # Others may name all their files alike: such a name says only what is ours.
            is_ours = or_(table.c.egress_id.is_(None), table.c.made_by != "other")
            known = select(table.c.id).where(
                or_(table.c.egress_id == told.egress_id, (table.c.id == told.id) & is_ours)
            )
            own_first = (table.c.egress_id == told.egress_id).desc()
            found = connection.scalars(known.order_by(own_first)).first()
            if found is None:
                row = {field.name: storable(getattr(told, field.name)) for field in fields(told)}
                is_new = writes.insert_new(connection, table, row)
                if not is_new:
                    row["id"] = told.egress_id
                    is_new = writes.insert_new(connection, table, row)
                found = row["id"]
            held = select(table.c.uri, table.c.status).where(table.c.id == found).with_for_update()
            uri, status = connection.execute(held).one()
            writes.change_recording(connection, found, _told(told, keeps_uri=bool(uri)))
            kept = connection.execute(select(table).where(table.c.id == found)).mappings().one()
            return Followed(_row(kept), "" if is_new else status)

        return database.write(self.engine, work)

    def get(self, recording: str) -> RecordingLogRow:
        """One recording, by its id or egress's. Raises RecordingUnknown."""
        either = or_(recording_log.c.id == recording, recording_log.c.egress_id == recording)
        found = self._rows(select(recording_log).where(either))
        if not found:
            raise RecordingUnknown(f"no recording {recording}")
        return found[0]

    def listed(
        self, limit: int = 50, *, call_id: str = "", room: str = "", status: str = ""
    ) -> list[RecordingLogRow]:
        """The newest recordings first."""
        statement = select(recording_log)
        for column, value in (("call_id", call_id), ("room", room), ("status", status)):
            if value:
                statement = statement.where(recording_log.c[column] == value)
        newest = statement.order_by(recording_log.c.asked_at.desc(), recording_log.c.id)
        return self._rows(newest.limit(limit))

    def unfinished(self, before: datetime) -> list[RecordingLogRow]:
        """Those asked for before that time which are not over, the oldest first."""
        statement = select(recording_log).where(
            recording_log.c.status.not_in(OVER), recording_log.c.asked_at < before
        )
        return self._rows(statement.order_by(recording_log.c.asked_at))

    def going_on(self) -> int:
        """How many were asked for and are not over."""
        statement = select(func.count()).where(recording_log.c.status.in_(GOING_ON))
        return database.read(self.engine, lambda connection: connection.scalar(statement) or 0)

    def to_delete(self, days: int, by_persona: Mapping[str, int]) -> list[RecordingLogRow]:
        """Those that have been kept long enough, or were asked to be deleted. 0 days: for ever."""
        table, at = recording_log, now()
        kept = [(table.c.persona == name, number) for name, number in by_persona.items()]
        kept.append((table.c.persona.not_in(list(by_persona)), days))
        old = [
            persona & (table.c.asked_at < at - timedelta(days=number))
            for persona, number in kept
            if number
        ]
        return self._rows(select(table).where(or_(table.c.deleted_at.is_not(None), *old)))

    def of_calls(self, call_ids: Sequence[str]) -> list[RecordingLogRow]:
        """All recordings of these calls."""
        return self._rows(select(recording_log).where(recording_log.c.call_id.in_(list(call_ids))))

    def remove(self, recording: str) -> None:
        """Remove the row, after the file is gone, and the mention of it in its call."""

        def work(connection: Connection) -> None:
            own = recording_log.c.id == recording
            row = connection.execute(select(recording_log).where(own)).mappings().one_or_none()
            if row is None:
                return
            connection.execute(delete(recording_log).where(own))
            if row["call_id"] and row["uri"]:
                of_call = recordings.c.call_id == row["call_id"]
                connection.execute(
                    delete(recordings).where(of_call, recordings.c.uri == row["uri"])
                )

        database.write(self.engine, work)

    def ends_of(self, call_ids: Sequence[str]) -> dict[str, datetime | None]:
        """When those of these calls ended that there are; None: they go on."""
        statement = select(calls.c.id, calls.c.ended_at).where(calls.c.id.in_(list(call_ids)))
        rows = database.read(self.engine, lambda connection: connection.execute(statement).all())
        return {row.id: row.ended_at for row in rows}

    def _rows(self, statement: Any) -> list[RecordingLogRow]:
        return database.read(
            self.engine,
            lambda connection: [_row(row) for row in connection.execute(statement).mappings()],
        )


def _row(row: Mapping[Any, Any]) -> RecordingLogRow:
    return RecordingLogRow(**row)


def _told(told: RecordingLogRow, *, keeps_uri: bool) -> dict[str, Any]:
    """What of an egress's word is news; who asked for it, when and whereto, we know better."""
    names = "egress_id status room_sid uri error size duration started_at ended_at".split()
    values = {name: storable(getattr(told, name)) for name in names}
    if keeps_uri:
        del values["uri"]
    return {name: value for name, value in values.items() if value not in (None, "")}
