"""The sections of webhooks and rooms: what LiveKit tells, and who looks after what it tells of."""

from __future__ import annotations

from pydantic import Field

from config.fields import Seconds, Section, Text, Whole

ROOM_PREFIX = "voice-ai-call-"
"""What the names of rooms for calls begin with, unless it is set otherwise."""


class Webhooks(Section):
    """What LiveKit tells: POST /webhooks/livekit."""

    max_age: Seconds = Field(
        300, ge=1, le=86_400, description="Seconds for which a signature is good."
    )
    spool_bytes: Whole = Field(
        256_000_000,
        ge=1_000_000,
        description="Of the disk, at most, for events that wait for a database that is away.",
    )
    keep_days: Whole = Field(30, ge=1, le=3650, description="Days for which events are kept.")


class Rooms(Section):
    """Who looks after rooms: callers without an agent, records that nobody closes."""

    prefix: Text = Field(ROOM_PREFIX, description="What the names of rooms for calls begin with.")
    look_every: Seconds = Field(
        2.5, ge=0.1, le=60, description="Seconds between two lists of rooms, if webhooks are lost."
    )
    dispatch_after: Seconds = Field(
        5, ge=0.1, le=600, description="Seconds without an agent after which one is called for."
    )
    delete_after: Seconds = Field(
        15, ge=0.1, le=600, description="Seconds without an agent after which the call is ended."
    )
    reconcile_every: Seconds = Field(
        30,
        ge=0.1,
        le=3600,
        description="Seconds between two looks for calls and recordings nobody closes.",
    )
