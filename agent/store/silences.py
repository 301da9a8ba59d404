"""Silences in the database: alerts that nobody is told of for a while."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from fnmatch import fnmatchcase

from sqlalchemy import Connection, Engine, insert, select, update

from agent.store import engine as database
from agent.store.notice_tables import notices, silences
from agent.store.projection import storable


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts of this name, and of this subject unless it is empty; both may have wildcards."""

    id: str
    name: str
    subject: str = ""
    comment: str = ""
    made_by: str = ""
    made_at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Silences:
    """The silences of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def add(self, silence: Silence) -> None:
        """Keep a new one."""
        values = {field.name: storable(getattr(silence, field.name)) for field in fields(silence)}
        database.write(self.engine, lambda db: db.execute(insert(silences).values(values)))

    def active(self, at: datetime) -> list[Silence]:
        """Those in force, the first to end first."""
        return database.read(self.engine, lambda db: active_in(db, at))

    def covering(self, name: str, subject: str, at: datetime) -> Silence | None:
        """The one that covers this alert for longest."""
        return database.read(self.engine, lambda db: covering_in(db, name, subject, at))

    def end(self, silence_id: str, at: datetime) -> bool:
        """End one, and let be sent what it held back; whether it was in force."""

        def work(connection: Connection) -> bool:
            own = (silences.c.id == silence_id) & (silences.c.until > at)
            ended = connection.execute(update(silences).where(own).values(until=at)).rowcount > 0
            if ended:
                held = (notices.c.silence == silence_id) & notices.c.done_at.is_(None)
                now_due = {"silence": "", "due_at": at, "made_at": at}
                connection.execute(update(notices).where(held).values(now_due))
            return ended

        return database.write(self.engine, work)


def active_in(connection: Connection, at: datetime) -> list[Silence]:
    """Those in force, within a transaction."""
    statement = select(silences).where(silences.c.until > at).order_by(silences.c.until)
    return [Silence(**row) for row in connection.execute(statement).mappings()]


def covering_in(connection: Connection, name: str, subject: str, at: datetime) -> Silence | None:
    """The silence that covers an alert for longest, within a transaction."""
    found = [
        one
        for one in active_in(connection, at)
        if fnmatchcase(name, one.name) and fnmatchcase(subject, one.subject or "*")
    ]
    return max(found, key=lambda one: one.until, default=None)
