"""Workers that are there, and what is wanted of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
# schema_compat stays: older code does not know this table, and needs nothing of it.

Moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "workers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("agent_name", sa.Text, nullable=False, server_default=""),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("max_calls", sa.Integer, nullable=False),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("seen_at", Moment, nullable=False),
        sa.Column("wanted", sa.String(16), nullable=False, server_default=""),
        sa.Column("wanted_by", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("workers_by_time", "workers", ["seen_at"])
