"""What a call cost stands beside its usage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
# schema_compat stays at 0001: older code names its columns and passes over this one.


def upgrade() -> None:
    """Add the column. Calls of before have no cost: their prices were not looked up."""
    kind = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("calls", sa.Column("cost", kind))
