"""The tables of access: who may use the HTTP API, and which tokens are dead."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from agent.store.tables import Json, UtcDateTime, metadata

client_keys = Table(
    "client_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", Json, nullable=False, server_default="[]"),
    Column("per_minute", Integer),
    Column("made_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)

revocations = Table(
    "revocations",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("room", Text, nullable=False, server_default=""),
    Column("revoked_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
Index("revocations_by_expiry", revocations.c.expires_at)
