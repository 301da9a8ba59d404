"""The tables of recordings that were asked for, and of callers who are to be forgotten."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, String, Table, Text

from agent.store.tables import UtcDateTime, metadata

recording_log = Table(
    "recording_log",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("egress_id", String(64), unique=True),
    Column("call_id", String(32)),
    Column("made_by", String(16), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("output", String(16), nullable=False, server_default=""),
    Column("persona", Text, nullable=False, server_default=""),
    Column("room", Text, nullable=False, server_default=""),
    Column("room_sid", Text, nullable=False, server_default=""),
    Column("status", String(16), nullable=False),
    Column("uri", Text, nullable=False, server_default=""),
    Column("error", Text, nullable=False, server_default=""),
    Column("size", BigInteger),
    Column("duration", Float),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
)
"""Every recording, whoever makes it; `recordings` are those that a call's own worker made.

`deleted_at` is when it was asked to be deleted: the row goes when its file is gone.
"""
Index("recording_log_by_room", recording_log.c.room)
Index("recording_log_by_call", recording_log.c.call_id)
Index("recording_log_by_time", recording_log.c.asked_at)
Index("recording_log_by_status", recording_log.c.status, recording_log.c.asked_at)

tombstones = Table(
    "tombstones",
    metadata,
    Column("caller", String(64), primary_key=True),
    Column("made_at", UtcDateTime, nullable=False),
)
