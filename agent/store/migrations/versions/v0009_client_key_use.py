"""When a client key was last used: one that nobody uses should not be in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
# schema_compat stays: older code does not ask for the column, and leaves it empty.


def upgrade() -> None:
    """Add the column; of keys that are there nothing is known yet."""
    op.add_column("client_keys", sa.Column("used_at", sa.DateTime(timezone=True)))
