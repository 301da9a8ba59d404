"""Figures of many calls at once, for reports. Nothing here returns a number or a word of a caller.

A period is given by its edges: two or more moments in order; between two of them is one bucket.
Canary calls and those that were only told that all is busy (courtesy) are no business: they are
counted, and left out of all else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Row,
    Select,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)

from agent import events
from agent.events import GREETED
from agent.metrics import CALLER, CANARY, COURTESY
from agent.store import engine as database
from agent.store.recording_tables import recording_log
from agent.store.tables import call_events, calls, turns

T = TypeVar("T")
NO_BUSINESS = (CANARY, COURTESY)

LINK, SILENCE = events.LINK, events.SILENCE_OWED
VALUES = {
    GREETED: "after",
    LINK: "score",
    SILENCE: "seconds",
}
"""Notes with a figure: seconds to the greeting, estimated MOS, seconds of dead air (the long
silences are kept, those of three seconds and more)."""
COUNTED = ("said_filler", "said_apology", "not_understood", "gave_up", "transfer_failed")
FAILED = "provider_failed"

TURN = (
    "bucket",
    "latency",
    "end_of_turn_delay",
    "transcription_delay",
    "llm_ttft",
    "tts_ttfb",
    "confidence",
    "interrupted",
)
"""What is told of a turn."""

PLANNED = ("jit = off", "random_page_cost = 1.1")
"""For PostgreSQL, whose planner takes disks to turn: it would look through all events of all time
rather than for those of a period's calls, and compile a program for that first."""

