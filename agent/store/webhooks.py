"""Webhook events in the database: each kept once, and handed to one handler at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, or_, select, update

from agent.call import now
from agent.store import engine as database
from agent.store import writes
from agent.store.projection import storable
from agent.store.room_tables import webhook_events

MOST_ATTEMPTS = 10
"""So often an event is tried. What failed each time stays in the table with its error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRow:
    """One event as it is kept: `body` is what was sent, without keys and callers' numbers."""

    id: str
    event: str
    room: str
    room_sid: str
    created_at: datetime
    received_at: datetime
    body: dict[str, Any] = field(repr=False)
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits to be handled: how many events, since when, and how many were given up."""

    count: int
    oldest: datetime | None
    given_up: int


@dataclass(frozen=True, slots=True)
class WebhookEvents:
    """The webhook events of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def add(self, rows: Sequence[WebhookRow]) -> set[str]:
        """Keep the events that are not kept yet, in one transaction; the ids of those.

        Raises EventRefused when one of them cannot be stored; then none of them is.
        """
        first: dict[str, WebhookRow] = {}
        for row in rows:
            first.setdefault(row.id, row)
        wanted = [_values(row) for row in first.values()]

        def work(connection: Connection) -> set[str]:
            known = set(
                connection.scalars(
                    select(webhook_events.c.id).where(webhook_events.c.id.in_(first))
                )
            )
            new = [values for values in wanted if values["id"] not in known]
            if new:
                # Another `serve` may have kept one of them meanwhile.
                statement = writes.insert_into(connection, webhook_events)
                connection.execute(statement.on_conflict_do_nothing(), new)
            return {values["id"] for values in new}

        return database.write(self.engine, work) if wanted else set()

    def claim(self, who: str, most: int, seconds: float) -> list[WebhookRow]:
        """Take up to `most` unhandled events, the oldest first, for so many seconds.

        Nobody else is given them until then, or until they are released.
        """
        at = now()
        free = and_(
            webhook_events.c.handled_at.is_(None),
            webhook_events.c.attempts < MOST_ATTEMPTS,
            or_(webhook_events.c.claimed_until.is_(None), webhook_events.c.claimed_until < at),
        )
        chosen = (
            select(webhook_events.c.id)
            .where(free)
            .order_by(webhook_events.c.received_at, webhook_events.c.id)
            .limit(most)
            .with_for_update(skip_locked=True)  # SQLite has one writer, and leaves it out
        )
        columns = [webhook_events.c[name] for name in WebhookRow.__dataclass_fields__]
        statement = (
            update(webhook_events)
            .where(webhook_events.c.id.in_(chosen.scalar_subquery()))
            .values(
                claimed_by=who,
                claimed_until=at + timedelta(seconds=seconds),
                attempts=webhook_events.c.attempts + 1,
            )
            .returning(*columns)
        )
        if not database.read(
            self.engine,
            lambda connection: connection.scalar(select(webhook_events.c.id).where(free).limit(1)),
        ):
            return []  # without a write lock: most looks find nothing
        rows = database.write(
            self.engine, lambda connection: connection.execute(statement).mappings().all()
        )
        found = [WebhookRow(**row) for row in rows]
        return sorted(found, key=lambda row: (row.received_at, row.id))

    def release(self, who: str, event_id: str, error: str, seconds: float) -> None:
        """Give an event back that could not be handled: it is tried again after so many seconds."""
        mine = claimed(who, [event_id])
        again = now() + timedelta(seconds=seconds)
        statement = (
            update(webhook_events)
            .where(mine)
            .values(claimed_by="", claimed_until=again, error=storable(error))
        )
        database.write(self.engine, lambda connection: connection.execute(statement))

    def waiting(self) -> Waiting:
        """What is not handled yet."""
        unhandled = webhook_events.c.handled_at.is_(None)
        given_up = webhook_events.c.attempts >= MOST_ATTEMPTS
        statement = select(
            func.count().filter(~given_up),
            func.min(webhook_events.c.received_at).filter(~given_up),
            func.count().filter(given_up),
        ).where(unhandled)
        count, oldest, lost = database.read(
            self.engine, lambda connection: connection.execute(statement).one()
        )
        return Waiting(count, oldest, lost)

    def ids(self) -> list[str]:
        """The events that are kept, handled or not, in the order in which they came."""
        statement = select(webhook_events.c.id).order_by(webhook_events.c.received_at)
        return database.read(self.engine, lambda connection: list(connection.scalars(statement)))

    def forget(self, before: datetime) -> int:
        """Remove handled events that were received before then; how many."""
        old = webhook_events.c.received_at < before
        statement = delete(webhook_events).where(old, webhook_events.c.handled_at.is_not(None))
        return database.write(
            self.engine, lambda connection: connection.execute(statement).rowcount
        )


def claimed(who: str, ids: Collection[str]) -> ColumnElement[bool]:
    """Which of these events are `who`'s to handle, still."""
    return and_(
        webhook_events.c.id.in_(ids),
        webhook_events.c.claimed_by == who,
        webhook_events.c.handled_at.is_(None),
    )


def _values(row: WebhookRow) -> dict[str, Any]:
    names = ("id", "event", "room", "room_sid", "created_at", "received_at", "body")
    return {name: storable(getattr(row, name)) for name in names}
