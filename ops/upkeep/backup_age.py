"""When each part was last backed up, as a metric: read from the shelf when somebody scrapes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent import metrics
from ops.upkeep.shelf import Shelf
from ops.upkeep.sources import PARTS


class BackupAge(Collector):
    """A collector for prometheus_client's registry. A part that never was has no series."""

    def __init__(self, folder: Path) -> None:
        """`folder` is backup.folder."""
        self._shelf = Shelf(folder)

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        told = metrics.BACKUP
        family = GaugeMetricFamily(told.name, told.meaning, labels=["what"])
        for part, at in self._shelf.told().items():
            if part in PARTS and (moment := _moment(at)) is not None:
                family.add_metric([part], moment)
        yield family

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering shall not read."""
        return []


def _moment(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
