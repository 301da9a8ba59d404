"""The section of canary calls: the product rings itself, and listens whether it is answered."""

from __future__ import annotations

from pydantic import Field

from config.fields import Folder, Number, Seconds, Section, Text, Whole
from config.persona import PhoneNumber

CANARY_PREFIX = "voice-ai-canary-"
"""What the names of rooms for canary calls begin with, unless it is set otherwise: never that of
rooms for calls, so that nobody counts or looks after them as such."""


class Canary(Section):
    """A synthetic call to each worker, every few minutes, made by one `ops serve` of all."""

    enabled: bool = Field(default=False, description="Whether `ops serve` makes them.")
    every: Number = Field(5, ge=0.1, le=1440, description="Minutes from one round to the next.")
    persona: str = Field("", description="Who answers; empty: personas.default.")
    text: str = Field(
        "", description="What the caller says, no numbers; empty: a question of the persona's."
    )
    sound: Folder | None = Field(
        None,
        description="A mono WAV (16 bits) of canary.text; null: the offline voice.",
    )
    greeting_within: Seconds = Field(
        5, gt=0, le=60, description="Seconds from the join to the first sound of the greeting."
    )
    answer_within: Seconds = Field(
        4, gt=0, le=60, description="Seconds from the end of the text to the answer's first sound."
    )
    attempts: Whole = Field(
        2, ge=1, le=5, description="Calls one after another that must fail before that counts."
    )
    drain: bool = Field(
        default=True,
        description="Take a worker out of dispatch that alone fails; never the last one.",
    )
    prefix: Text = Field(CANARY_PREFIX, description="What the names of their rooms begin with.")
    number: PhoneNumber | None = Field(
        None,
        description="Ring this number of ours by outbound.trunk, not a worker by a probe room.",
    )
