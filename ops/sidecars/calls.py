"""/calls: list, show and end calls; beside the routes, who looks after the rooms of calls."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from agent.errors import CallUnknown, LiveKitError
from agent.sessions import Session
from agent.store.rows import CallRecord, CallRow
from ops.front.clients import Client, require
from ops.front.plane import Plane
from ops.front.problems import ANY
from ops.lease import Lease
from ops.live import LiveCalls
from ops.rooms.changes import JOINED, LEFT
from ops.rooms.hangup import WHAT, NotOpen, hang_up, rooms_of_others
from ops.rooms.reconciler import Reconciler
from ops.rooms.silent import Silent
from ops.rooms.unattended import Unattended

SCOPE = "calls"
TRANSCRIPTS = "calls:transcripts"
"""The scope of those who may read what was said."""

MARGIN = 90.0
"""Seconds for which an agent may be alone, over those for which its job waits for somebody."""

PSEUDONYM = r"^c-[0-9a-f]{20}$"
"""What callers are called (`agent.pseudonym`)."""

CallId = Annotated[
    str, Path(pattern=r"^[0-9a-f]{1,32}$", description="The call's id, or a unique beginning.")
]


async def _reader(client: Annotated[Client, Depends(require(SCOPE))]) -> Client:
    """Whoever may read what was said may not see calls by that alone."""
    if not client.may(SCOPE):
        raise HTTPException(403, f"the client key lacks the scope {SCOPE}")
    return client


Reader = Annotated[Client, Depends(_reader)]


class CallOut(BaseModel):
    """One call. Callers are pseudonyms; what is not known (yet) is null or empty."""

    id: str
    room: str
    room_sid: str | None
    caller: str = Field(description="The caller's pseudonym: the same for each of its calls.")
    called: str = Field(description="The line that was rung, our own.")
    persona: str
    language: str
    providers: dict[str, str]
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    end_detail: str
    end_provisional: bool = Field(description="Whether the call's own word may still change it.")
    turns: int


class CallList(BaseModel):
    """Calls, the newest first."""

    calls: list[CallOut]


class TurnOut(BaseModel):
    """One turn; delays are seconds. What was said is there for those who may read it."""

    number: int
    latency: float | None
    llm_ttft: float | None
    tts_ttfb: float | None
    interrupted: bool
    tools: list[str]
    committed_at: datetime | None
    finished_at: datetime | None
    user_text: str | None = None
    agent_text: str | None = None


class NoteOut(BaseModel):
    """Something in a call's history. Its detail is there for those who may read what was said."""

    at: datetime
    kind: str
    name: str
    detail: dict[str, Any] | None = None


class RecordOut(BaseModel):
    """All that is known of one call."""

    call: CallOut
    turns: list[TurnOut]
    history: list[NoteOut]
    cost: dict[str, Any] | None


class LiveCall(BaseModel):
    """A call that goes on, as its worker tells of it."""

    id: str
    room: str
    worker: str
    persona: str
    state: str = Field(description="waiting for the caller, talking or transferring.")
    started_at: datetime
    heartbeat: datetime | None = Field(
        description="When its worker last told of it; null: only its record is known."
    )


class LiveList(BaseModel):
    """The calls that go on, and those whose worker has fallen silent."""

    live: list[LiveCall]
    lost: list[LiveCall]


class HungUp(BaseModel):
    """The call's room was deleted; its record is closed within seconds."""

    id: str


