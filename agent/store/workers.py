"""Workers in the database: each tells of itself, and reads what an operator wants of it.

So an order reaches a worker on whatever machine, with no port of its own, by the credentials that
it has already: whoever may write the call log may give one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, Engine, delete, select, update

from agent.call import now
from agent.store import engine as database
from agent.store import writes
from agent.store.projection import storable
from agent.store.worker_tables import workers

KEPT = timedelta(days=1)
"""That a worker stays in the table after it fell silent."""


class Wanted(StrEnum):
    """What is wanted of a worker."""

    SERVE = ""
    REST = "rest"
    """Take no new calls; those that run go on."""
    LEAVE = "leave"
    """The same, and end when they have."""


class WorkerState(StrEnum):
    """What a worker says of itself."""

    SERVING = "serving"
    AWAY = "away"
    """Not registered with LiveKit."""
    RESTING = "resting"
    """It takes no new calls, and can be told to come back."""
    LEAVING = "leaving"
    """It takes no new calls, and ends when its own have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One worker. `seen_at` is when it told of itself last."""

    id: str
    agent_name: str
    state: str
    calls: int
    max_calls: int
    started_at: datetime
    seen_at: datetime
    wanted: str = ""
    wanted_by: str = ""


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def tell(self, row: WorkerRow) -> str:
        """Keep what a worker says of itself; what is wanted of it."""
        values = {name: storable(value) for name, value in asdict(row).items()}
        own = {name: values[name] for name in ("state", "calls", "max_calls", "seen_at")}

        def work(connection: Connection) -> str:
            connection.execute(delete(workers).where(workers.c.seen_at < row.seen_at - KEPT))
            statement = writes.insert_into(connection, workers).values(values)
            connection.execute(
                statement.on_conflict_do_update(index_elements=[workers.c.id], set_=own)
            )
            wanted = select(workers.c.wanted).where(workers.c.id == row.id)
            return str(connection.scalar(wanted))

        return database.write(self.engine, work)

    def leave(self, worker: str) -> None:
        """The worker has ended."""
        statement = delete(workers).where(workers.c.id == worker)
        database.write(self.engine, lambda connection: connection.execute(statement))

    def seen(self, within: float) -> list[WorkerRow]:
        """Those that told of themselves in the last `within` seconds, the oldest first."""
        since = now() - timedelta(seconds=within)
        statement = select(workers).where(workers.c.seen_at >= since)
        statement = statement.order_by(workers.c.started_at, workers.c.id)
        rows = database.read(
            self.engine, lambda connection: connection.execute(statement).mappings().all()
        )
        return [WorkerRow(**row) for row in rows]

    def want(self, worker: str, wanted: Wanted, who: str) -> bool:
        """Want this of the worker from now on; whether there is such a worker."""
        by = who if wanted else ""
        statement = (
            update(workers).where(workers.c.id == worker).values(wanted=wanted.value, wanted_by=by)
        )
        return database.write(
            self.engine, lambda connection: connection.execute(statement).rowcount > 0
        )
