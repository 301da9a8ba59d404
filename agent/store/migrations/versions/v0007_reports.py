"""Reports find the calls that are no caller's without looking through what all calls noted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
# schema_compat stays: an index changes nothing for older code.

MARKS = sa.text("kind = 'note' AND name IN ('kind', 'rejected')")


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "call_events_marks",
        "call_events",
        ["call_id", "name"],
        sqlite_where=MARKS,
        postgresql_where=MARKS,
    )
