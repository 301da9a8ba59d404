"""The shipped dashboards: their panels, and what a panel asks of Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.programs import ROOT

GRAFANA = ROOT / "ops" / "grafana"
RATE_INTERVAL = "1m"
"""Grafana's `$__rate_interval` at least: four times the scrape interval of the data source."""


class Asked(NamedTuple):
    """One expression of one panel."""

    dashboard: str
    panel: str
    expression: str


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards by the names of their files."""
    files = sorted((GRAFANA / "dashboards").glob("*.json"))
    return {file.name: json.loads(file.read_text("utf-8")) for file in files}


def asked() -> Iterator[Asked]:
    """Every expression of every panel, as Prometheus gets it."""
    for dashboard in dashboards().values():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
                yield Asked(dashboard["title"], panel["title"], expression)
