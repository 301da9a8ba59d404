"""What is written after an incident: how fast, what happened, what was done, what is open. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.store.incidents import Entry, Incident
from ops.incidents.policy import POLICIES, STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is known of one incident. Spans are seconds, None: not yet."""

    incident: Incident
    timeline: Sequence[Entry]
    at: datetime

    @property
    def to_respond(self) -> float | None:
        """From the opening until somebody acknowledged it, or closed it without."""
        return _span(self.incident.opened_at, _first(self.incident))

    @property
    def to_resolve(self) -> float | None:
        """From the opening to the end."""
        return _span(self.incident.opened_at, self.incident.closed_at)

    @property
    def in_time(self) -> bool | None:
        """Whether the response came in its time; None: there is time left."""
        limit = POLICIES[self.incident.level].response.total_seconds()
        if self.to_respond is not None:
            return self.to_respond <= limit
        return False if (self.at - self.incident.opened_at).total_seconds() > limit else None

    @property
    def done(self) -> list[Entry]:
        """What was done."""
        return [one for one in self.timeline if one.event in {"done", "recovery", "closed"}]

    @property
    def open_questions(self) -> list[str]:
        """What people asked, and what the record leaves open."""
        incident = self.incident
        asked = [one.text for one in self.timeline if one.event == "question"]
        if incident.acknowledged_at is None:
            asked.append("Why did nobody acknowledge it?")
        if self.in_time is False:
            asked.append("Why did the response take longer than it may?")
        if incident.closed_at is None:
            asked.append("It is still open: what is left to do?")
        if incident.alert and incident.over_at is None:
            asked.append(f"Did the alert {incident.alert} end?")
        if not any(one.event in {"done", "recovery"} for one in self.timeline):
            asked.append("What was done? Nobody wrote it down.")
        return asked

    def told(self) -> dict[str, Any]:
        """For machines."""
        return {
            **incident_told(self.incident),
            "seconds_to_respond": self.to_respond,
            "seconds_to_resolve": self.to_resolve,
            "response_limit": POLICIES[self.incident.level].response.total_seconds(),
            "responded_in_time": self.in_time,
            "timeline": [entry_told(one) for one in self.timeline],
            "done": [entry_told(one) for one in self.done],
            "open_questions": self.open_questions,
        }

    def json(self) -> str:
        """The same as a file."""
        return json.dumps(self.told(), ensure_ascii=False, indent=2) + "\n"

    def markdown(self) -> str:
        """For people."""
        incident, policy = self.incident, POLICIES[self.incident.level]
        limit = lasted(policy.response.total_seconds())
        kept = {True: "in time", False: "too late", None: "there is time left"}[self.in_time]
        lines = [
            f"# {incident.level} incident {incident.id}: {_plain(incident.what)}",
            "",
            f"- Level: {incident.level}, {policy.meaning}",
            f"- Kind: {incident.kind}",
            f"- Opened: {_moment(incident.opened_at)} by {_plain(incident.opened_by)}",
            f"- Response: {lasted(self.to_respond)} (within {limit}: {kept})",
            f"- Resolved: {lasted(self.to_resolve)}",
            f"- Highest level that was called: {incident.step} of {len(STEPS)}",
        ]
        if incident.acknowledged_at:
            lines.append(f"- Acknowledged by {_plain(incident.acknowledged_by)}")
        if incident.alert:
            over = _moment(incident.over_at) if incident.over_at else "not over"
            lines.append(f"- Alert: {_plain(incident.alert)}, {over}")
        lines += [
            "",
            "## Timeline",
            "",
            "| time | after | who | what | text |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {_moment(one.at)} | {lasted(_span(incident.opened_at, one.at))} | {_plain(one.who)}"
            f" | {one.event} | {_plain(one.text)} |"
            for one in self.timeline
        ]
        lines += ["", "## What was done", ""]
        lines += [f"- {_plain(one.text)} ({_plain(one.who)})" for one in self.done] or ["- nothing"]
        lines += ["", "## Open questions", ""]
        lines += [f"- {_plain(one)}" for one in self.open_questions] or ["- none"]
        return "\n".join(lines) + "\n"


def incident_told(incident: Incident) -> dict[str, Any]:
    """One incident for machines."""
    names = (
        "id level kind what alert subject opened_at opened_by step over_at acknowledged_at"
        " acknowledged_by closed_at closed_by"
    )
    return {
        "state": state_of(incident),
        **{name: _iso(getattr(incident, name)) for name in names.split()},
    }


def entry_told(entry: Entry) -> dict[str, Any]:
    """One row of a timeline for machines."""
    return {
        name: _iso(getattr(entry, name)) for name in ("at", "who", "event", "text")
    }  # fmt: skip


def state_of(incident: Incident) -> str:
    """`open`, `acknowledged` or `closed`."""
    if incident.closed_at is not None:
        return "closed"
    return "open" if incident.acknowledged_at is None else "acknowledged"


def lasted(seconds: float | None) -> str:
    """A span for people: 4 min 10 s."""
    if seconds is None:
        return "not yet"
    whole = timedelta(seconds=round(max(0.0, seconds)))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "min"), (left, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _first(incident: Incident) -> datetime | None:
    return incident.acknowledged_at or incident.closed_at


def _span(since: datetime, until: datetime | None) -> float | None:
    return None if until is None else (until - since).total_seconds()


def _iso(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _plain(text: str) -> str:
    """A text that is no Markdown and stays in its cell."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in text)