MARKED: ColumnElement[bool] = literal_column(
    "call_events.kind = 'note' AND call_events.name IN ('kind', 'rejected')"
)
"""As the index `call_events_marks` has it: SQLite uses it for nothing else."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """The figures of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def read(self, work: Callable[[Figures], T]) -> T:
        """What `work` makes of one consistent view of the database."""

        def ask(connection: Connection) -> T:
            if connection.dialect.name == "postgresql":
                for setting in PLANNED:
                    connection.exec_driver_sql(f"SET LOCAL {setting}")
            return work(Figures(connection))

        return database.read(self.engine, ask)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one moment. A period's edges are aware datetimes."""

    connection: Connection

    def first_call(self) -> datetime | None:
        """When the first call of all began; None: there was none yet."""
        first: datetime | None = self.connection.scalar(select(func.min(calls.c.started_at)))
        return first

    def calls(self, edges: Sequence[datetime], faults: Sequence[str]) -> Sequence[Row[Any]]:
        """Calls in groups: bucket, kind, persona, language, end_reason, currency.

        Of each group: how many (count), answered, ended, seconds (sum), failed, memory (mean
        bytes), memory_most, known (sum of costs), unknown (calls without a total). `end_reason` is
        None as long as they go on, `currency` when nothing of the cost is known.
        """
        scope = self.scope(edges)
        cost = scope.c.cost
        currency = cost["currency"].as_string()
        names = ("bucket", "kind", "persona", "language", "end_reason")
        keys = [*(scope.c[name] for name in names), currency.label("currency")]
        failed = func.sum(case((scope.c.end_reason.in_(faults), 1), else_=0))
        is_told = cost["total"].as_string().is_not(None)
        statement = select(
            *keys,
            func.count().label("count"),
            func.count(scope.c.answered_at).label("answered"),
            func.count(scope.c.seconds).label("ended"),
            func.sum(scope.c.seconds).label("seconds"),
            failed.label("failed"),
            cast(func.avg(scope.c.memory_bytes), Float).label("memory"),
            func.max(scope.c.memory_bytes).label("memory_most"),
            func.sum(cast(cost["known"].as_string(), Float)).label("known"),
            func.sum(case((is_told, 0), else_=1)).label("unknown"),
        ).group_by(*keys)
        return self.all(statement)

    def durations(self, edges: Sequence[datetime]) -> list[float]:
        """Seconds from the caller's arrival to the end of each call that was answered, sorted."""
        scope = self.business(edges)
        statement = select(scope.c.seconds).where(scope.c.seconds.is_not(None))
        return list(self.connection.scalars(statement.order_by(scope.c.seconds)))

    def most_at_once(self, edges: Sequence[datetime]) -> int:
        """Calls that went on at one moment, at most; of those that began in the period."""
        scope = self.scope(edges)
        begins = select(scope.c.started_at.label("at"), literal(1).label("step"))
        ends = select(scope.c.ended_at, literal(-1)).where(scope.c.ended_at.is_not(None))
        steps = union_all(begins, ends).subquery()
        running = func.sum(steps.c.step).over(order_by=(steps.c.at, steps.c.step))
        rising = select(running.label("many")).subquery()
        return self.connection.scalar(select(func.max(rising.c.many))) or 0

    def turns(self, edges: Sequence[datetime]) -> Sequence[Row[Any]]:
        """Each turn of a caller, by the columns of TURN: delays are seconds."""
        scope = self.business(edges)
        columns = [turns.c[name] for name in TURN[1:]]
        return self.all(
            select(scope.c.bucket, *columns)
            .join_from(scope, turns, turns.c.call_id == scope.c.id)
            .where(turns.c.number > 0)
        )

    def notes(self, edges: Sequence[datetime]) -> Sequence[Row[Any]]:
        """What calls noted: bucket, name, `of`, value, and how often (count).

        `of` is the provider that failed, with its kind, or empty. `value` is what
        VALUES names, and None for other notes, which come once with their count.
        """
        scope, note = self.business(edges), call_events.c
        value = case(
            *((note.name == name, note.detail[key].as_float()) for name, key in VALUES.items())
        )
        failed = note.detail["of"].as_string() + " " + note.detail["provider"].as_string()
        of = case((note.name == FAILED, failed), else_="")
        wanted = (*VALUES, *COUNTED, FAILED)
        statement = (
            select(
                scope.c.bucket,
                note.name,
                of.label("of"),
                value.label("value"),
                func.count().label("count"),
            )
            .join_from(scope, call_events, note.call_id == scope.c.id)
            .where(note.kind == "note", note.name.in_(wanted))
            .group_by(scope.c.bucket, note.name, of, value)
        )
        return self.all(statement)

    def provider_costs(self, edges: Sequence[datetime]) -> Sequence[Row[Any]]:
        """What each provider charged, as far as known: currency, provider, known (sum)."""
        scope = self.business(edges)
        cost = scope.c.cost
        currency = cost["currency"].as_string()
        if self.is_postgres:
            each = func.jsonb_each_text(cost["providers"])
        else:
            each = func.json_each(cost, "$.providers")
        part = each.table_valued("key", "value", name="part")
        return self.all(
            select(
                currency.label("currency"),
                part.c.key.label("provider"),
                func.sum(cast(part.c.value, Float)).label("known"),
            )
            .select_from(scope)
            .join(part, literal(True))
            .where(scope.c.cost.is_not(None))
            .group_by(currency, part.c.key)
        )

    def recordings(self, since: datetime, until: datetime) -> Sequence[Row[Any]]:
        """Recordings that were asked for in a time: status, count, bytes, seconds."""
        log = recording_log.c
        return self.all(
            select(
                log.status,
                func.count().label("count"),
                cast(func.coalesce(func.sum(log.size), 0), BigInteger).label("bytes"),
                func.coalesce(func.sum(log.duration), 0.0).label("seconds"),
            )
            .where(log.asked_at >= since, log.asked_at < until)
            .group_by(log.status)
        )

    def scope(self, edges: Sequence[datetime]) -> CTE:
        """The calls that began in the period, with their bucket, kind and seconds."""
        began = calls.c.started_at
        bucket: ColumnElement[int] = literal(0)
        if len(edges) > 2:  # noqa: PLR2004 - two edges have one bucket between them
            inner = enumerate(edges[1:-1])
            bucket = case(*((began < edge, index) for index, edge in inner), else_=len(edges) - 2)
        own = and_(call_events.c.call_id == calls.c.id, MARKED)
        is_rejected = select(literal(1)).where(own, call_events.c.name == "rejected").exists()
        told = (
            select(call_events.c.detail["kind"].as_string())
            .where(own, call_events.c.name == "kind")
            .limit(1)
            .scalar_subquery()
        )
        kind = case(
            (told == CANARY, CANARY),
            (or_(calls.c.end_reason.like("rejected%"), is_rejected), COURTESY),
            else_=func.coalesce(told, CALLER),
        )
        names = "id persona language started_at answered_at ended_at end_reason memory_bytes cost"
        return (
            select(
                *(calls.c[name] for name in names.split()),
                bucket.label("bucket"),
                kind.label("kind"),
                self._between(calls.c.answered_at, calls.c.ended_at).label("seconds"),
            )
            .where(began >= edges[0], began < edges[-1])
            .cte("scope")
            # Else SQLite looks for the kind of a call wherever it is named.
            .prefix_with("MATERIALIZED")
        )

    def business(self, edges: Sequence[datetime]) -> CTE:
        """Of those the ones that reports are about."""
        scope = self.scope(edges)
        return select(scope).where(scope.c.kind.not_in(NO_BUSINESS)).cte("business")

    def _between(
        self, begin: ColumnElement[datetime | None], end: ColumnElement[datetime | None]
    ) -> ColumnElement[float]:
        """Seconds from one column's moment to another's."""
        if self.is_postgres:
            return cast(extract("epoch", end) - extract("epoch", begin), Float)
        return (func.julianday(end) - func.julianday(begin)) * 86400.0

    @property
    def is_postgres(self) -> bool:
        """Else it is SQLite."""
        return self.connection.dialect.name == "postgresql"

    def all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        """Every row of a statement."""
        return self.connection.execute(statement).all()
