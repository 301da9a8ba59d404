"""POST /events: what workers without a lasting disk report, into the call log and the metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, Field

from agent import log, metrics
from agent.errors import StoreError
from agent.events import Event, decode, is_passing
from agent.store import CallLog
from agent.store.leases import Leases
from agent.store.projection import storable
from ops.front.clients import require
from ops.front.plane import Plane
from ops.front.problems import ANY
from ops.lease import Lease
from ops.workers import GONE, HEARD, HOLDER, Counting, Workers, close, lease_of, write

logger = log.get(__name__)

SCOPE = "events"

WorkerId = Annotated[str, Field(pattern=r"^[^/\x00]{1,200}/[0-9a-f]{12}$")]


class Reported(BaseModel):
    """One event, and whose it is."""

    worker_id: Annotated[str, Field(max_length=250)] = Field(description="Empty: not known.")
    event: dict[str, Any] = Field(description="As workers write it: agent.events.")


class Report(BaseModel):
    """What a worker has to tell."""

    worker: WorkerId = Field(description="Who reports, and is heard of.")
    events: Annotated[list[Reported], Field(max_length=10_000)] = Field(
        default_factory=list, description="In the order in which they are to be written."
    )
    gone: Annotated[list[WorkerId], Field(max_length=1000)] = Field(
        default_factory=list,
        description="Workers of the same host and folder that have ended: their calls are closed.",
    )
    leaving: bool = Field(default=False, description="Whether this worker ends now.")


class Refused(BaseModel):
    """An event that will never be taken."""

    index: int = Field(description="Its place among the events, from 0.")
    why: str


class Receipt(BaseModel):
    """All events but the refused ones are in the call log."""

    refused: list[Refused]
    abandoned: list[str] = Field(description="Rooms of the calls that were closed.")


class Events:
    """The route, and the watch over those who report."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._counting = Counting()
        livekit = plane.livekit if plane.settings.livekit.url else None
        self.workers = Workers(
            plane.database, livekit, Lease(plane.database, "workers"), self._counting
        )
        self.router = APIRouter(tags=["events"], responses=ANY)
        self.router.add_api_route(
            "/events",
            self._report,
            methods=["POST"],
            response_model=Receipt,
            dependencies=[Depends(require(SCOPE))],
        )

    async def start(self) -> None:
        """Look after those who report."""
        self.workers.start()

    async def aclose(self) -> None:
        """Leave that to another process."""
        await self.workers.aclose()

    async def _report(self, report: Report) -> Receipt:
        """Write the events of a worker that has no call log of its own; each is counted once."""
        host = report.worker.rpartition("/")[0]
        if any(one.rpartition("/")[0] != host or one == report.worker for one in report.gone):
            raise HTTPException(422, "gone: only workers of the same host and folder")
        refused: dict[int, str] = {}
        entries: list[tuple[str, Event]] = []
        places: dict[int, int] = {}
        for index, reported in enumerate(report.events):
            try:
                event = _read(reported.event)
            except (ValueError, RecursionError) as error:
                refused[index] = str(error)
                continue
            places[id(event)] = index
            entries.append((reported.worker_id, event))
        abandoned, unwanted = await self._plane.database.run(
            lambda db: self._taken(db, report, entries)
        )
        refused |= {places[id(event)]: why for event, why in unwanted}
        metrics.REPORTED.labels("refused").inc(len(refused))
        return Receipt(
            refused=[Refused(index=index, why=why) for index, why in sorted(refused.items())],
            abandoned=abandoned,
        )

    def _taken(
        self, db: CallLog, report: Report, entries: Sequence[tuple[str, Event]]
    ) -> tuple[list[str], list[tuple[Event, str]]]:
        """Write and count: rooms that were abandoned, events that were refused."""
        leases, name = Leases(db.engine), lease_of(report.worker)
        if not report.leaving:
            leases.hold(name, HOLDER, HEARD)
        written = write(db, entries)
        gone = {*report.gone}
        calls = db.open_calls() if gone or report.leaving else []
        orphans = [call_id for call_id, worker in calls if worker in gone]
        closed = close(db, orphans, GONE, provisional=False)
        if report.leaving:
            # It had told of every end that it knew. What a job says yet is better known.
            left = [call_id for call_id, worker in calls if worker == report.worker]
            closed += close(db, left, GONE, provisional=True)
        rooms = [db.get_call(call_id).call.room for call_id in closed]
        metrics.REPORTED.labels("new").inc(len(written.new))
        known = len(entries) - len(written.new) - len(written.refused)
        metrics.REPORTED.labels("known").inc(known)
        try:
            self._counting.hear(db, written.new)
            self._counting.closed(db, closed)
        except StoreError as error:
            # They are written: to send them again would not have them counted either.
            logger.warning("events were not counted", error=str(error))
        if report.leaving:
            leases.leave(name, HOLDER)
        for one in gone:
            leases.leave(lease_of(one), HOLDER)
        return rooms, written.refused


def _read(told: dict[str, Any]) -> Event:
    """The event, without what no database or figure can hold. Raises ValueError."""
    event = decode(json.dumps(storable(told)))
    try:
        is_passing(event)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a note of ours: {error}") from None
    return event
