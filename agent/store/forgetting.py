"""Removing everything about one caller, and remembering that it was removed.

The tombstone holds the caller's pseudonym and the time. Calls that began before it are removed
again wherever they come back from, such as a restored backup; later ones are a new acquaintance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, or_, select

from agent.call import EndReason
from agent.store import engine as database
from agent.store import writes
from agent.store.recording_tables import tombstones
from agent.store.room_tables import participants, rooms, webhook_events
from agent.store.tables import calls, turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of one caller. Counts are of rows."""

    calls: tuple[str, ...] = ()
    """Ids."""
    open_calls: tuple[str, ...] = ()
    """Those that go on: nothing of them can be removed yet."""
    turns: int = 0
    webhooks: int = 0
    rooms: tuple[str, ...] = ()
    """SIDs."""
    room_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A caller who is to be forgotten: whatever began before `made_at`."""

    caller: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What one database knows of callers. Every method may raise StoreUnavailable."""

    engine: Engine

    def remains(self, caller: str, before: datetime) -> Remains:
        """What there is of the caller with this pseudonym, in calls that began before then."""
        return database.read(self.engine, lambda connection: _remains(connection, caller, before))

    def bury(self, stone: Tombstone) -> None:
        """Leave the tombstone; of two for one caller the later one counts."""
        database.write(self.engine, lambda connection: bury(connection, stone))

    def remove(self, caller: str, before: datetime) -> Remains:
        """Remove the rows of ended calls, all in one transaction: what was removed.

        Files of recordings are removed before, with their rows: see `ops.recordings`.
        """
        stone = Tombstone(caller, before)
        return database.write(self.engine, lambda connection: remove_rows(connection, stone))

    def tombstones(self) -> list[Tombstone]:
        """All of them, the oldest first."""
        statement = select(tombstones.c.caller, tombstones.c.made_at).order_by(tombstones.c.made_at)
        rows = database.read(self.engine, lambda connection: connection.execute(statement).all())
        return [Tombstone(row.caller, row.made_at) for row in rows]


def bury(connection: Connection, stone: Tombstone) -> None:
    """Leave the tombstone; of two for one caller the later one counts."""
    own = tombstones.c.caller == stone.caller
    held = connection.scalar(select(tombstones.c.made_at).where(own))
    if held is None or held < stone.made_at:
        connection.execute(delete(tombstones).where(own))
        row = {"caller": stone.caller, "made_at": stone.made_at}
        writes.insert_new(connection, tombstones, row)


def remove_rows(
    connection: Connection, stone: Tombstone, *, ended_by: EndReason | None = None
) -> Remains:
    """Remove the rows of ended calls: what was removed. `ended_by` ends the others first."""
    found = _remains(connection, stone.caller, stone.made_at)
    if ended_by is not None and found.open_calls:
        for call in found.open_calls:
            writes.end_from_outside(connection, call, ended_by)
        found = _remains(connection, stone.caller, stone.made_at)
    ended = [one for one in found.calls if one not in found.open_calls]
    connection.execute(delete(calls).where(calls.c.id.in_(ended)))
    for table, column in ((participants, "room_sid"), (rooms, "sid")):
        connection.execute(delete(table).where(table.c[column].in_(found.rooms)))
    connection.execute(delete(webhook_events).where(_of_rooms(found)))
    return found


def _remains(connection: Connection, caller: str, before: datetime) -> Remains:
    own = (calls.c.caller_number == caller) & (calls.c.started_at < before)
    columns = (calls.c.id, calls.c.room, calls.c.room_sid, calls.c.ended_at)
    found = connection.execute(select(*columns).where(own).order_by(calls.c.started_at)).all()
    ended = [row for row in found if row.ended_at is not None]
    # Rooms of which there is no call: nobody answered, or the record is gone already.
    named = participants.c.identity.contains(caller, autoescape=True)
    # One whose connection never came about has left without having joined.
    was_there = func.coalesce(participants.c.joined_at, participants.c.left_at) < before
    seen = select(participants.c.room_sid).where(named, was_there)
    alive = [row.room_sid for row in found if row.ended_at is None]
    sids = [sid for sid in connection.scalars(seen) if sid not in alive]
    remains = Remains(
        calls=tuple(row.id for row in found),
        open_calls=tuple(row.id for row in found if row.ended_at is None),
        rooms=_filled([*(row.room_sid for row in ended), *sids]),
        room_names=_filled(row.room for row in ended),
    )
    of_calls = select(turns.c.number).where(turns.c.call_id.in_(remains.calls))
    hooks = select(webhook_events.c.id).where(_of_rooms(remains))
    return Remains(
        calls=remains.calls,
        open_calls=remains.open_calls,
        turns=len(connection.execute(of_calls).all()),
        webhooks=len(connection.execute(hooks).all()),
        rooms=remains.rooms,
        room_names=remains.room_names,
    )


def _of_rooms(remains: Remains) -> ColumnElement[bool]:
    return or_(
        webhook_events.c.room_sid.in_(remains.rooms),
        webhook_events.c.room.in_(remains.room_names) & (webhook_events.c.room_sid == ""),
    )


def _filled(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
