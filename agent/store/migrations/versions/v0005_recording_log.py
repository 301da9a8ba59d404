"""Recordings that were asked for, and callers who are to be forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
# schema_compat stays: older code does not know these tables, and needs none of them.

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "recording_log",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("egress_id", sa.String(64), unique=True),
        sa.Column("call_id", sa.String(32)),
        sa.Column("made_by", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("output", sa.String(16), nullable=False, server_default=""),
        sa.Column("persona", sa.Text, nullable=False, server_default=""),
        sa.Column("room", sa.Text, nullable=False, server_default=""),
        sa.Column("room_sid", sa.Text, nullable=False, server_default=""),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("uri", sa.Text, nullable=False, server_default=""),
        sa.Column("error", sa.Text, nullable=False, server_default=""),
        sa.Column("size", sa.BigInteger),
        sa.Column("duration", sa.Float),
        sa.Column("asked_at", Moment, nullable=False),
        sa.Column("started_at", Moment),
        sa.Column("ended_at", Moment),
        sa.Column("deleted_at", Moment),
    )
    op.create_table(
        "tombstones",
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("made_at", Moment, nullable=False),
    )
    op.create_index("recording_log_by_room", "recording_log", ["room"])
    op.create_index("recording_log_by_call", "recording_log", ["call_id"])
    op.create_index("recording_log_by_time", "recording_log", ["asked_at"])
    op.create_index("recording_log_by_status", "recording_log", ["status", "asked_at"])
