"""The tables of rooms: webhook events, what they tell of, and who looks after it."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from agent.store.tables import Json, UtcDateTime, metadata

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("event", String(64), nullable=False),
    Column("room", Text, nullable=False, server_default=""),
    Column("room_sid", Text, nullable=False, server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("handled_at", UtcDateTime),
    Column("claimed_by", String(32), nullable=False, server_default=""),
    Column("claimed_until", UtcDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=""),
    Column("body", Json, nullable=False),
)
Index("webhook_events_by_arrival", webhook_events.c.received_at)
Index(
    "webhook_events_unhandled",
    webhook_events.c.received_at,
    sqlite_where=webhook_events.c.handled_at.is_(None),
    postgresql_where=webhook_events.c.handled_at.is_(None),
)

rooms = Table(
    "rooms",
    metadata,
    Column("sid", String(64), primary_key=True),
    Column("name", Text, nullable=False, server_default=""),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
)
Index("rooms_by_name", rooms.c.name)

participants = Table(
    "participants",
    metadata,
    Column("sid", String(64), primary_key=True),
    Column("room_sid", String(64), nullable=False),
    Column("kind", String(16), nullable=False, server_default=""),
    Column("identity", Text, nullable=False, server_default=""),
    Column("joined_at", UtcDateTime),
    Column("left_at", UtcDateTime),
    Column("reason", Text, nullable=False, server_default=""),
)
Index("participants_by_room", participants.c.room_sid)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("until", UtcDateTime, nullable=False),
)
