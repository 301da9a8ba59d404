"""The tables of recordings that LiveKit makes (egress), and of callers who are to be forgotten."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, String, Table, Text

from agent.store.tables import Json, UtcDateTime, metadata

egresses = Table(
    "egresses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("egress_id", String(64), unique=True),
    Column("call_id", String(32)),
    Column("room", Text, nullable=False, server_default=""),
    Column("room_sid", Text, nullable=False, server_default=""),
    Column("persona", Text, nullable=False, server_default=""),
    Column("kind", String(32), nullable=False),
    Column("output", Json, nullable=False, server_default="{}"),
    Column("status", String(16), nullable=False),
    Column("uri", Text, nullable=False, server_default=""),
    Column("error", Text, nullable=False, server_default=""),
    Column("size", BigInteger),
    Column("duration", Float),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
)
Index("egresses_by_room", egresses.c.room)
Index("egresses_by_call", egresses.c.call_id)
Index("egresses_by_request", egresses.c.requested_at)

tombstones = Table(
    "tombstones",
    metadata,
    Column("caller", String(64), primary_key=True),
    Column("made_at", UtcDateTime, nullable=False),
)
