"""Which workers a round of canary calls tries, and whom it takes out of dispatch (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.store.workers import Wanted, WorkerRow, WorkerState

WHO = "canary"
"""Who wants it, in the list of workers and in the audit trail."""


class Outcome(StrEnum):
    """How the calls to one worker went."""

    WELL = "well"
    FAILED = "failed"
    NOT_PLACED = "not placed"
    """Nobody could have answered: LiveKit did not take the call."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be wanted of workers from now on."""

    rest: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


def to_try(rows: Sequence[WorkerRow]) -> list[WorkerRow]:
    """Who is in dispatch, and who is out of it by our own word: it may be well again."""
    return [row for row in rows if _serves(row) or _is_ours(row)]


def orders(rows: Sequence[WorkerRow], outcomes: Mapping[str, Outcome]) -> Orders:
    """Who is taken out of dispatch, and who comes back.

    A worker is taken out only when it alone fails: what several have in common is not mended by
    fewer workers. So the last one stays, and where none is left, those that we took out return.
    """
    serving = {row.id for row in rows if _serves(row)}
    ours = [row.id for row in rows if _is_ours(row)]
    failed = [worker for worker, outcome in outcomes.items() if outcome is Outcome.FAILED]
    others = serving - set(failed)
    alone = (
        len(failed) == 1
        and failed[0] in serving
        and bool(others)
        and all(outcomes.get(other) is Outcome.WELL for other in others)
    )
    back = [worker for worker in ours if outcomes.get(worker) is Outcome.WELL]
    if not serving:
        back = ours
    return Orders(rest=tuple(failed) if alone else (), back=tuple(back))


def _serves(row: WorkerRow) -> bool:
    return row.state == WorkerState.SERVING and row.wanted == Wanted.SERVE


def _is_ours(row: WorkerRow) -> bool:
    is_out = row.wanted == Wanted.REST and row.wanted_by == WHO
    return is_out and row.state in {WorkerState.RESTING, WorkerState.SERVING}
