"""What an analysis asks beside the figures of a report: what grows, what was slow, what went wrong.

Nothing here returns a number or a word of a caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Table,
    and_,
    case,
    func,
    literal_column,
    select,
    text,
)

from agent.store.recording_tables import recording_log
from agent.store.room_tables import webhook_events
from agent.store.statistics import COUNTED, FAILED, LINK, SILENCE, Figures
from agent.store.tables import call_events, calls, turns

GOOD = 3.5
"""MOS from which on nobody complains of the line."""


def slowest_turns(found: Figures, edges: Sequence[datetime], many: int) -> Sequence[Row[Any]]:
    """The turns with the longest wait: call, began (of the call), turn, latency and parts."""
    scope = found.business(edges)
    names = "latency end_of_turn_delay llm_ttft tts_ttfb llm tts"
    return found.all(
        select(
            scope.c.id.label("call"),
            scope.c.started_at.label("began"),
            turns.c.number.label("turn"),
            *(turns.c[name] for name in names.split()),
        )
        .join_from(scope, turns, turns.c.call_id == scope.c.id)
        .where(turns.c.latency.is_not(None))
        .order_by(turns.c.latency.desc(), scope.c.id)
        .limit(many)
    )


def worst_calls(
    found: Figures, edges: Sequence[datetime], faults: Sequence[str], many: int
) -> Sequence[Row[Any]]:
    """The calls that went worst, by `points`: call, began, end_reason, persona and why.

    A fault that ended it counts 5; each failure of a provider, each long silence and each
    turn that was not understood 1; to give up 3; each tenth of MOS below 3.5 a fifth.
    """
    scope, note = found.business(edges), call_events.c
    call = (scope.c.id, scope.c.started_at, scope.c.end_reason, scope.c.persona)

    def often(name: str) -> ColumnElement[int]:
        return func.sum(case((note.name == name, 1), else_=0))

    mos = func.min(case((note.name == LINK, note.detail["score"].as_float())))
    is_fault = case((scope.c.end_reason.in_(faults), 5.0), else_=0.0)
    hoarse = case((mos < GOOD, (GOOD - mos) * 2), else_=0.0)
    told = often(FAILED) + often(SILENCE) + often("not_understood") + often("gave_up") * 3
    points = is_fault + told + hoarse
    wanted = note.name.in_((FAILED, LINK, SILENCE, *COUNTED))
    own = and_(note.call_id == scope.c.id, note.kind == "note", wanted)
    return found.all(
        select(
            scope.c.id.label("call"),
            scope.c.started_at.label("began"),
            scope.c.end_reason,
            scope.c.persona,
            often(FAILED).label("providers"),
            often(SILENCE).label("silences"),
            often("not_understood").label("not_understood"),
            mos.label("mos"),
            points.label("points"),
        )
        .join_from(scope, call_events, own, isouter=True)
        .group_by(*call)
        .having(points > 0)
        .order_by(points.desc(), scope.c.id)
        .limit(many)
    )


def busiest_hour(found: Figures, edges: Sequence[datetime]) -> tuple[datetime, int] | None:
    """The hour (of UTC) in which most calls began, and how many."""
    scope, many = found.business(edges), func.count()
    began = scope.c.started_at
    hour: ColumnElement[Any] = func.strftime("%Y-%m-%d %H", began)
    if found.is_postgres:
        hour = func.to_char(func.timezone("UTC", began), "YYYY-MM-DD HH24")
    statement = select(hour, many).select_from(scope).group_by(hour).order_by(many.desc(), hour)
    row = found.connection.execute(statement.limit(1)).first()
    return (datetime.strptime(f"{row[0]}+0000", "%Y-%m-%d %H%z"), row[1]) if row else None


def growth(found: Figures, since: datetime, until: datetime) -> dict[str, tuple[int, int]]:
    """Rows of the tables that grow with calls: of all time, and of the calls of a time.

    PostgreSQL's totals are those of its own statistics, which run after the truth a little.
    """
    of = and_(calls.c.started_at >= since, calls.c.started_at < until)
    grown = {"calls": _rows(found, calls, of)}
    for table in (turns, call_events):
        statement = select(func.count()).join_from(calls, table).where(of)
        grown[table.name] = _total(found, table), found.connection.scalar(statement) or 0
    for table, began in (
        (recording_log, recording_log.c.asked_at),
        (webhook_events, webhook_events.c.received_at),
    ):
        grown[table.name] = _rows(found, table, and_(began >= since, began < until))
    return grown


def size(found: Figures) -> int:
    """What the whole database takes on its disk."""
    if found.is_postgres:
        told = select(func.pg_database_size(func.current_database()))
        return found.connection.scalar(told) or 0
    ask = found.connection.exec_driver_sql
    return int(ask("PRAGMA page_count").scalar_one() * ask("PRAGMA page_size").scalar_one())


def _rows(found: Figures, table: Table, of: ColumnElement[bool]) -> tuple[int, int]:
    recent = select(func.count()).select_from(table).where(of)
    return _total(found, table), found.connection.scalar(recent) or 0


def _total(found: Figures, table: Table) -> int:
    if found.is_postgres:
        catalog: ColumnElement[float] = literal_column("reltuples")
        known = (
            select(catalog)
            .select_from(text("pg_class"))
            .where(text("oid = to_regclass(:name)").bindparams(name=table.name))
        )
        told = found.connection.scalar(known)
        if told is not None and told >= 0:
            return int(told)
    return found.connection.scalar(select(func.count()).select_from(table)) or 0
