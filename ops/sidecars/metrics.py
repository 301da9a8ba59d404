"""GET /metrics: the figures of this process and its machine, in the text form of Prometheus."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from ops.front.clients import Client, bearer, require
from ops.front.plane import Plane
from ops.health.certificates import Certificates
from ops.health.machine import Machine
from ops.upkeep.backup_age import BackupAge

SCOPE = "metrics"
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers of a proxy: what comes with one of them comes from elsewhere, whoever brought it here."""


class Metrics:
    """The route, and the figures that are read when somebody asks."""

    def __init__(self, plane: Plane, registry: CollectorRegistry = REGISTRY) -> None:
        self._plane = plane
        self._registry = registry
        self._machine = Machine(plane.settings.data.folder, lambda: plane.database.connections)
        url, own = plane.settings.livekit.url, plane.settings.serve.tls_certificate
        self._certificates = Certificates(url, own, plane.alerts)
        self._backups = BackupAge(plane.settings.backup.folder)
        self._is_registered = False
        self._client_of = require(SCOPE)
        self.router = APIRouter(tags=["metrics"])
        self.router.add_api_route(
            "/metrics",
            self._metrics,
            dependencies=[Depends(self._guard)],
            response_class=Response,
            responses={
                200: {"content": {"text/plain": {}}, "description": "Prometheus text."},
            },
        )

    async def start(self) -> None:
        """Measure from now on."""
        self._registry.register(self._machine)
        self._registry.register(self._backups)
        self._is_registered = True
        self._certificates.start()

    async def aclose(self) -> None:
        """Measure no more."""
        await self._certificates.aclose()
        if self._is_registered:
            self._registry.unregister(self._machine)
            self._registry.unregister(self._backups)
            self._is_registered = False

    async def _metrics(self) -> Response:
        """Every metric of this process. Meanings and units are in its HELP lines."""
        body = await asyncio.to_thread(generate_latest, self._registry)
        return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _guard(
        self,
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Client | None:
        """A key of scope `metrics`, unless the settings let readers on this machine in."""
        if self._plane.settings.serve.metrics == "loopback":
            if _is_from_here(request):
                return None
            if request.state.client is None:
                headers = {"WWW-Authenticate": "Bearer"}
                raise HTTPException(401, "a valid client key is needed", headers)
        return await self._client_of(request, given)


def _is_from_here(request: Request) -> bool:
    """Whether the request came over loopback, and through no proxy."""
    if request.client is None or any(header in request.headers for header in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
