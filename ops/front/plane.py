"""What the sidecars of one `ops serve` share, and what each of them is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fastapi import APIRouter
from redis.asyncio import ConnectionPool

from agent import shared
from agent.livekit import LiveKit
from config.settings import Settings
from ops.front.alerts import Alerts
from ops.front.clients import Clients
from ops.front.database import Database
from ops.front.events import Events
from ops.front.limits import Limits
from ops.front.suspicion import Suspicion
from ops.keyring import LiveRing


@dataclass(slots=True)
class Plane:
    """The shared parts, opened and closed by `ops.serve`."""

    settings: Settings
    database: Database
    clients: Clients
    redis: ConnectionPool | None
    ring: LiveRing
    """The LiveKit keys of this moment: what signs, and what verifies."""
    livekit: LiveKit
    """The LiveKit API. Without livekit.url every request to it is Unavailable."""
    alerts: Alerts
    limits: Limits
    suspicion: Suspicion
    events: Events = field(default_factory=Events)
    """Who hears of webhook events: see `ops.front.events`."""

    @classmethod
    def of(cls, settings: Settings) -> Plane:
        """The parts as configured. Nothing is connected to yet. Raises SettingsError."""
        database = Database(settings.store.url)
        redis = shared.pool(settings.redis.url) if settings.redis.url else None
        ring = LiveRing(settings)
        alerts = Alerts()
        return cls(
            settings,
            database,
            Clients(database),
            redis,
            ring,
            LiveKit.of(settings.livekit, credentials=ring.credentials),
            alerts,
            Limits(redis),
            Suspicion(alerts),
        )

    async def start(self) -> None:
        """Begin what runs in the background."""
        self.ring.start()

    async def aclose(self) -> None:
        """Let go of everything."""
        await self.ring.aclose()
        await self.livekit.aclose()
        await self.clients.aclose()
        if self.redis is not None:
            await self.redis.aclose()
        await self.database.aclose()


class Sidecar(Protocol):
    """One noun of the control plane: its routes, and what it does beside them."""

    @property
    def router(self) -> APIRouter:
        """The routes, each of them behind `require(...)` unless an issue says otherwise."""

    async def start(self) -> None:
        """Begin what runs in the background. The parts of the plane are there."""

    async def aclose(self) -> None:
        """End it. Called also when `start` failed."""
