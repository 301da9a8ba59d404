"""What /incidents and /alerts take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.incidents import Level
from ops.incidents.policy import Kind

MOST_ALERTS = 500
"""Alerts in one request of an Alertmanager."""

Words = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]


class IncidentOut(BaseModel):
    """One incident. What has not happened is null or empty."""

    id: str
    state: str = Field(description="open, acknowledged or closed.")
    level: str
    kind: str
    what: str
    alert: str = Field(description="The alert that opened it.")
    subject: str
    opened_at: datetime
    opened_by: str
    step: int = Field(description="The highest level of people that was called.")
    over_at: datetime | None = Field(description="When the alert ended.")
    acknowledged_at: datetime | None
    acknowledged_by: str
    closed_at: datetime | None
    closed_by: str


class EntryOut(BaseModel):
    """One line of a timeline."""

    at: datetime
    who: str
    event: str
    text: str


class IncidentsOut(BaseModel):
    """The newest first."""

    incidents: list[IncidentOut]


class ReportOut(IncidentOut):
    """An incident with all that is known of it. Spans are seconds."""

    seconds_to_respond: float | None
    seconds_to_resolve: float | None
    response_limit: float
    responded_in_time: bool | None
    timeline: list[EntryOut]
    done: list[EntryOut]
    open_questions: list[str]


class IncidentIn(BaseModel):
    """An incident to be opened."""

    model_config = ConfigDict(extra="forbid")

    level: Level
    kind: Kind
    what: Words


class TextIn(BaseModel):
    """What is said with it."""

    model_config = ConfigDict(extra="forbid")

    text: Words = ""


class NoteIn(TextIn):
    """What is noted: what was seen, what was done, or what nobody knows yet."""

    kind: Literal["note", "done", "question"] = "note"


class AlertIn(BaseModel):
    """One alert as an Alertmanager tells of it."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    fingerprint: Annotated[str, Field(max_length=64)] = ""


class AlertsIn(BaseModel):
    """What an Alertmanager sends (its webhook, version 4)."""

    alerts: Annotated[list[AlertIn], Field(max_length=MOST_ALERTS)]


class AlertsOut(BaseModel):
    """The ids of the incidents that the alerts opened or keep open."""

    incidents: list[str]
