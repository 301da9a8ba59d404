"""Figures of this machine and process, read when somebody scrapes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent import metrics
from agent.spool import Spool
from agent.store.trial import Connections

BRIEF = 1.0
"""Seconds below which the load of the processors is not measured again: it would be noise."""


class Machine(Collector):
    """A collector for prometheus_client's registry."""

    def __init__(
        self,
        folder: Path,
        connections: Callable[[], Connections | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` keeps the data; `connections` tells of the database; None: not open yet."""
        self._folder = folder
        self._connections = connections
        self._clock = clock
        self._cpu = 0.0
        self._spent = _spent()
        self._measured_at = clock()

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        yield _gauge(metrics.CPU, self._processors())
        yield _gauge(metrics.MEMORY, psutil.virtual_memory().percent)
        yield _gauge(metrics.PROCESS_MEMORY, psutil.Process().memory_info().rss)
        yield from self._disk()
        yield _gauge(metrics.SPOOL_CALLS, Spool(self._folder / "spool").pending())
        if found := self._connections():
            yield _gauge(metrics.DATABASE_IN_USE, found.in_use)
            yield _gauge(metrics.DATABASE_IDLE, found.idle)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering shall not measure."""
        return []

    def _processors(self) -> float:
        # Not psutil.cpu_percent: it knows of the last time in the same thread only, and says 0 in
        # another one. Scrapes come in any thread.
        if self._clock() - self._measured_at >= BRIEF:
            (busy_before, total_before), self._spent = self._spent, _spent()
            busy, total = self._spent
            if total > total_before:
                self._cpu = 100 * (busy - busy_before) / (total - total_before)
            self._measured_at = self._clock()
        return min(max(self._cpu, 0.0), 100.0)

    def _disk(self) -> Iterator[Metric]:
        folder = self._folder if self._folder.exists() else self._folder.parent
        try:
            disk = psutil.disk_usage(str(folder))
        except OSError:
            return  # the check `spool` tells of it
        yield _gauge(metrics.DISK, disk.percent)
        yield _gauge(metrics.DISK_FREE, disk.free)


def _spent() -> tuple[float, float]:
    """Seconds that all processors were busy, and those that there were, since the machine began."""
    times = psutil.cpu_times()
    # Linux counts what guests use in `user`, too.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    total = sum(times) - guests
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _gauge(told: metrics.Told, value: float) -> Metric:
    return GaugeMetricFamily(told.name, told.meaning, value=value)
