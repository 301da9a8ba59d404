"""The call log in a database: one writer thread a worker, other processes read and write too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, Engine, insert

from agent.call import EndReason, now
from agent.events import Event, is_passing
from agent.store import engine as database
from agent.store import migrate, projection, queries, writes
from agent.store.rows import AuditRow, CallRecord, CallRow, EventRow
from agent.store.tables import audit_log


@dataclass(slots=True)
class CallLog:
    """The call log on SQLite or PostgreSQL; `agent.store.rows.CallStore` says what it does.

    Safe to use from several threads. Methods block: up to BUSY_TIMEOUT for another writer.
    """

    engine: Engine

    @classmethod
    def open(cls, url: str, *, readonly: bool = False) -> Self:
        """Connect and bring the schema up to date; `readonly` changes and makes nothing.

        Raises StoreUnavailable, StoreTooNew, and StoreError for a URL that cannot be used.
        """
        engine = database.open_engine(url, readonly=readonly)
        try:
            if readonly:
                migrate.require_current(engine)
            else:
                migrate.migrate(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def apply(self, worker_id: str, events: Sequence[Event]) -> list[Event]:
        """Write a batch in one transaction, each event once: see CallStore."""
        for event in events:
            projection.check(event)
        kept = [event for event in events if not is_passing(event)]
        if not kept:
            return []
        return database.write(
            self.engine, lambda connection: writes.apply(connection, worker_id, kept)
        )

    def end_call(
        self,
        call_id: str,
        reason: EndReason,
        *,
        at: datetime | None = None,
        detail: str = "",
        provisional: bool = False,
    ) -> bool:
        """End a call that cannot speak for itself: see CallStore."""

        def work(connection: Connection) -> bool:
            return writes.end_from_outside(
                connection, call_id, reason, at=at, detail=detail, provisional=provisional
            )

        return database.write(self.engine, work)

    def close_orphans(
        self,
        is_gone: Callable[[str], bool],
        reason: EndReason = EndReason.WORKER_KILLED,
        at: datetime | None = None,
    ) -> list[str]:
        """End the open calls of workers that are gone: see CallStore."""

        def work(connection: Connection) -> list[str]:
            orphans = [
                call_id
                for call_id, worker_id in queries.open_calls(connection)
                if is_gone(worker_id)
            ]
            return [
                call_id
                for call_id in orphans
                if writes.end_from_outside(connection, call_id, reason, at=at)
            ]

        return database.write(self.engine, work)

    def list_calls(
        self,
        limit: int = 20,
        *,
        since: datetime | None = None,
        is_open: bool | None = None,
        number: str | None = None,
    ) -> list[CallRow]:
        """Return the newest calls first: see CallStore."""
        return database.read(
            self.engine,
            lambda connection: queries.list_calls(
                connection, limit, since=since, is_open=is_open, number=number
            ),
        )

    def get_call(self, call_id: str) -> CallRecord:
        """Return one call by its id or a unique beginning: see CallStore."""
        return database.read(self.engine, lambda connection: queries.get_call(connection, call_id))

    def histories(self, call_ids: Collection[str]) -> dict[str, list[EventRow]]:
        """Return the history of each of these calls that is known, in the order of its numbers."""
        return database.read(
            self.engine, lambda connection: queries.histories(connection, call_ids)
        )

    def open_calls(self) -> list[tuple[str, str]]:
        """Return (call id, worker id) of every call that has not ended."""
        return database.read(self.engine, queries.open_calls)

    def audit(self, who: str, what: str, object: str, source: str) -> None:  # noqa: A002  the column
        """Add a line to the audit trail: see CallStore."""
        row = projection.storable({"who": who, "what": what, "object": object, "source": source})
        statement = insert(audit_log).values(at=now(), **row)
        database.write(self.engine, lambda connection: connection.execute(statement))

    def audit_trail(self, limit: int = 100) -> list[AuditRow]:
        """Return the newest lines of the audit trail first."""
        return database.read(self.engine, lambda connection: queries.audit_trail(connection, limit))

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()
