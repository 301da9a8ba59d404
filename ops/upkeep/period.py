"""A day or a week of the shop's own time zone, cut into hours or days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Self
from zoneinfo import ZoneInfo

DAYS = {"daily": 1, "weekly": 7}
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """Whole local days, the last of them `last`. A day may have 23 or 25 hours."""

    kind: str
    """`daily` or `weekly`."""
    last: date
    zone: str

    @classmethod
    def before(cls, kind: str, now: datetime, zone: str) -> Self:
        """The period that ended with yesterday."""
        return cls(kind, now.astimezone(ZoneInfo(zone)).date() - timedelta(days=1), zone)

    @property
    def days(self) -> int:
        """How many days it has."""
        return DAYS[self.kind]

    @property
    def start(self) -> datetime:
        """Its beginning, in UTC."""
        return midnight(self.last - timedelta(days=self.days - 1), ZoneInfo(self.zone))

    @property
    def end(self) -> datetime:
        """The moment after it, in UTC."""
        return midnight(self.last + timedelta(days=1), ZoneInfo(self.zone))

    @property
    def start_before(self) -> datetime:
        """Where the period before it begins, of as many days."""
        return midnight(self.last - timedelta(days=2 * self.days - 1), ZoneInfo(self.zone))

    @property
    def edges(self) -> list[datetime]:
        """Where its hours (of a day) or days (of a week) begin, and its end."""
        if self.days > 1:
            return [*day_edges(self.last, self.days, self.zone)]
        edges, at = [], self.start
        while at < self.end:
            edges.append(at)
            at += HOUR
        return [*edges, self.end]

    @property
    def labels(self) -> list[str]:
        """What its hours or days are called: by the clock and the calendar there."""
        form = "%a %d" if self.days > 1 else "%H:%M"
        zone = ZoneInfo(self.zone)
        return [f"{edge.astimezone(zone):{form}}" for edge in self.edges[:-1]]

    @property
    def name(self) -> str:
        """The beginning of its files' names."""
        return f"{self.kind}-{self.last.isoformat()}"


def day_edges(last: date, days: int, zone: str) -> list[datetime]:
    """Where each of `days` local days begins, the last of them `last`, and where that ends."""
    there = ZoneInfo(zone)
    return [midnight(last + timedelta(days=1 - back), there) for back in range(days, -1, -1)]


def midnight(day: date, zone: tzinfo) -> datetime:
    """The beginning of a local day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
