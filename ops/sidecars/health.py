"""GET /health and its parts: how it stands with this process and with all that it needs.

503 is answered only when this process cannot do its own work, so that a provider's outage never
takes webhooks out of service. Whoever has no key hears one word.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel, Field

from ops.front.clients import Client, bearer, require
from ops.front.plane import Plane
from ops.front.problems import Problem
from ops.health.board import GROUPS, Board, Report, can_work
from ops.health.check import Status
from ops.health.monitor import Monitor

SCOPE = "health"


class CheckTold(BaseModel):
    """One check."""

    status: Status
    latency_ms: float | None = Field(description="Milliseconds; null: nobody was asked.")
    detail: str


class HealthTold(BaseModel):
    """What was found. Without a key `checks` is empty."""

    status: Status
    checks: dict[str, CheckTold]


UNABLE = {503: {"model": HealthTold, "description": "This process cannot do its own work."}}
GUARDED = {
    503: {
        "model": HealthTold | Problem,
        "description": "This process cannot do its own work, or not even read client keys.",
    }
}


class Health:
    """The checks and their routes."""

    def __init__(self, plane: Plane) -> None:
        self.board = Board.of(plane)
        self._monitor = Monitor(self.board, plane.settings.health.monitor, plane.alerts)
        self.router = APIRouter(prefix="/health", tags=["health"])
        guard = [Depends(require(SCOPE))]
        self.router.add_api_route("", self._short, responses=UNABLE)  # type: ignore[arg-type]
        self.router.add_api_route(
            "/detailed",
            self._detailed,
            dependencies=guard,
            responses=GUARDED,  # type: ignore[arg-type]
        )
        for name in GROUPS:
            self.router.add_api_route(
                f"/{name}",
                self._group(name),
                dependencies=guard,
                responses=GUARDED,  # type: ignore[arg-type]
                name=f"health of {name}",
            )

    async def start(self) -> None:
        """Begin the rounds of all checks."""
        self._monitor.start()

    async def aclose(self) -> None:
        """Ask no more."""
        await self._monitor.aclose()
        await self.board.aclose()

    async def _short(
        self,
        request: Request,
        response: Response,
        _given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> HealthTold:
        """How it stands, in one word; to a key of scope `health`, with what was found last."""
        report = await self.board.short()
        told = _told(report, response)
        client: Client | None = request.state.client
        if client is not None and client.may(SCOPE):
            return told
        return HealthTold(status=told.status, checks={})

    async def _detailed(self, response: Response) -> HealthTold:
        """Every check, run now unless it was a moment ago."""
        return _told(await self.board.everything(), response)

    def _group(self, name: str) -> Callable[..., Awaitable[HealthTold]]:
        async def answer() -> HealthTold:
            return _told(await self.board.group(name))

        answer.__doc__ = f"The checks {', '.join(GROUPS[name])}."
        return answer


def _told(report: Report, response: Response | None = None) -> HealthTold:
    if response is not None and not can_work(report.checks):
        response.status_code = 503
    checks = {
        name: CheckTold(status=one.status, latency_ms=one.latency_ms, detail=one.detail)
        for name, one in report.checks.items()
    }
    return HealthTold(status=report.status, checks=checks)
