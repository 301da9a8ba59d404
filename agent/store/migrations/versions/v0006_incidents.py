"""Messages to people, silences, and incidents with their timelines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
# schema_compat stays: older code does not know these tables, and needs none of them.

Moment = sa.DateTime(timezone=True)
Json = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    _notices()
    _incidents()
    _append_only()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _notices() -> None:
    op.create_table(
        "notice_topics",
        sa.Column("topic", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("told_at", Moment, nullable=False),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("made_at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False, server_default="0"),
        sa.Column("silence", sa.String(16), nullable=False, server_default=""),
        sa.Column("claimed_by", sa.String(32), nullable=False, server_default=""),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        _text("error"),
        sa.Column("done_at", Moment),
        sa.Column("outcome", sa.String(16), nullable=False, server_default=""),
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        *map(_text, ("subject", "comment", "made_by")),
        sa.Column("made_at", Moment, nullable=False),
        sa.Column("until", Moment, nullable=False),
    )
    waiting = sa.text("done_at IS NULL")
    op.create_index(
        "notices_waiting",
        "notices",
        ["due_at"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_index("notices_by_topic", "notices", ["topic", "channel"])
    op.create_index("silences_by_end", "silences", ["until"])


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("open_key", sa.String(64), unique=True),
        sa.Column("level", sa.String(4), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        *map(_text, ("alert", "subject", "opened_by")),
        sa.Column("opened_at", Moment, nullable=False),
        sa.Column("climbs_from", Moment, nullable=False),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("over_at", Moment),
        sa.Column("acknowledged_at", Moment),
        _text("acknowledged_by"),
        sa.Column("closed_at", Moment),
        _text("closed_by"),
    )
    op.create_table(
        "incident_timeline",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("incident", sa.String(16), nullable=False),
        sa.Column("at", Moment, nullable=False),
        _text("who"),
        sa.Column("event", sa.String(16), nullable=False),
        _text("text"),
        sa.Column("once", sa.String(64), unique=True),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index("incidents_by_time", "incidents", ["opened_at"])
    op.create_index(
        "incidents_open",
        "incidents",
        ["opened_at"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("incident_timeline_by_incident", "incident_timeline", ["incident", "id"])


def _append_only() -> None:
    """The database itself refuses to change or remove a row of a timeline."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER incident_timeline_no_{change.lower()} BEFORE {change} ON"
                " incident_timeline"
                " BEGIN SELECT RAISE(ABORT, 'incident_timeline is append only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION incident_timeline_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'incident_timeline is append only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER incident_timeline_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON"
        " incident_timeline FOR EACH STATEMENT EXECUTE FUNCTION incident_timeline_refuse()"
    )
