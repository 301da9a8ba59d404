"""The table of workers: who is there, and what an operator wants of each."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from agent.store.tables import UtcDateTime, metadata

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("agent_name", Text, nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    Column("calls", Integer, nullable=False),
    Column("max_calls", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("wanted", String(16), nullable=False, server_default=""),
    Column("wanted_by", Text, nullable=False, server_default=""),
)
Index("workers_by_time", workers.c.seen_at)
