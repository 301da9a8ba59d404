"""Recordings over HTTP, and the sweep that finds what failed and deletes what is too old."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from agent import log, tasks
from agent.call import RecordingStatus
from agent.egress import Kind, Output, Wanted
from agent.errors import VoiceAgentError
from agent.store.recordings import RecordingLogRow, Recordings
from ops.front.clients import Client, require
from ops.front.events import Told
from ops.front.plane import Plane
from ops.lease import Lease
from ops.recordings.forget import obey
from ops.recordings.studio import Studio, new_id
from ops.sidecars.problems import explained

logger = log.get(__name__)

OBEY_EVERY = 60
"""Sweeps between looks for what a restored backup brought back; the first is at the start."""

NAME = r"^[A-Za-z0-9_-]{1,64}$"
PLAIN = r"^[^\x00]*$"

Id = Annotated[str, Path(pattern=NAME, description="The recording's id, or its egress's.")]
Plain = Annotated[str, Field(max_length=256, pattern=PLAIN)]
Address = Annotated[str, Field(max_length=2048, pattern=PLAIN)]
May = Annotated[Client, Security(require("recordings"))]


class RecordingIn(BaseModel):
    """A recording to be started. The same `id` twice starts it once."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,60}$")] | None = None
    kind: Kind = Kind.ROOM_AUDIO
    output: Output = Output.OGG
    room: Plain = ""
    identity: Plain = ""
    track: Plain = ""
    codec: Plain = ""
    audio_track: Plain = ""
    video_track: Plain = ""
    url: Address = ""
    audio_only: bool = False
    stream: Annotated[SecretStr, Field(max_length=2048)] = SecretStr("")

    def wanted(self) -> Wanted:
        """As the studio takes it."""
        values = self.model_dump(exclude={"id", "stream"})
        return Wanted(id=self.id or new_id(), stream=self.stream.get_secret_value(), **values)


class RecordingOut(BaseModel):
    """One recording. Times are UTC, `duration` is seconds, `size` bytes."""

    id: str
    egress_id: str | None
    call_id: str | None
    made_by: str
    kind: str
    output: str
    persona: str
    room: str
    status: str
    uri: str
    error: str
    size: int | None
    duration: float | None
    asked_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    deleted_at: datetime | None

    @classmethod
    def of(cls, row: RecordingLogRow) -> RecordingOut:
        """The row as it is told."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class RecordingsOut(BaseModel):
    """The newest first."""

    recordings: list[RecordingOut]


class DeletedOut(BaseModel):
    """Whether it is gone; false: as soon as it has ended."""

    deleted: bool


class Recording:
    """The routes, the sweep, and what the webhooks of egress are given to."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.studio = Studio(plane.settings, plane.database, plane.livekit, plane.alerts)
        self._lease = Lease(plane.database, "recordings")
        for event in ("egress_started", "egress_updated", "egress_ended"):
            plane.events.on(event, self._heard)
        self._sweeping: asyncio.Task[None] | None = None
        self.router = APIRouter(prefix="/recordings", tags=["recordings"])
        add = self.router.add_api_route
        add("", self._list, methods=["GET"])
        add("", self._start, methods=["POST"], status_code=201)
        add("/{recording}", self._show, methods=["GET"])
        add("/{recording}/stop", self._stop, methods=["POST"])
        add("/{recording}", self._delete, methods=["DELETE"])

    async def start(self) -> None:
        """Begin to sweep."""
        self._sweeping = tasks.spawn(self._sweep(), "recordings-sweep")

    async def aclose(self) -> None:
        """End the sweep; another process may go on with it."""
        await tasks.end(self._sweeping)
        await self._lease.aclose()

    async def _heard(self, told: Told) -> None:
        await self.studio.on_egress(told.body.egress_info)

    async def _list(
        self,
        client: May,  # noqa: ARG002 - the key is the point
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        call: Annotated[str, Query(max_length=64, pattern=PLAIN)] = "",
        room: Annotated[str, Query(max_length=256, pattern=PLAIN)] = "",
        status: RecordingStatus | None = None,
    ) -> RecordingsOut:
        """The newest recordings first."""
        with explained():
            rows = await self._plane.database.run(
                lambda log: Recordings(log.engine).listed(
                    limit, call_id=call, room=room, status=status.value if status else ""
                )
            )
        return RecordingsOut(recordings=[RecordingOut.of(row) for row in rows])

    async def _start(self, client: May, body: RecordingIn, request: Request) -> RecordingOut:
        """Start a recording. What cannot be made is refused (422) with what to use instead."""
        with explained():
            row = await self.studio.start(body.wanted(), client.name, _from(request))
        return RecordingOut.of(row)

    async def _show(self, client: May, recording: Id) -> RecordingOut:  # noqa: ARG002 - as above
        """One recording."""
        with explained():
            return RecordingOut.of(await self.studio.get(recording))

    async def _stop(self, client: May, recording: Id, request: Request) -> RecordingOut:
        """Finish a recording; what is over already stays so."""
        with explained():
            return RecordingOut.of(await self.studio.stop(recording, client.name, _from(request)))

    async def _delete(self, client: May, recording: Id, request: Request) -> DeletedOut:
        """Delete a recording, file and row; one that is being made as soon as it has ended."""
        with explained():
            gone = await self.studio.delete(recording, client.name, _from(request))
        return DeletedOut(deleted=gone)

    async def _sweep(self) -> None:
        rounds = 0
        while True:
            try:
                if await self._lease.is_held():
                    await self.studio.sweep("ops serve")
                    if rounds % OBEY_EVERY == 0:
                        await obey(self.studio, "ops serve")
                    rounds += 1
            except VoiceAgentError as error:
                logger.warning("recordings were not swept", why=str(error))
            except Exception:
                # The boundary of a sweep: the next one may find things in order.
                logger.exception("recordings were not swept")
            await asyncio.sleep(self._plane.settings.rooms.reconcile_every)


def _from(request: Request) -> str:
    """From where, as the audit trail says it."""
    return f"http {request.client.host if request.client else 'unknown'}"
