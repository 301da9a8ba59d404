"""What an audit recommends, and how urgent that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Area(StrEnum):
    """What a recommendation is about."""

    SECURITY = "security"
    PERFORMANCE = "performance"
    CONFIGURATION = "configuration"


class Priority(StrEnum):
    """How urgent it is, the most urgent first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that was found, and what to do about it. Holds neither secret nor number."""

    area: Area
    priority: Priority
    check: str
    """Which check found it: one that found nothing has passed."""
    found: str
    todo: str

    def told(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def in_order(found: list[Advice]) -> list[Advice]:
    """The most urgent first."""
    order = list(Priority)
    return sorted(found, key=lambda one: order.index(one.priority))
