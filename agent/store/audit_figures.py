"""What an audit and a diagnosis want of the record: endings, failures, latency, and its own size.

Every read goes by the calls' start, which is indexed: what is older costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter

from sqlalchemy import Connection, Engine, Select, func, select, text

from agent.availability import FAILED
from agent.call import RecordingStatus, now
from agent.store import engine as database
from agent.store import queries
from agent.store.recording_tables import recording_log
from agent.store.room_tables import webhook_events
from agent.store.tables import call_events, calls, turns
from agent.store.webhooks import MOST_ATTEMPTS

MOST = 20
"""Different texts of errors that are told, at most."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A provider that failed calls: so many times, the last time at `last`."""

    kind: str
    provider: str
    error: str
    count: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the end of a caller's turn to the first audio; None: there was no turn."""

    turns: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Size:
    """Of a database. `free`: the share of it that holds nothing and would be given back."""

    bytes: int
    free: float


@dataclass(frozen=True, slots=True)
class AuditFigures:
    """One database's figures. Every method may raise StoreUnavailable, and blocks."""

    engine: Engine

    def endings(self, since: datetime) -> Mapping[str, int]:
        """How many calls that began since then ended for each reason."""
        statement = (
            select(calls.c.end_reason, func.count())
            .where(calls.c.started_at >= since, calls.c.end_reason.is_not(None))
            .group_by(calls.c.end_reason)
        )
        rows = database.read(self.engine, lambda connection: connection.execute(statement).all())
        return {str(reason): count for reason, count in rows}

    def provider_failures(self, since: datetime) -> list[Failure]:
        """Those that calls noted that began since then, the most frequent first."""
        statement = select(call_events.c.detail, call_events.c.at).where(
            call_events.c.call_id.in_(_begun(since)), call_events.c.name == FAILED
        )
        rows = database.read(self.engine, lambda connection: connection.execute(statement).all())
        found: Counter[tuple[str, str, str]] = Counter()
        last: dict[tuple[str, str, str], datetime] = {}
        for detail, at in rows:
            key = (detail.get("of", ""), detail.get("provider", ""), detail.get("error", ""))
            found[key] += 1
            last[key] = max(at, last.get(key, at))
        return [Failure(*key, count, last[key]) for key, count in found.most_common(MOST)]

    def latency(self, since: datetime) -> Latency:
        """Quantiles over the turns of calls that began since then."""
        statement = select(turns.c.latency).where(
            turns.c.call_id.in_(_begun(since)), turns.c.latency.is_not(None)
        )
        found = database.read(self.engine, lambda connection: sorted(connection.scalars(statement)))

        def quantile(share: float) -> float | None:
            return found[min(len(found) - 1, int(len(found) * share))] if found else None

        return Latency(len(found), quantile(0.5), quantile(0.95))

    def failed_recordings(self, since: datetime) -> list[str]:
        """What those say that were asked for since then and failed; the newest first."""
        log = recording_log.c
        statement = (
            select(log.error)
            .where(log.status == RecordingStatus.FAILED.value, log.asked_at >= since)
            .order_by(log.asked_at.desc())
            .limit(1000)
        )
        return database.read(self.engine, lambda connection: list(connection.scalars(statement)))

    def webhooks_given_up(self) -> list[str]:
        """What went wrong with the webhook events that were tried MOST_ATTEMPTS times."""
        hooks = webhook_events.c
        statement = select(hooks.error).where(
            hooks.handled_at.is_(None), hooks.attempts >= MOST_ATTEMPTS
        )
        return database.read(
            self.engine, lambda connection: list(connection.scalars(statement.limit(1000)))
        )

    def size(self) -> Size:
        """Of the database's file, or of the database on its server."""

        def work(connection: Connection) -> Size:
            if self.engine.dialect.name == "postgresql":
                asked = text("SELECT pg_database_size(current_database())")
                return Size(int(connection.scalar(asked) or 0), 0.0)

            def pragma(name: str) -> int:
                return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)

            pages = pragma("page_count")
            return Size(pages * pragma("page_size"), pragma("freelist_count") / max(1, pages))

        return database.read(self.engine, work)

    def timings(self) -> Mapping[str, float]:
        """Seconds that the reads took that operators and `serve` make all the time."""
        day = now() - timedelta(days=1)
        waiting = select(func.count()).where(webhook_events.c.handled_at.is_(None))
        asked = {
            "the newest calls": lambda connection: queries.list_calls(
                connection, 20, since=None, is_open=None, number=None
            ),
            "open calls": queries.open_calls,
            "calls of a day": lambda connection: connection.scalar(
                select(func.count()).where(calls.c.started_at >= day)
            ),
            "webhooks that wait": lambda connection: connection.scalar(waiting),
        }
        found = {}
        for name, work in asked.items():
            began = perf_counter()
            database.read(self.engine, work)
            found[name] = perf_counter() - began
        return found


def _begun(since: datetime) -> Select[tuple[str]]:
    """The calls that began since then. Not a join: SQLite would read every turn there is."""
    return select(calls.c.id).where(calls.c.started_at >= since)
