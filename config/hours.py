"""Business hours: weekdays with their spans, dates that are different, in the shop's time zone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from config.fields import Section, Text

Span = tuple[int, int]
"""Minutes after midnight: from, to. Past midnight `to` is 1440 or more."""

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip

DAY = 24 * 60


def _spans(given: Any) -> tuple[Span, ...]:
    """Read `09:00-13:00, 14:00-18:00`; `closed` has none. Raises ValueError."""
    if isinstance(given, tuple):
        return given
    if given == "closed":
        return ()
    if not isinstance(given, str):
        raise ValueError("expected hours such as 09:00-18:00, or closed")  # noqa: TRY004 - pydantic's way
    return tuple(_span(part.strip()) for part in given.split(","))


def _span(text: str) -> Span:
    read = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-4]):([0-5]\d)", text)
    if not read:
        raise ValueError("expected hours such as 09:00-18:00, or closed")
    begin = int(read[1]) * 60 + int(read[2])
    end = int(read[3]) * 60 + int(read[4])
    if end > DAY:
        raise ValueError("a day ends at 24:00")
    if begin == end:
        raise ValueError("hours that begin and end at one time: use 00:00-24:00, or closed")
    return begin, end if end > begin else end + DAY


def known_zone(name: str) -> str:
    """The name of a time zone, checked. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("no such time zone (expected one such as Europe/Moscow)") from None
    return name


Spans = Annotated[tuple[Span, ...], BeforeValidator(_spans)]


class Hours(Section):
    """When a persona answers; a weekday that is not listed is closed."""

    zone: Annotated[Text, AfterValidator(known_zone)] = Field(
        description="The time zone by its name, such as Europe/Moscow."
    )
    week: Mapping[Weekday, Spans] = Field(
        description="Hours by weekday: `monday: 09:00-13:00, 14:00-18:00`. 22:00-06:00 ends on the"
        " next day."
    )
    exceptions: Mapping[date, Spans] = Field(
        default_factory=dict, description="Dates that are different: `2027-01-01: closed`."
    )

    def is_open(self, moment: datetime) -> bool:
        """Whether the persona answers at `moment` (any time zone)."""
        there = moment.astimezone(ZoneInfo(self.zone))
        today, minute = there.date(), there.hour * 60 + there.minute
        # The rest of a night that began yesterday, by the clock on the wall.
        nights = self._of(today - timedelta(days=1))
        return any(begin <= minute < end for begin, end in self._of(today)) or any(
            minute < end - DAY for _, end in nights
        )

    def _of(self, day: date) -> tuple[Span, ...]:
        if day in self.exceptions:
            return self.exceptions[day]
        return self.week.get(WEEKDAYS[day.weekday()], ())
