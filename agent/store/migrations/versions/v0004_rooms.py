"""Webhook events, the rooms and participants that they tell of, and leases of `ops serve`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
# schema_compat stays: older code does not know these tables, and needs none of them.

Moment = sa.DateTime(timezone=True)
Json = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("room", sa.Text, nullable=False, server_default=""),
        sa.Column("room_sid", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("received_at", Moment, nullable=False),
        sa.Column("handled_at", Moment),
        sa.Column("claimed_by", sa.String(32), nullable=False, server_default=""),
        sa.Column("claimed_until", Moment),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text, nullable=False, server_default=""),
        sa.Column("body", Json, nullable=False),
    )
    op.create_table(
        "rooms",
        sa.Column("sid", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, server_default=""),
        sa.Column("started_at", Moment),
        sa.Column("ended_at", Moment),
    )
    op.create_table(
        "participants",
        sa.Column("sid", sa.String(64), primary_key=True),
        sa.Column("room_sid", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False, server_default=""),
        sa.Column("identity", sa.Text, nullable=False, server_default=""),
        sa.Column("joined_at", Moment),
        sa.Column("left_at", Moment),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("until", Moment, nullable=False),
    )
    unhandled = sa.text("handled_at IS NULL")
    op.create_index("webhook_events_by_arrival", "webhook_events", ["received_at"])
    op.create_index(
        "webhook_events_unhandled",
        "webhook_events",
        ["received_at"],
        sqlite_where=unhandled,
        postgresql_where=unhandled,
    )
    op.create_index("rooms_by_name", "rooms", ["name"])
    op.create_index("participants_by_room", "participants", ["room_sid"])
