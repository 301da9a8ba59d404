"""The first call record: calls, turns, recordings, events, audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
OLDEST_CODE = "0001"
"""The oldest revision of the code that may still use a database of this one."""

Moment = sa.DateTime(timezone=True)
Json = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Create everything."""
    _calls()
    _turns()
    _recordings_and_events()
    _audit_log()
    compat = op.create_table(
        "schema_compat", sa.Column("oldest_code", sa.String(32), primary_key=True)
    )
    op.bulk_insert(compat, [{"oldest_code": OLDEST_CODE}])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _call_id() -> sa.Column[str]:
    parent = sa.ForeignKey("calls.id", ondelete="CASCADE")
    return sa.Column("call_id", sa.String(32), parent, primary_key=True)


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.String(32), primary_key=True),
        _text("worker_id"),
        sa.Column("pid", sa.Integer),
        _text("room"),
        sa.Column("room_sid", sa.Text, unique=True),
        *map(_text, ("job_id", "agent_name", "identity", "caller_number", "called_number")),
        *map(_text, ("persona", "language")),
        sa.Column("providers", Json, nullable=False, server_default="{}"),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("answered_at", Moment),
        sa.Column("ended_at", Moment),
        sa.Column("end_reason", sa.Text),
        _text("end_detail"),
        sa.Column("end_provisional", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("usage", Json, nullable=False, server_default="{}"),
        sa.Column("memory_bytes", sa.BigInteger),
    )
    op.create_index("calls_by_start", "calls", ["started_at"])
    op.create_index("calls_by_number", "calls", ["caller_number", "started_at"])
    still_open = sa.text("ended_at IS NULL")
    op.create_index(
        "calls_open", "calls", ["worker_id"], sqlite_where=still_open, postgresql_where=still_open
    )


def _turns() -> None:
    op.create_table(
        "turns",
        _call_id(),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        _text("user_text"),
        _text("agent_text"),
        sa.Column("confidence", sa.Float),
        sa.Column("transcription_delay", sa.Float),
        sa.Column("end_of_turn_delay", sa.Float),
        sa.Column("latency", sa.Float),
        sa.Column("llm_ttft", sa.Float),
        sa.Column("tts_ttfb", sa.Float),
        sa.Column("interrupted", sa.Boolean, nullable=False, server_default=sa.false()),
        *map(_text, ("stt", "llm", "tts")),
        sa.Column("tools", Json, nullable=False, server_default="[]"),
        sa.Column("committed_at", Moment),
        sa.Column("finished_at", Moment),
    )


def _recordings_and_events() -> None:
    op.create_table(
        "recordings",
        _call_id(),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        _text("uri"),
        sa.Column("channels", sa.Integer, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("made_at", Moment, nullable=False),
    )
    op.create_table(
        "call_events",
        _call_id(),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        _text("kind"),
        _text("name"),
        sa.Column("at", Moment, nullable=False),
        sa.Column("detail", Json, nullable=False, server_default="{}"),
    )


def _audit_log() -> None:
    """Append only: the database itself refuses to change or remove a line."""
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", Moment, nullable=False),
        *map(_text, ("who", "what", "object", "source")),
    )
    op.create_index("audit_log_by_time", "audit_log", ["at"])
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_log_no_{change.lower()} BEFORE {change} ON audit_log "
                "BEGIN SELECT RAISE(ABORT, 'audit_log is append only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit_log is append only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()"
    )
