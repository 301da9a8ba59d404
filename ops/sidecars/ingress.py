"""Ingress over HTTP: create, update, list, delete."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, ConfigDict, Field

from ops.front.clients import Client, require
from ops.front.plane import Plane
from ops.ingress.desk import Desk
from ops.ingress.desk import Ingress as Row
from ops.ingress.wanted import Change, Kind, Wanted
from ops.sidecars.problems import explained

PLAIN = r"^[^\x00]*$"
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The ingress's id.")]
Plain = Annotated[str, Field(max_length=256, pattern=PLAIN)]
May = Annotated[Client, Security(require("ingress"))]


class IngressIn(BaseModel):
    """An ingress to be made. `url` is for kind url: HLS, MP4, MOV, MP3, OGG or M4A."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    room: Plain
    identity: Plain
    name: Plain = ""
    participant_name: Plain = ""
    url: Annotated[str, Field(max_length=2048, pattern=PLAIN)] = ""
    transcode: bool | None = None


class IngressChange(BaseModel):
    """What is to be different."""

    model_config = ConfigDict(extra="forbid")

    name: Plain | None = None
    room: Plain | None = None
    identity: Plain | None = None
    participant_name: Plain | None = None
    enabled: bool | None = None


class IngressOut(BaseModel):
    """One ingress. `url` is where to push to; for kind url, the host it is fetched from."""

    id: str
    kind: str
    name: str
    room: str
    identity: str
    participant_name: str
    url: str
    enabled: bool
    status: str
    error: str

    @classmethod
    def of(cls, row: Row) -> IngressOut:
        """Without the key."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class IngressMade(IngressOut):
    """A new one: `stream_key` is told here and never again."""

    stream_key: str


class IngressesOut(BaseModel):
    """All of them."""

    ingress: list[IngressOut]


class Ingress:
    """The routes."""

    def __init__(self, plane: Plane) -> None:
        self._desk = Desk(plane.settings, plane.database, plane.livekit)
        self.router = APIRouter(prefix="/ingress", tags=["ingress"])
        add = self.router.add_api_route
        add("", self._list, methods=["GET"])
        add("", self._create, methods=["POST"], status_code=201)
        add("/{ingress_id}", self._update, methods=["PATCH"])
        add("/{ingress_id}", self._delete, methods=["DELETE"])

    async def start(self) -> None:
        """Nothing runs beside the routes."""

    async def aclose(self) -> None:
        """Nothing to end."""

    async def _list(
        self,
        client: May,  # noqa: ARG002 - the key is the point
        room: Annotated[str, Query(max_length=256, pattern=PLAIN)] = "",
    ) -> IngressesOut:
        """All ingress, or that of a room; without stream keys."""
        with explained():
            rows = await self._desk.list(room)
        return IngressesOut(ingress=[IngressOut.of(row) for row in rows])

    async def _create(self, client: May, body: IngressIn, request: Request) -> IngressMade:
        """Make one. The stream key is in this answer only."""
        wanted = Wanted(**body.model_dump())
        with explained():
            row = await self._desk.create(
                wanted, client.name, _from(request), into_calls=client.may("admin")
            )
        return IngressMade(**asdict(row))

    async def _update(
        self, client: May, ingress_id: Id, body: IngressChange, request: Request
    ) -> IngressOut:
        """Change one that is pushed to; one by url cannot be changed (422)."""
        change = Change(**body.model_dump())
        with explained():
            row = await self._desk.update(
                ingress_id, change, client.name, _from(request), into_calls=client.may("admin")
            )
        return IngressOut.of(row)

    async def _delete(self, client: May, ingress_id: Id, request: Request) -> IngressOut:
        """End and remove one."""
        with explained():
            return IngressOut.of(await self._desk.delete(ingress_id, client.name, _from(request)))


def _from(request: Request) -> str:
    """From where, as the audit trail says it."""
    return f"http {request.client.host if request.client else 'unknown'}"
