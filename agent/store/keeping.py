"""What outlives the return of an older database: who was forgotten, what was revoked, who did what.

So does what people were told of and have done with: nobody is called again for what is over.

A restore brings back the rows of its day. These of the day before it stay true all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, inspect, select, update

from agent.call import EndReason, now
from agent.store import engine as database
from agent.store import writes
from agent.store.access_tables import client_keys, revocations
from agent.store.forgetting import Tombstone, bury, remove_rows
from agent.store.notice_tables import incidents, notices
from agent.store.recording_tables import recording_log, tombstones
from agent.store.tables import audit_log, recordings

Row = dict[str, Any]
ACTIONS = ("who", "what", "object", "source")
SINCE = (
    *("open_key", "climbs_from", "step", "over_at"),
    *("acknowledged_at", "acknowledged_by", "closed_at", "closed_by"),
)
"""What becomes of an incident after it was opened."""


@dataclass(frozen=True, slots=True)
class Present:
    """What a database says that must stay true."""

    tombstones: tuple[Tombstone, ...] = ()
    revocations: tuple[Row, ...] = ()
    revoked_keys: tuple[tuple[str, datetime], ...] = ()
    """Client keys, with the time at which each was revoked."""
    audit: tuple[Row, ...] = ()
    incidents: tuple[Row, ...] = ()
    """Each with its id and the columns SINCE."""
    told: tuple[Row, ...] = ()
    """Messages that are done: id, done_at, outcome."""


@dataclass(slots=True)
class Kept:
    """What was carried over into a database that came back. Counts are of rows."""

    forgotten: list[str] = field(default_factory=list)
    """Pseudonyms of callers of whom something had come back."""
    calls: int = 0
    """Calls of theirs that were removed again."""
    uris: list[str] = field(default_factory=list)
    """Where recordings of theirs lie: their files are not to come back."""
    revocations: int = 0
    client_keys: int = 0
    """Keys that are revoked again."""
    audit: int = 0


def present_of(engine: Engine) -> Present:
    """Read it from the database as it is now, of whatever schema. Raises StoreError."""
    return database.read(engine, _present)


def uris(url: str) -> set[str]:
    """Where recordings lie that the database at `url` knows of. Raises StoreError."""

    def work(connection: Connection) -> set[str]:
        known = set(inspect(connection).get_table_names())
        tables = [table for table in (recording_log, recordings) if table.name in known]
        return {uri for table in tables for uri in connection.scalars(select(table.c.uri))}

    engine = database.open_engine(url, readonly=True)
    try:
        return database.read(engine, work)
    finally:
        engine.dispose()


def keep(connection: Connection, present: Present) -> Kept:
    """Make it true in the database that came back, in its transaction. The schema is current."""
    kept = Kept()
    _keep_forgotten(connection, present, kept)
    for row in present.revocations:
        kept.revocations += writes.insert_new(connection, revocations, row)
    for key, at in present.revoked_keys:
        own = (client_keys.c.id == key) & client_keys.c.revoked_at.is_(None)
        changed = connection.execute(update(client_keys).where(own).values(revoked_at=at))
        kept.client_keys += changed.rowcount
    _keep_quiet(connection, present)
    last = connection.scalar(select(func.max(audit_log.c.at)))
    newer = [row for row in present.audit if last is None or row["at"] > last]
    if newer:
        connection.execute(insert(audit_log), newer)
    kept.audit = len(newer)
    return kept


def _present(connection: Connection) -> Present:
    known = set(inspect(connection).get_table_names())

    def rows(table: Any, *where: Any) -> list[Row]:
        if table.name not in known:
            return []
        found = connection.execute(select(table).where(*where)).mappings()
        return [dict(row) for row in found]

    lines = rows(audit_log)
    return Present(
        tuple(Tombstone(**row) for row in rows(tombstones)),
        tuple(rows(revocations, revocations.c.expires_at > now())),
        tuple(
            (row["id"], row["revoked_at"])
            for row in rows(client_keys, client_keys.c.revoked_at.is_not(None))
        ),
        tuple({name: row[name] for name in ("at", *ACTIONS)} for row in lines),
        tuple({name: row[name] for name in ("id", *SINCE)} for row in rows(incidents)),
        tuple(
            {name: row[name] for name in ("id", "done_at", "outcome")}
            for row in rows(notices, notices.c.done_at.is_not(None))
        ),
    )


def _keep_quiet(connection: Connection, present: Present) -> None:
    """Incidents stand as they do now, and a message that was sent since is not sent again."""
    for table, rows, is_news in (
        (incidents, present.incidents, incidents.c.closed_at.is_(None)),
        (notices, present.told, notices.c.done_at.is_(None)),
    ):
        waiting = set(connection.scalars(select(table.c.id).where(is_news)))
        for row in rows:
            if row["id"] in waiting:
                own = table.c.id == row["id"]
                connection.execute(update(table).where(own).values(row))


def _keep_forgotten(connection: Connection, present: Present, kept: Kept) -> None:
    own = [Tombstone(**row) for row in connection.execute(select(tombstones)).mappings()]
    latest: dict[str, Tombstone] = {}
    for stone in sorted((*own, *present.tombstones), key=lambda one: one.made_at):
        latest[stone.caller] = stone
    for stone in latest.values():
        bury(connection, stone)
        # Of a call that went on then nobody will tell the end: it has none to wait for.
        removed = remove_rows(connection, stone, ended_by=EndReason.WORKER_KILLED)
        if not (removed.calls or removed.rooms):
            continue
        kept.forgotten.append(stone.caller)
        kept.calls += len(removed.calls)
        of_calls = recording_log.c.call_id.in_(removed.calls)
        uris = connection.scalars(select(recording_log.c.uri).where(of_calls))
        kept.uris += [uri for uri in uris if uri]
        connection.execute(delete(recording_log).where(of_calls))
