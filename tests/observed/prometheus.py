"""Prometheus (Debian: prometheus) with the shipped configuration and rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.observed.program import Program
from tests.programs import ROOT

SHIPPED = ROOT / "ops" / "prometheus"
NOBODY = "127.0.0.1:9"
"""Where nothing listens: the target of a job that this test has no server for."""

SHIPPED_EVERY = 15.0
"""Seconds between two scrapes, and between two evaluations, as shipped."""


class Prometheus(Program):
    """Scrapes and evaluates every `every` seconds; else all is as shipped but for addresses."""

    name = "prometheus"

    def __init__(
        self, folder: Path, targets: Mapping[str, str], keys: Path, alertmanager: str, every: int
    ) -> None:
        """`targets`: host and port by the name of the job; `keys`: the folder of its secrets."""
        super().__init__(folder)
        self._targets = targets
        self._keys = keys
        self._alertmanager = alertmanager
        self._every = every

    def arguments(self) -> list[str]:
        config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text("utf-8"))
        assert {job["job_name"] for job in config["scrape_configs"]} >= self._targets.keys()
        config["global"] = dict.fromkeys(config["global"], f"{self._every}s")
        config["rule_files"] = [str(SHIPPED / files) for files in config["rule_files"]]
        (alertmanager,) = config["alerting"]["alertmanagers"]
        alertmanager["static_configs"] = [{"targets": [self._alertmanager]}]
        for job in config["scrape_configs"]:
            target = self._targets.get(job["job_name"], NOBODY)
            job["static_configs"] = [{"targets": [target]}]
            if "authorization" in job:
                file = Path(job["authorization"]["credentials_file"]).name
                job["authorization"]["credentials_file"] = str(self._keys / file)
        file = self.folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        return [
            f"--config.file={file}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            "--web.listen-address=127.0.0.1:0",
        ]

    async def query(self, expression: str, at: float | None = None) -> dict[Any, float]:
        """What an expression is now, or at a moment: values by their labels (items, sorted)."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        told = await self.get("/api/v1/query", query=expression, **when)
        result = told["data"]["result"]
        if told["data"]["resultType"] == "scalar":
            return {(): float(result[1])}
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in result}

    async def value(self, expression: str, at: float | None = None) -> float:
        """The one value of an expression; NaN: there is none."""
        found = await self.query(expression, at)
        assert len(found) <= 1, found
        return next(iter(found.values()), math.nan)

    async def values(self, expression: str, start: float, end: float, step: float) -> list[float]:
        """All that a panel would draw of an expression, without NaN."""
        told = await self.get(
            "/api/v1/query_range",
            query=expression,
            start=f"{start:.3f}",
            end=f"{end:.3f}",
            step=f"{step:g}",
        )
        drawn = [float(value) for one in told["data"]["result"] for _, value in one["values"]]
        return [value for value in drawn if math.isfinite(value)]

    async def names(self) -> set[str]:
        """The names of all series."""
        told = await self.get("/api/v1/label/__name__/values")
        return set(told["data"])