class Calls:
    """The routes, and what looks after rooms."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        settings = plane.settings
        self._sessions = LiveCalls(plane)
        self._lease = Lease(plane.database, "rooms")
        self.unattended = Unattended(
            plane.livekit,
            plane.database,
            plane.alerts,
            settings.rooms,
            settings.worker.agent_name,
            self._lease,
            nobody_after=max(settings.call.caller_timeout, settings.outbound.ringing) + MARGIN,
        )
        silent = Silent(plane.livekit, plane.database, self._sessions.lost_calls)
        self.reconciler = Reconciler(plane.livekit, plane.database, settings, self._lease, silent)
        for event in (JOINED, LEFT):
            plane.events.on(event, self.unattended.hear)
        self.router = APIRouter(prefix="/calls", tags=["calls"], responses=ANY)
        self.router.add_api_route("", self._list, response_model=CallList)
        self.router.add_api_route("/live", self._live, response_model=LiveList)
        self.router.add_api_route("/{call_id}", self._show, response_model=RecordOut)
        self.router.add_api_route(
            "/{call_id}/hangup", self._hang_up, methods=["POST"], response_model=HungUp
        )

    async def start(self) -> None:
        """Look after rooms, where there is a LiveKit server to ask."""
        if self._plane.settings.livekit.url:
            self.unattended.start()
            self.reconciler.start()

    async def aclose(self) -> None:
        """Let another process look after rooms."""
        await self.unattended.aclose()
        await self.reconciler.aclose()
        await self._lease.aclose()

    async def _list(
        self,
        _client: Reader,
        limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 50,
        since: Annotated[AwareDatetime | None, Query(description="Started since.")] = None,
        is_open: Annotated[
            bool | None, Query(alias="open", description="Only calls that go on, or only others.")
        ] = None,
        caller: Annotated[
            str | None, Query(pattern=PSEUDONYM, description="Only this pseudonym's.")
        ] = None,
    ) -> CallList:
        """The newest calls first."""
        moment = since and _moment(since)
        rows = await self._plane.database.run(
            lambda db: db.list_calls(limit, since=moment, is_open=is_open, number=caller)
        )
        return CallList(calls=[_call(row) for row in rows])

    async def _live(self, _client: Reader) -> LiveList:
        """The calls that go on now, and those whose worker is silent."""
        live = await self._sessions.live_calls()
        lost = await self._sessions.lost_calls()
        return LiveList(live=[_session(one) for one in live], lost=[_session(one) for one in lost])

    async def _show(self, call_id: CallId, client: Reader) -> RecordOut:
        """One call with its turns and its history."""
        record = await self._record(call_id)
        told = client.may(TRANSCRIPTS)
        return RecordOut(
            call=_call(record.call),
            turns=[_turn(turn, with_words=told) for turn in map(asdict, record.turns)],
            history=[
                NoteOut(
                    at=event.at,
                    kind=event.kind,
                    name=event.name,
                    detail=event.detail if told else None,
                )
                for event in record.events
            ],
            cost=record.call.cost,
        )

    async def _hang_up(self, call_id: CallId, client: Reader, request: Request) -> HungUp:
        """End a call: everybody in its room is put out."""
        call = (await self._record(call_id)).call
        others = await self._plane.database.run(lambda db: rooms_of_others(db, call))
        try:
            await hang_up(self._plane.livekit, call, others)
        except NotOpen as error:
            raise HTTPException(409, str(error)) from None
        except LiveKitError as error:
            raise HTTPException(503, f"LiveKit cannot end the call: {error}") from None
        source = str(getattr(request.state, "address", ""))
        await self._plane.database.run(
            lambda db: db.audit(f"client {client.name}", WHAT, call.id, source)
        )
        return HungUp(id=call.id)

    async def _record(self, call_id: str) -> CallRecord:
        try:
            return await self._plane.database.run(lambda db: db.get_call(call_id))
        except CallUnknown as error:
            raise HTTPException(404, str(error)) from None


def _session(session: Session) -> LiveCall:
    return LiveCall(
        id=session.call_id,
        room=session.room,
        worker=session.worker_id,
        persona=session.persona,
        state=session.state.value,
        started_at=session.started_at,
        heartbeat=session.heartbeat,
    )


def _moment(since: datetime) -> datetime:
    try:
        return since.astimezone(UTC)
    except OverflowError:
        raise HTTPException(422, "since: no such moment") from None


def _call(row: CallRow) -> CallOut:
    return CallOut(
        id=row.id,
        room=row.room,
        room_sid=row.room_sid,
        caller=row.caller_number,
        called=row.called_number,
        persona=row.persona,
        language=row.language,
        providers=row.providers,
        started_at=row.started_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        end_reason=row.end_reason and str(row.end_reason),
        end_detail=row.end_detail,
        end_provisional=row.end_provisional,
        turns=row.turn_count,
    )


def _turn(turn: dict[str, Any], *, with_words: bool) -> TurnOut:
    if not with_words:
        turn = {**turn, "user_text": None, "agent_text": None}
    return TurnOut.model_validate(turn)
