"""Runs every check once in a while, and tells alerts of what has changed."""

from __future__ import annotations

import asyncio
from typing import Protocol

from agent import tasks
from ops.front import alerts
from ops.health.board import Board, Report
from ops.health.check import Result, Status

NAME = "HealthCheck"


class Alert(Protocol):
    """`ops.front.alerts.alert`."""

    def __call__(
        self, name: str, severity: alerts.Severity, summary: str, **labels: object
    ) -> None:
        """See there."""


class Monitor:
    """Watches one board from `start` to `aclose`."""

    def __init__(self, board: Board, every: float, alert: Alert = alerts.alert) -> None:
        """`every`: seconds between two rounds."""
        self._board = board
        self._every = every
        self._alert = alert
        self._known: dict[str, Status] = {}
        self._was_unable = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the first round."""
        self._task = tasks.spawn(self._keep_looking(), "health-monitor")

    async def aclose(self) -> None:
        """Look no more."""
        await tasks.end(self._task)

    async def look(self) -> Report:
        """One round. What is amiss at the first is a change too."""
        report = await self._board.everything()
        for name, result in report.checks.items():
            before = self._known.get(name, Status.HEALTHY)
            self._known[name] = result.status
            if result.status is not before:
                self._tell(name, before, result)
        is_unable = report.status is Status.UNHEALTHY
        if is_unable and not self._was_unable:
            self._alert("ControlPlaneDown", "critical", "ops serve cannot do its own work")
        if self._was_unable and not is_unable:
            self._alert("ControlPlaneDown", "info", "ops serve can do its own work again")
        self._was_unable = is_unable
        return report

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._every)

    def _tell(self, name: str, before: Status, result: Result) -> None:
        labels = {"check": name, "was": before, "detail": result.detail}
        summary = f"{name} is {result.status}"
        well = (Status.HEALTHY, Status.NOT_CONFIGURED)
        if result.status in well:
            if before not in well:
                self._alert(NAME, "info", summary, **labels)
        else:
            self._alert(NAME, "warning", summary, **labels)
