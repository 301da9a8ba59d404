"""Leases in the database: of several `ops serve`, one at a time does what one alone must do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, or_, select

from agent.call import now
from agent.store import engine as database
from agent.store import writes
from agent.store.room_tables import leases


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of one database; times are those of the machines, whose clocks must agree."""

    engine: Engine

    def hold(self, name: str, holder: str, seconds: float) -> bool:
        """Take or renew the lease for so many seconds; whether `holder` has it now.

        Raises StoreUnavailable.
        """
        at = now()
        row = {"name": name, "holder": holder, "until": at + timedelta(seconds=seconds)}

        def work(connection: Connection) -> bool:
            statement = writes.insert_into(connection, leases).values(row)
            statement = statement.on_conflict_do_update(
                index_elements=[leases.c.name],
                set_={"holder": holder, "until": row["until"]},
                where=or_(leases.c.holder == holder, leases.c.until < at),
            )
            keep = {"preserve_rowcount": True}  # SQLAlchemy forgets it for an INSERT
            return connection.execute(statement, execution_options=keep).rowcount > 0

        return database.write(self.engine, work)

    def is_held(self, name: str) -> bool:
        """Whether some process has the lease now. Raises StoreUnavailable."""
        statement = select(leases.c.name).where(leases.c.name == name, leases.c.until > now())
        return database.read(self.engine, lambda db: db.scalar(statement)) is not None

    def beginning(self, prefix: str) -> dict[str, datetime]:
        """Until when each lease is held whose name begins so. Raises StoreUnavailable."""
        statement = select(leases.c.name, leases.c.until).where(
            leases.c.name.startswith(prefix, autoescape=True)
        )
        return database.read(
            self.engine,
            lambda connection: {row.name: row.until for row in connection.execute(statement)},
        )

    def leave(self, name: str, holder: str) -> None:
        """Give the lease back, so that another takes it at once. Raises StoreUnavailable."""
        statement = delete(leases).where(leases.c.name == name, leases.c.holder == holder)
        database.write(self.engine, lambda connection: connection.execute(statement))
