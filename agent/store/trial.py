"""Whether a database takes what is written, and how busy its connections are."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, QueuePool, insert

from agent.call import now
from agent.store import engine as database
from agent.store.tables import audit_log


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections of one engine to its database."""

    in_use: int
    idle: int


def write(engine: Engine) -> None:
    """Add a row and take it back: nothing is left of it. Blocks.

    Raises StoreUnavailable, and StoreError when the database refuses writes.
    """
    row = {"who": "health", "what": "trial", "object": "", "source": ""}
    with database.translated(engine), engine.connect() as connection:
        connection.execute(insert(audit_log).values(at=now(), **row))
        connection.rollback()


def connections(engine: Engine) -> Connections:
    """How many are in use now, and how many are kept beside them."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return Connections(0, 0)
    return Connections(pool.checkedout(), pool.checkedin())
