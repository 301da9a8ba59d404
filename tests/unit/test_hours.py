"""Business hours: by the clock on the shop's wall, with nights, breaks and dates of their own."""

from __future__ import annotations

import pickle
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydantic import ValidationError

from config.hours import Hours

SHOP = """
zone: Europe/Moscow
week:
  monday: 09:00-13:00, 14:00-18:00
  friday: 22:00-06:00
  sunday: 00:00-24:00
exceptions:
  2026-12-31: 10:00-12:00
  2027-01-04: closed
"""


@pytest.fixture(scope="module")
def shop():
    return Hours.model_validate(yaml.safe_load(SHOP))


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23 08:59:59", False),  # a Monday
        ("2026-11-23 09:00", True),
        ("2026-11-23 12:59:59", True),
        ("2026-11-23 13:00", False),
        ("2026-11-23 14:00", True),
        ("2026-11-23 18:00", False),
        ("2026-11-24 12:00", False),  # Tuesday is not listed
        ("2026-11-27 21:59", False),  # Friday night
        ("2026-11-27 22:00", True),
        ("2026-11-28 05:59", True),
        ("2026-11-28 06:00", False),
        ("2026-11-29 00:00", True),  # all of Sunday
        ("2026-11-29 23:59:59.999999", True),
        ("2026-12-31 11:00", True),  # a Thursday that is an exception
        ("2026-12-31 13:00", False),
        ("2027-01-04 10:00", False),  # a Monday that is one
    ],
)
def test_when_it_is_open(shop, moment, is_open):
    there = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Moscow"))
    assert shop.is_open(there) is is_open
    assert shop.is_open(there.astimezone(ZoneInfo("America/New_York"))) is is_open


def test_summer_time_moves_the_hours_with_the_wall_clock():
    london = Hours.model_validate({"zone": "Europe/London", "week": {"monday": "09:00-17:00"}})
    assert london.is_open(datetime(2026, 7, 6, 8, 30, tzinfo=ZoneInfo("UTC")))
    assert not london.is_open(datetime(2026, 12, 7, 8, 30, tzinfo=ZoneInfo("UTC")))


def test_an_exception_ends_the_night_before_it_as_ever_and_begins_none(shop):
    night = Hours.model_validate(
        {
            "zone": "UTC",
            "week": {"friday": "22:00-06:00"},
            "exceptions": {"2026-11-28": "closed", "2026-12-04": "closed"},
        }
    )
    assert night.is_open(datetime(2026, 11, 28, 5, tzinfo=ZoneInfo("UTC")))
    assert not night.is_open(datetime(2026, 12, 5, 5, tzinfo=ZoneInfo("UTC")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "Mars/Olympus", "week": {}},
        {"zone": "UTC", "week": {"someday": "09:00-18:00"}},
        {"zone": "UTC", "week": {"monday": "nine to five"}},
        {"zone": "UTC", "week": {"monday": "09:00-24:30"}},
        {"zone": "UTC", "week": {"monday": "09:00-09:00"}},
        {"zone": "UTC", "week": {"monday": 540}},
        {"zone": "UTC", "week": {}, "exceptions": {"Christmas": "closed"}},
        {"week": {}},
    ],
)
def test_what_is_no_hours_is_refused(wrong):
    with pytest.raises(ValidationError):
        Hours.model_validate(wrong)


def test_hours_travel_to_job_processes(shop):
    assert pickle.loads(pickle.dumps(shop)) == shop
