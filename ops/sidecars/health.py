"""GET /health: whether this process can do its own work."""

from __future__ import annotations

from fastapi import APIRouter

from ops.front.plane import Plane


class Health:
    """The checks and their routes."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.router = APIRouter(tags=["health"])
        self.router.add_api_route("/health", self._short)

    async def start(self) -> None:
        """Nothing runs beside the routes yet."""

    async def aclose(self) -> None:
        """Nothing to end."""

    async def _short(self) -> dict[str, str]:
        return {"status": "healthy"}
