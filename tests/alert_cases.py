"""Cases of alerts, all judged by one run of promtool: series go in, an alert fires or does not."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import yaml

RULES = Path(__file__).parents[1] / "ops" / "prometheus" / "rules"
STEPS = 40
"""Minutes that a series lasts: longer than any rule waits."""


@dataclass(frozen=True)
class Case:
    """What must become of one alert with such series."""

    alert: str
    severity: str
    fires: bool
    series: tuple[tuple[str, str], ...]
    about: str = ""
    at: str = f"{STEPS - 2}m"
    interval: str = "1m"

    @property
    def name(self):
        return f"{self.alert}-{self.severity}-{self.about or ('fires' if self.fires else 'silent')}"

    @property
    def expectation(self):
        firing = f'alertname="{self.alert}",alertstate="firing",severity="{self.severity}"'
        return {
            "expr": f"count(ALERTS{{{firing}}}) > bool 0 # {self.name}",  # told when it is not met
            "eval_time": self.at,
            "exp_samples": [{"labels": "{}", "value": 1}] if self.fires else [],
        }


def rules():
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]:
            yield from group["rules"]


def needed(alert):
    """The rules of an alert with the recorded ones that they build upon: others only take time."""
    by_name = {rule["record"]: rule for rule in rules() if "record" in rule}
    alerts = [rule for rule in rules() if rule.get("alert") == alert]
    records, look_at = {}, list(alerts)
    while look_at:
        for name in re.findall(r"voice:[\w:]+", look_at.pop()["expr"]):
            if name not in records:
                records[name] = by_name[name]
                look_at.append(by_name[name])
    return [rule for rule in rules() if rule.get("record") in records], alerts


def unit_test(folder, alert, interval, cases):
    """Write a file for promtool: cases of one alert, those with the same series as one test."""
    expectations = defaultdict(list)
    for case in cases:
        expectations[case.series].append(case.expectation)
    groups = [
        {"name": name, "rules": some}
        for name, some in zip(("records", "alerts"), needed(alert), strict=True)
    ]
    (folder / f"{alert}.rules").write_text(yaml.safe_dump({"groups": groups}))
    told = {
        "rule_files": [f"{alert}.rules"],
        "evaluation_interval": interval,
        "group_eval_order": ["records", "alerts"],
        "tests": [
            {
                "interval": interval,
                "input_series": [{"series": name, "values": values} for name, values in series],
                "promql_expr_test": expected,
            }
            for series, expected in expectations.items()
        ],
    }
    file = folder / f"{alert}-{interval}.yml"
    file.write_text(yaml.safe_dump(told))
    return file


def promtool(*files):
    """The names of the cases that are not as they should be, and all that it said."""
    ran = subprocess.run(
        ["promtool", "test", "rules", *files],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    told = ran.stdout + ran.stderr
    found = set(re.findall(r'expr: ".* # ([\w-]+)", time', told))
    assert bool(found) == (ran.returncode != 0), told
    return found, told
