"""How fast an incident of each level is to be answered, and when the next level is called. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from config.incidents import Severity

Kind = Literal["auth", "api", "sip", "performance", "security"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Policy:
    """One level of incidents."""

    meaning: str
    severity: Severity
    """Who is told at once (`notification_channels`)."""
    response: timedelta
    """Within this time somebody has acknowledged it."""
    escalation: timedelta
    """After this time the first step is due."""


POLICIES: Mapping[str, Policy] = {
    "P1": Policy("the system is down", "critical", timedelta(minutes=15), timedelta(0)),
    "P2": Policy("much worse than usual", "high", timedelta(hours=1), timedelta(hours=2)),
    "P3": Policy("a part does not work", "medium", timedelta(hours=4), timedelta(hours=8)),
    "P4": Policy("a small matter", "low", timedelta(hours=24), timedelta(hours=48)),
}

STEPS = (timedelta(0), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=2))
"""After the escalation time: level 1 (by itself), 2 (on call), 3 (senior), 4 (management)."""

_KINDS: Mapping[str, Kind] = {
    "security": "security",
    "tokens": "auth",
    "auth": "auth",
    "sip": "sip",
    "telephone": "sip",
    "calls": "sip",
    "performance": "performance",
    "system": "performance",
    "latency": "performance",
}
_WORDS: tuple[tuple[str, Kind], ...] = (
    ("suspicious", "security"),
    ("token", "auth"),
    ("key", "auth"),
    ("sip", "sip"),
    ("latency", "performance"),
    ("cpu", "performance"),
    ("memory", "performance"),
    ("slow", "performance"),
)


def due_at(level: str, climbs_from: datetime, step: int) -> datetime:
    """When this step (1 to 4) is due."""
    return climbs_from + POLICIES[level].escalation + STEPS[step - 1]


def steps_due(level: str, climbs_from: datetime, at: datetime) -> int:
    """The highest step that is due by now; 0: none."""
    steps = range(1, len(STEPS) + 1)
    return max((step for step in steps if due_at(level, climbs_from, step) <= at), default=0)


def kind_of(alert: str, component: str) -> Kind:
    """The kind of an incident that this alert opens."""
    if known := _KINDS.get(component.lower()):
        return known
    return next((kind for word, kind in _WORDS if word in alert.lower()), "api")
