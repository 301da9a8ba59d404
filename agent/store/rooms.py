"""Rooms, participants and the calls in them, as webhooks and the reconciler tell of them.

What is written does not depend on the order in which events come: each fact is written once or
merged, and how a call ended is judged anew from all the facts whenever one of them is new.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    case,
    func,
    select,
    update,
)

from agent.call import EndReason, now, stand_in_id
from agent.events import CallOpened
from agent.store import engine as database
from agent.store import projection, writes
from agent.store.projection import storable
from agent.store.room_rows import (
    SIP,
    Applied,
    Change,
    Ended,
    Opening,
    ParticipantRow,
    RoomCall,
    RoomRow,
    RoomState,
)
from agent.store.room_tables import participants, rooms, webhook_events
from agent.store.tables import call_events, calls
from agent.store.webhooks import claimed

Judge = Callable[[RoomState], Ended | None]
"""How the call in a room ended; None: it goes on, as far as is known."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def apply(self, who: str, changes: Sequence[Change], judge: Judge) -> Applied:
        """Handle `who`'s claimed events for good, in one transaction: facts first, then calls."""
        return database.write(
            self.engine, lambda connection: _apply(connection, who, changes, judge)
        )

    def open_rooms(self) -> list[RoomRow]:
        """The rooms that have not ended, as far as is known."""
        statement = select(rooms).where(rooms.c.ended_at.is_(None)).order_by(rooms.c.sid)
        rows = database.read(
            self.engine, lambda connection: connection.execute(statement).mappings().all()
        )
        return [RoomRow(**row) for row in rows]

    def end_rooms(self, sids: Collection[str], at: datetime, judge: Judge) -> list[str]:
        """End these rooms, of which no event told; the ids of calls that were closed by that."""

        def work(connection: Connection) -> list[str]:
            _put_rooms(connection, [RoomRow(sid=sid, ended_at=at) for sid in sids])
            return _close(connection, sids, judge)

        return database.write(self.engine, work)

    def open_calls(self) -> list[RoomCall]:
        """The calls that have not ended and have a room at a LiveKit server."""
        return self._calls(calls.c.ended_at.is_(None), calls.c.room_sid.is_not(None))

    def call_in(self, room_sid: str) -> RoomCall | None:
        """The call of this room."""
        return next(iter(self._calls(calls.c.room_sid == room_sid)), None)

    def close_call(self, room: RoomRow, reason: EndReason, detail: str = "") -> str | None:
        """End the call of `room` for good, and make its record where nobody opened one.

        Returns its id; None when it had an end already.
        """
        ended = Ended(reason=reason, at=now(), detail=detail)

        def work(connection: Connection) -> str | None:
            nobody = Opening(identity="", number="", called="", at=room.started_at or ended.at)
            _open(connection, [(room, nobody)])
            call = select(calls.c.id).where(calls.c.room_sid == room.sid)
            call_id: str = connection.execute(call).scalar_one()
            is_new = writes.end_by_room(connection, call_id, ended, provisional=False)
            return call_id if is_new else None

        return database.write(self.engine, work)

    def state(self, room_sid: str) -> RoomState | None:
        """All that is known of a room."""
        return database.read(
            self.engine, lambda connection: _states(connection, [room_sid]).get(room_sid)
        )

    def counts(self) -> tuple[int, int]:
        """How many rooms there are now, and how many participants in them."""
        is_open = rooms.c.ended_at.is_(None)
        here = (participants.c.left_at.is_(None), participants.c.joined_at.is_not(None))
        join = participants.join(rooms, rooms.c.sid == participants.c.room_sid)
        people = select(func.count()).select_from(join).where(is_open, *here)
        statement = select(func.count()).select_from(rooms).where(is_open)

        def work(connection: Connection) -> tuple[int, int]:
            return connection.execute(statement).scalar_one(), connection.execute(
                people
            ).scalar_one()

        return database.read(self.engine, work)

    def _calls(self, *which: ColumnElement[bool]) -> list[RoomCall]:
        columns = [calls.c[name] for name in RoomCall.__dataclass_fields__]
        statement = select(*columns).where(*which).order_by(calls.c.started_at, calls.c.id)
        rows = database.read(
            self.engine, lambda connection: connection.execute(statement).mappings().all()
        )
        return [RoomCall(**row) for row in rows]


def _apply(connection: Connection, who: str, changes: Sequence[Change], judge: Judge) -> Applied:
    ids = [change.event_id for change in changes]
    done = (
        update(webhook_events)
        .where(claimed(who, ids))
        .values(handled_at=now(), claimed_by="", claimed_until=None, error="")
        .returning(webhook_events.c.id)
    )
    mine = frozenset(connection.scalars(done))
    told = [change for change in changes if change.event_id in mine]
    people = [change.participant for change in told if change.participant]
    _put_rooms(connection, [change.room for change in told if change.room])
    new, aborted = _put_people(connection, people)
    _open(connection, [(one.room, one.opens) for one in told if one.room and one.opens])
    touched = {change.room.sid for change in told if change.room}
    closed = _close(connection, touched, judge)
    return Applied(events=mine, new_callers=new, aborted=aborted, closed=tuple(closed))


def _put_rooms(connection: Connection, rows: Iterable[RoomRow]) -> None:
    ordered = sorted(rows, key=lambda row: row.sid)  # one order for all writers: no deadlocks
    if not ordered:
        return
    statement = writes.insert_into(connection, rooms)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[rooms.c.sid],
        set_={
            "name": case((rooms.c.name == "", new.name), else_=rooms.c.name),
            "started_at": _least(rooms.c.started_at, new.started_at),
            "ended_at": _least(rooms.c.ended_at, new.ended_at),
        },
    )
    connection.execute(statement, [storable(asdict(row)) for row in ordered])


