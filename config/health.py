"""The section of health: what is checked, how often, and for how long an answer is waited for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.fields import Number, Section, Text


class Health(Section):
    """Checks of all that the product needs (`ops serve`: /health)."""

    every: Annotated[Number, Field(ge=1, le=3600)] = Field(
        15, description="Seconds in which a check runs once at most, however often it is asked."
    )
    within: Annotated[Number, Field(gt=0, le=60)] = Field(
        5, description="Seconds that a check may take."
    )
    monitor: Annotated[Number, Field(ge=1, le=3600)] = Field(
        60, description="Seconds between two rounds of all checks; changes raise alerts."
    )
    paid_every: Annotated[Number, Field(ge=300, le=86400)] = Field(
        300, description="Seconds in which speech and language providers are asked once at most."
    )
    sip_gateways: tuple[Text, ...] = Field(
        (),
        description="Addresses (host, perhaps :port) asked by SIP OPTIONS over UDP; empty: those"
        " of the outbound trunks in config/sip.yaml.",
    )
