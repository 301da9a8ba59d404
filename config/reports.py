"""The section of reports and analysis: whose day it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from config.fields import Section, Text
from config.hours import known_zone


class Reports(Section):
    """`python -m ops report` and `analyze`."""

    zone: Annotated[Text, AfterValidator(known_zone)] = Field(
        "UTC", description="The time zone in which a day begins and ends, such as Europe/Moscow."
    )
