"""Incidents and their timelines in the database, and the messages that each step makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from agent.errors import IncidentUnknown
from agent.store import engine as database
from agent.store import notices, writes
from agent.store.notice_tables import incident_timeline, incidents
from agent.store.projection import storable


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident. Times are UTC; what has not happened is None."""

    id: str
    level: str
    kind: str
    what: str
    opened_at: datetime
    opened_by: str = ""
    alert: str = ""
    subject: str = ""
    open_key: str | None = None
    climbs_from: datetime
    """Since when the steps of escalation are counted: the opening, or the alert's return."""
    step: int = 0
    """The highest level that was called."""
    over_at: datetime | None = None
    """When the alert ended that opened it."""
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    closed_at: datetime | None = None
    closed_by: str = ""

    @property
    def topic(self) -> str:
        """That of its messages: they are sent in their order."""
        return f"incident-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of a timeline."""

    incident: str
    at: datetime
    who: str
    event: str
    text: str = ""
    once: str | None = None
    """What may happen once: a second entry with the same is not written."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message that goes with a step, and the channels that it is for."""

    channels: Collection[str] = ()
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


NOBODY = Told()


@dataclass(frozen=True, slots=True)
class Incidents:
    """The incidents of one database. Every method may raise StoreUnavailable.

    Each change, its row of the timeline and its messages are one transaction.
    """

    engine: Engine

    def open(self, incident: Incident, entry: Entry, told: Told = NOBODY) -> Incident:
        """Keep a new incident; the one that is open already where both have the same open_key."""
        values = {item.name: storable(getattr(incident, item.name)) for item in fields(incident)}

        def work(connection: Connection) -> Incident:
            if not writes.insert_new(connection, incidents, values):
                same = incidents.c.open_key == incident.open_key
                row = connection.execute(select(incidents).where(same)).mappings().one()
                return _incident(row)
            _note(connection, entry)
            _tell(connection, incident, told, entry.at)
            return incident

        return database.write(self.engine, work)

    def advance(
        self,
        incident: Incident,
        entry: Entry,
        told: Told = NOBODY,
        values: Mapping[str, Any] | None = None,
        *,
        unless: Collection[str] = ("closed_at",),
    ) -> bool:
        """Write the entry, set the columns and tell; whether it was done.

        Nothing is done where one of the columns `unless` is set by now, or where the entry may
        happen once and has.
        """

        def work(connection: Connection) -> bool:
            own = incidents.c.id == incident.id
            held = connection.execute(select(incidents).where(own).with_for_update()).mappings()
            row = held.one()
            if any(row[name] is not None for name in unless) or not _note(connection, entry):
                return False
            if values:
                changed = {name: storable(value) for name, value in values.items()}
                connection.execute(update(incidents).where(own).values(changed))
            _tell(connection, incident, told, entry.at)
            return True

        return database.write(self.engine, work)

    def get(self, which: str) -> Incident:
        """One incident, by its id or a unique beginning. Raises IncidentUnknown."""
        statement = select(incidents).where(incidents.c.id.startswith(which, autoescape=True))
        rows = self._rows(statement.limit(2)) if which else []
        exact = [one for one in rows if one.id == which]
        if len(rows) == 1 or exact:
            return (exact or rows)[0]
        if rows:
            raise IncidentUnknown(f"more than one incident begins with {which}: give the whole id")
        raise IncidentUnknown(f"no incident {which}: python -m ops incident list --all")

    def open_of(self, open_key: str) -> Incident | None:
        """The open incident of an alert and its subject."""
        found = self._rows(select(incidents).where(incidents.c.open_key == open_key))
        return found[0] if found else None

    def listed(self, limit: int = 50, *, is_open: bool | None = None) -> list[Incident]:
        """The newest first; only open ones, or only closed ones."""
        statement = select(incidents)
        if is_open is not None:
            closed = incidents.c.closed_at
            statement = statement.where(closed.is_(None) if is_open else closed.is_not(None))
        newest = statement.order_by(incidents.c.opened_at.desc(), incidents.c.id)
        return self._rows(newest.limit(limit))

    def climbing(self) -> list[Incident]:
        """Those that nobody has acknowledged, the oldest first."""
        statement = select(incidents).where(
            incidents.c.closed_at.is_(None),
            incidents.c.acknowledged_at.is_(None),
            incidents.c.over_at.is_(None),
        )
        return self._rows(statement.order_by(incidents.c.opened_at, incidents.c.id))

    def timeline(self, incident_id: str) -> list[Entry]:
        """What happened, in the order in which it was written."""
        table = incident_timeline
        columns = [table.c[item.name] for item in fields(Entry)]
        statement = select(*columns).where(table.c.incident == incident_id).order_by(table.c.id)
        rows = database.read(self.engine, lambda db: db.execute(statement).mappings().all())
        return [Entry(**row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many are open by level."""
        open_ = incidents.c.closed_at.is_(None)
        statement = select(incidents.c.level, func.count()).where(open_)
        statement = statement.group_by(incidents.c.level)
        rows = database.read(self.engine, lambda db: db.execute(statement).all())
        return {level: count for level, count in rows}  # noqa: C416  rows are no pairs to mypy

    def _rows(self, statement: Any) -> list[Incident]:
        return database.read(
            self.engine,
            lambda db: [_incident(row) for row in db.execute(statement).mappings()],
        )


def _note(connection: Connection, entry: Entry) -> bool:
    values = {item.name: storable(getattr(entry, item.name)) for item in fields(entry)}
    if entry.once is not None:
        return writes.insert_new(connection, incident_timeline, values)
    connection.execute(insert(incident_timeline).values(values))
    return True


def _tell(connection: Connection, incident: Incident, told: Told, at: datetime) -> None:
    rows = notices.rows_for(incident.topic, told.channels, told.body, at)
    notices.add(connection, incident.topic, rows)


def _incident(row: Mapping[Any, Any]) -> Incident:
    return Incident(**row)
