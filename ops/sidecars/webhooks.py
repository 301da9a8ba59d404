"""POST /webhooks/livekit: what LiveKit tells, kept before it is acknowledged, handled afterwards.

LiveKit signs what it sends, so that this route needs no client key.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from agent import log, metrics
from agent.pseudonym import Pseudonyms
from ops.front.plane import Plane
from ops.front.problems import MEANINGS, Problem
from ops.rooms.handling import Handling
from ops.webhooks.intake import Intake, NotKept
from ops.webhooks.reading import Malformed, read
from ops.webhooks.signature import Forged, verify
from ops.webhooks.spool import FOLDER, WebhookSpool

logger = log.get(__name__)

PATH = "/webhooks/livekit"

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": meaning}
    for status, meaning in {
        400: "The body is no webhook event.",
        401: "The body was not signed by a key of ours, or too long ago.",
        413: MEANINGS[413],
        503: "The event cannot be kept now: send it again.",
    }.items()
}
SENT = {
    "requestBody": {
        "required": True,
        "content": {"application/webhook+json": {"schema": {"type": "object"}}},
    }
}


class Received(BaseModel):
    """The event survives a crash now."""

    id: str = Field(description="The event's id.")
    status: Literal["stored", "ignored"] = Field(description="ignored: it was known before.")


class Webhooks:
    """The route, the intake behind it, and the handling of what was kept."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        settings = plane.settings
        self._section = settings.webhooks
        self._pseudonyms: Pseudonyms | None = None
        self.handling = Handling(plane.database, plane.events, settings.rooms.prefix)
        spool = WebhookSpool(settings.data.folder / FOLDER, self._section.spool_bytes)
        self.intake = Intake(plane.database, spool, self.handling.tell)
        self.router = APIRouter(tags=["webhooks"])
        self.router.add_api_route(
            PATH,
            self._receive,
            methods=["POST"],
            response_model=Received,
            responses=ERRORS,
            openapi_extra=SENT,
            summary="An event of the LiveKit server",
        )

    async def start(self) -> None:
        """Take events, and handle those that wait."""
        self._pseudonyms = Pseudonyms.of(self._plane.settings)
        self.intake.start()
        self.handling.start()

    async def aclose(self) -> None:
        """Write what was taken. What is not handled yet waits for the next start."""
        await self.intake.aclose()
        await self.handling.aclose()

    async def _receive(self, request: Request) -> Received:
        body = await request.body()  # the raw one: its hash was signed; the door bounds it
        ring = self._plane.ring.current
        try:
            verify(
                body,
                request.headers.get("authorization", ""),
                ring.secret_of,
                self._section.max_age,
            )
        except Forged as error:
            metrics.WEBHOOKS.labels("forged").inc()
            self._plane.suspicion.note("bad_signature", request.state.address)
            raise HTTPException(401, str(error)) from None
        assert self._pseudonyms is not None
        try:
            row = read(body, self._pseudonyms)
        except Malformed as error:
            metrics.WEBHOOKS.labels("malformed").inc()
            raise HTTPException(400, str(error)) from None
        try:
            is_new = await self.intake.keep(row)
        except NotKept as error:
            self._plane.alerts.tell(
                "webhooks_not_kept", "neither database nor spool takes webhooks", "critical"
            )
            raise HTTPException(503, str(error), {"Retry-After": "1"}) from None
        return Received(id=row.id, status="stored" if is_new else "ignored")
