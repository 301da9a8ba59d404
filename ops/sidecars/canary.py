"""Canary calls (`ops.canary`): a sidecar without routes, off unless canary.enabled."""

from __future__ import annotations

from fastapi import APIRouter

from ops.canary.watch import Watch
from ops.front.plane import Plane
from ops.lease import Lease


class Canary:
    """Rings the product every few minutes."""

    def __init__(self, plane: Plane) -> None:
        self.router = APIRouter()
        settings = plane.settings
        self.watch: Watch | None = None
        if settings.canary.enabled and settings.livekit.url:
            lease = Lease(plane.database, "canary")
            self.watch = Watch(settings, plane.database, plane.alerts, lease)

    async def start(self) -> None:
        """Call from now on."""
        if self.watch:
            self.watch.start()

    async def aclose(self) -> None:
        """Call no more."""
        if self.watch:
            await self.watch.aclose()
