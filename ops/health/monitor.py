"""Runs every check once in a while, and tells alerts of what has changed."""

from __future__ import annotations

import asyncio

from agent import tasks
from ops.front.alerts import Alerts, Level
from ops.health.board import Board, Report
from ops.health.check import Result, Status

NAME, UNABLE = "HealthCheck", "ControlPlaneDown"
GRAVE = ("spool",)
"""What cannot fail for long: a full disk takes the last place where events are kept."""

WELL = (Status.HEALTHY, Status.NOT_CONFIGURED)


class Monitor:
    """Watches one board from `start` to `aclose`."""

    def __init__(self, board: Board, every: float, alerts: Alerts) -> None:
        """`every`: seconds between two rounds."""
        self._board = board
        self._every = every
        self._alerts = alerts
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
            self._alerts.tell(UNABLE, "ops serve cannot do its own work", "critical")
        if self._was_unable and not is_unable:
            self._alerts.tell(UNABLE, "ops serve can do its own work again", "info")
        self._was_unable = is_unable
        return report

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._every)

    def _tell(self, name: str, before: Status, result: Result) -> None:
        is_well, was_well = result.status in WELL, before in WELL
        if is_well and was_well:
            return
        level: Level = "info" if is_well else "critical" if name in GRAVE else "warning"
        message = "a health check is well again" if is_well else "a health check is not well"
        about = {"status": result.status.value, "was": before.value, "detail": result.detail}
        self._alerts.tell(NAME, message, level, name, **about)
