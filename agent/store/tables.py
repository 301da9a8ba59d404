"""The tables of the call log. The migrations build them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: takes and gives aware datetimes, whatever the database makes of them."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn any aware time into UTC. Raises ValueError for a naive one: it could be any hour."""
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a time zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite gives naive times, PostgreSQL the session's zone: both become UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()
Json = JSON().with_variant(JSONB(), "postgresql")
JsonOrNull = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _call_id() -> Column[str]:
    return Column(
        "call_id", String(32), ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True
    )


calls = Table(
    "calls",
    metadata,
    Column("id", String(32), primary_key=True),
    _text("worker_id"),
    Column("pid", Integer),
    _text("room"),
    Column("room_sid", Text, unique=True),
    _text("job_id"),
    _text("agent_name"),
    _text("identity"),
    _text("caller_number"),
    _text("called_number"),
    _text("persona"),
    _text("language"),
    Column("providers", Json, nullable=False, server_default="{}"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("answered_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("end_reason", Text),
    _text("end_detail"),
    Column("end_provisional", Boolean, nullable=False, server_default=false()),
    Column("usage", Json, nullable=False, server_default="{}"),
    Column("memory_bytes", BigInteger),
    Column("cost", JsonOrNull),
)
Index("calls_by_start", calls.c.started_at)
Index("calls_by_number", calls.c.caller_number, calls.c.started_at)
Index(
    "calls_open",
    calls.c.worker_id,
    sqlite_where=calls.c.ended_at.is_(None),
    postgresql_where=calls.c.ended_at.is_(None),
)

turns = Table(
    "turns",
    metadata,
    _call_id(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("user_text"),
    _text("agent_text"),
    Column("confidence", Float),
    Column("transcription_delay", Float),
    Column("end_of_turn_delay", Float),
    Column("latency", Float),
    Column("llm_ttft", Float),
    Column("tts_ttfb", Float),
    Column("interrupted", Boolean, nullable=False, server_default=false()),
    _text("stt"),
    _text("llm"),
    _text("tts"),
    Column("tools", Json, nullable=False, server_default="[]"),
    Column("committed_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
)

recordings = Table(
    "recordings",
    metadata,
    _call_id(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _text("uri"),
    Column("channels", Integer, nullable=False),
    Column("duration", Float, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

call_events = Table(
    "call_events",
    metadata,
    _call_id(),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _text("kind"),
    _text("name"),
    Column("at", UtcDateTime, nullable=False),
    Column("detail", Json, nullable=False, server_default="{}"),
)

MARKS: ColumnElement[bool] = literal_column("kind = 'note' AND name IN ('kind', 'rejected')")
Index(
    "call_events_marks",
    call_events.c.call_id,
    call_events.c.name,
    sqlite_where=MARKS,
    postgresql_where=MARKS,
)
"""Which calls are no caller's: few, so that reports need not look through what all calls noted."""

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    _text("who"),
    _text("what"),
    _text("object"),
    _text("source"),
)
Index("audit_log_by_time", audit_log.c.at)

schema_compat = Table(
    "schema_compat",
    metadata,
    Column("oldest_code", String(32), primary_key=True),
)