def _put_people(connection: Connection, rows: Sequence[ParticipantRow]) -> tuple[int, int]:
    """Merge what is known of participants; how many telephones are new, and how many failed."""
    if not rows:
        return 0, 0
    sids = {row.sid for row in rows}
    known = dict(
        connection.execute(
            select(participants.c.sid, participants.c.reason).where(participants.c.sid.in_(sids))
        ).all()
    )
    ordered = sorted(rows, key=lambda row: row.sid)
    statement = writes.insert_into(connection, participants)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[participants.c.sid],
        set_={
            "kind": _greatest(participants.c.kind, new.kind),
            "identity": _greatest(participants.c.identity, new.identity),
            "joined_at": _least(participants.c.joined_at, new.joined_at),
            "left_at": _least(participants.c.left_at, new.left_at),
            "reason": _greatest(participants.c.reason, new.reason),
        },
    )
    connection.execute(statement, [storable(asdict(row)) for row in ordered])
    callers = {row.sid for row in rows if row.kind == SIP} - known.keys()
    failed = {row.sid for row in rows if row.reason in FAILED}
    return len(callers), len({sid for sid in failed if known.get(sid) not in FAILED})


FAILED = frozenset({"aborted", "media_failure", "join_failure"})
"""Why participants leave whose connection failed."""


def _least(old: Column[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """The earlier of two moments, of which one may be unknown."""
    return case((old.is_(None), new), (new.is_(None), old), (new < old, new), else_=old)


def _greatest(old: Column[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """Of two texts the one that says something; of two that do, always the same."""
    return case((new > old, new), else_=old)


def _open(connection: Connection, found: Iterable[tuple[RoomRow, Opening]]) -> None:
    """Make a record of the call in each room unless there is one: a stand-in for the job's own.

    Of several telephones in a room, the first is the caller.
    """
    first: dict[str, tuple[RoomRow, Opening]] = {}
    for room, caller in found:
        known = first.get(room.sid)
        if known is None or _place(caller) < _place(known[1]):
            first[room.sid] = room, caller
    if not first:
        return
    columns = (calls.c.room_sid, calls.c.id, calls.c.identity, calls.c.started_at)
    there = {
        row.room_sid: row
        for row in connection.execute(select(*columns).where(calls.c.room_sid.in_(first)))
    }
    _stand_in(connection, [one for sid, one in sorted(first.items()) if sid not in there])
    for sid, row in there.items():
        caller = first[sid][1]
        earlier = not row.identity or _place(caller) < (row.started_at, row.identity)
        if row.id == stand_in_id(sid) and caller.identity and earlier:
            mine = update(calls).where(calls.c.id == row.id)
            connection.execute(mine.values(_introduced(caller)))


def _place(caller: Opening) -> tuple[datetime, str]:
    """In which order callers came: the same, whoever is told of first."""
    return caller.at, caller.identity


def _stand_in(connection: Connection, found: Sequence[tuple[RoomRow, Opening]]) -> None:
    """New records, of which a job has not told."""
    if not found:
        return
    rows, history = [], []
    for room, caller in found:
        opened = CallOpened(
            call_id=stand_in_id(room.sid),
            seq=1,
            at=caller.at,
            room=room.name,
            room_sid=room.sid,
            job_id="",
            agent_name="",
            pid=0,
        )
        own = {**projection.call_values(opened), **_introduced(caller)}
        rows.append({"id": opened.call_id, "worker_id": "", **own})
        history.append(projection.history(opened))
    connection.execute(writes.insert_into(connection, calls).on_conflict_do_nothing(), rows)
    known = writes.insert_into(connection, call_events).on_conflict_do_nothing()
    connection.execute(known, history)


def _introduced(caller: Opening) -> dict[str, Any]:
    """The columns of a call that tell of its caller."""
    values: dict[str, Any] = storable(
        {
            "identity": caller.identity,
            "caller_number": caller.number,
            "called_number": caller.called,
            "started_at": caller.at,
        }
    )
    return values


def _close(connection: Connection, sids: Collection[str], judge: Judge) -> list[str]:
    """Judge the calls of these rooms anew, those apart that ended by a word of their own."""
    if not sids:
        return []
    may_end = calls.c.ended_at.is_(None) | calls.c.end_provisional
    unended = connection.execute(
        select(calls.c.id, calls.c.room_sid)
        .where(calls.c.room_sid.in_(sids), may_end)
        .order_by(calls.c.id)
    ).all()
    states = _states(connection, [row.room_sid for row in unended])
    return [
        row.id
        for row in unended
        if row.room_sid in states
        and (ended := judge(states[row.room_sid]))
        and writes.end_by_room(connection, row.id, ended)
    ]


def _states(connection: Connection, sids: Collection[str]) -> dict[str, RoomState]:
    if not sids:
        return {}
    people: dict[str, list[ParticipantRow]] = {}
    there = select(participants).where(participants.c.room_sid.in_(sids))
    for row in connection.execute(there.order_by(participants.c.sid)).mappings():
        people.setdefault(row["room_sid"], []).append(ParticipantRow(**row))
    found = connection.execute(select(rooms).where(rooms.c.sid.in_(sids))).mappings()
    return {
        row["sid"]: RoomState(room=RoomRow(**row), people=tuple(people.get(row["sid"], ())))
        for row in found
    }
