"""All checks of one `ops serve`, and what they come to together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from ops.front.plane import Plane
from ops.health import livekit, providers, stores, telephone
from ops.health.check import Check, Result, Status, Watched

OWN = ("database", "spool", "keys")
"""What this process needs for its own work. All else may fail, and it still takes webhooks."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "livekit": ("livekit", "room", "egress", "ingress", "sip"),
    "sip": ("sip", "sip_gateway"),
    "ai": ("stt", "llm", "tts"),
    "database": ("database", "spool"),
    "redis": ("redis",),
}
"""The checks of /health/GROUP."""


@dataclass(frozen=True, slots=True)
class Report:
    """Checks by name, and their sum."""

    status: Status
    checks: Mapping[str, Result]


class Board:
    """The checks in the order in which they are told."""

    def __init__(
        self, checks: Iterable[Check], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._watched = {check.name: Watched(check, clock) for check in checks}

    @classmethod
    def of(cls, plane: Plane, clock: Callable[[], float] = time.monotonic) -> Board:
        """Every check of the product."""
        return cls(checks_of(plane), clock)

    async def everything(self) -> Report:
        """All checks, each as fresh as it has to be, and whether this process can do its work."""
        checks = await self._results(self._watched)
        return Report(overall(checks), checks)

    async def group(self, name: str) -> Report:
        """The checks of one of GROUPS."""
        checks = await self._results(GROUPS[name])
        return Report(sum_of(checks.values()), checks)

    async def short(self) -> Report:
        """As `everything`, but waiting for no more than what this process works with itself.

        Of the rest the last result counts, which the monitor renews.
        """
        own = await self._results([name for name in OWN if name in self._watched])
        rest = {name: one.last for name, one in self._watched.items() if one.last is not None}
        checks = rest | own
        return Report(overall(checks), checks)

    async def aclose(self) -> None:
        """Ask no more."""
        await asyncio.gather(*(one.aclose() for one in self._watched.values()))

    async def _results(self, names: Collection[str]) -> dict[str, Result]:
        found = await asyncio.gather(*(self._watched[name].result() for name in names))
        return dict(zip(names, found, strict=True))


def checks_of(plane: Plane) -> list[Check]:
    """Every check of the product, in the order in which they are told."""
    return [
        *livekit.checks(plane),
        *stores.checks(plane),
        *telephone.checks(plane.settings),
        *providers.checks(plane.settings),
    ]


def can_work(checks: Mapping[str, Result]) -> bool:
    """Whether a webhook can be verified, and kept somewhere before it is acknowledged."""

    def fails(name: str) -> bool:
        return name in checks and checks[name].status is Status.UNHEALTHY

    return not fails("keys") and not (fails("database") and fails("spool"))


def overall(checks: Mapping[str, Result]) -> Status:
    """Unhealthy only when this process cannot do its own work; degraded when anything is amiss."""
    if not can_work(checks):
        return Status.UNHEALTHY
    return min(sum_of(checks.values()), Status.DEGRADED, key=_badness)


def sum_of(results: Iterable[Result]) -> Status:
    """Of a group: unhealthy when all of it is, degraded when some is, what is configured."""
    statuses = {result.status for result in results} - {Status.NOT_CONFIGURED}
    if not statuses:
        return Status.NOT_CONFIGURED
    return statuses.pop() if len(statuses) == 1 else Status.DEGRADED


def _badness(status: Status) -> int:
    order = (Status.NOT_CONFIGURED, Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY)
    return order.index(status)
