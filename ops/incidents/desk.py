"""What is done with incidents: opened, acknowledged, noted, escalated, closed.

Each is one transaction with its line of the timeline and the messages that go with it, which
`ops.notify` sends. Methods block, and may raise StoreUnavailable; a command calls them as they
are, `ops serve` on a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agent.call import now
from agent.errors import VoiceAgentError
from agent.store import CallLog
from agent.store.incidents import Entry, Incident, Incidents, Told
from agent.store.silences import Silences
from config.incidents import Contacts
from ops.incidents.policy import KINDS, POLICIES, kind_of
from ops.notify.message import RESOLVED, Message, component_of, topic_of
from ops.notify.safe import safe

LEASE = "incidents"
"""The lease of the `serve` that sends messages and calls people."""

NOTES = ("note", "done", "question")
"""Kinds of notes: what was seen, what was done, what nobody knows yet."""

ALERT = "alert"
"""Who opens an incident that an alert opens."""

BY_ITSELF = "ops serve"
"""Who does what nobody was asked for."""


class IncidentRefused(VoiceAgentError):
    """The incident is not in the state for that, or what was said cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """An alert that opens an incident, or keeps one open."""

    name: str
    subject: str
    text: str
    about: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Desk:
    """The incidents of one database, and who is told of them."""

    log: CallLog
    contacts: Contacts
    clock: Callable[[], datetime] = now

    @property
    def store(self) -> Incidents:
        """Its rows."""
        return Incidents(self.log.engine)

    def open(self, level: str, kind: str, what: str, who: str) -> Incident:
        """Open one by hand. Raises IncidentRefused."""
        if level not in POLICIES:
            raise IncidentRefused(f"no level {level[:16]!r}: use one of {', '.join(POLICIES)}")
        if kind not in KINDS:
            raise IncidentRefused(f"no kind {kind[:16]!r}: use one of {', '.join(KINDS)}")
        incident = self._new(level, kind, _said(what, "what happened"), who)
        return self._keep(incident, announced=True)

    def fired(self, fired: Fired, level: str, *, announced: bool) -> Incident | None:
        """The open incident of an alert, opened if there is none; None where it is silenced.

        `announced`: with a message of its own; without where the alert's message tells of it.
        """
        key = topic_of(fired.name, fired.subject)
        known = self.store.open_of(key)
        if known is not None:
            if known.over_at is not None:
                self._again(known)
            return known
        if Silences(self.log.engine).covering(fired.name, fired.subject, self.clock()):
            return None
        component = component_of(fired.name, fired.about)
        what = safe(f"{fired.name} ({component}): {fired.text}")
        incident = self._new(level, kind_of(fired.name, component), what, ALERT)
        incident = replace(incident, alert=fired.name, subject=safe(fired.subject), open_key=key)
        return self._keep(incident, announced=announced)

    def over(self, name: str, subject: str) -> Incident | None:
        """An alert ended: nobody is called any more. Its incident, which a person closes."""
        incident = self.store.open_of(topic_of(name, subject))
        if incident is None or incident.over_at is not None:
            return incident
        entry = self._entry(incident, "over", BY_ITSELF, "the alert is over")
        self.store.advance(
            incident, entry, values={"over_at": entry.at}, unless=("closed_at", "over_at")
        )
        return incident

    def acknowledge(self, which: str, who: str, text: str = "") -> Incident:
        """Somebody looks after it: nobody else is called. Raises IncidentUnknown, -Refused."""
        incident = self._open_one(which)
        entry = self._entry(incident, "acknowledged", who, safe(text))
        told = self._told(incident, "info", f"acknowledged by {who}")
        values = {"acknowledged_at": entry.at, "acknowledged_by": who}
        unless = ("closed_at", "acknowledged_at")
        if not self.store.advance(incident, entry, told, values, unless=unless):
            by = self.store.get(incident.id).acknowledged_by
            raise IncidentRefused(f"incident {incident.id} was acknowledged by {by or 'another'}")
        return self.store.get(incident.id)

    def note(self, which: str, who: str, text: str, kind: str = "note") -> Incident:
        """Add a line to the timeline; also after the end. Raises IncidentUnknown, -Refused."""
        assert kind in NOTES
        incident = self.store.get(which)
        entry = self._entry(incident, kind, who, _said(text, "what there is to note"))
        self.store.advance(incident, entry, unless=())
        return incident

    def close(self, which: str, who: str, text: str) -> Incident:
        """It is over; `text` says how. Raises IncidentUnknown, IncidentRefused."""
        incident = self._open_one(which)
        said = _said(text, "how it ended")
        entry = self._entry(incident, "closed", who, said)
        told = self._told(incident, RESOLVED, f"closed by {who}: {said}")
        values = {"closed_at": entry.at, "closed_by": who, "open_key": None}
        if not self.store.advance(incident, entry, told, values):
            raise IncidentRefused(f"incident {incident.id} is closed already")
        return self.store.get(incident.id)

    def escalate(self, incident: Incident, step: int) -> bool:
        """Call the people of this level; whether it was done now, and by us."""
        called = self.contacts.escalation(step)
        channels = {name for one in called for name in one.channels}
        group = self.contacts.group(POLICIES[incident.level].severity)
        names = ", ".join(one.name for one in called if one.channels)
        if not channels and step > 1:  # better those of the beginning once more than nobody
            channels, names = set(group), names or "the same as at the beginning"
        if step == 1 and incident.level == "P1":  # they hear of the opening at this moment
            channels -= set(group)
        text = f"level {step}" + (f": {names}" if channels and names else "")
        entry = self._entry(incident, "escalated", BY_ITSELF, text, once=f"step-{step}")
        message = self._message(incident, "critical", f"nobody has acknowledged: level {step}")
        told = Told(channels, message.body())
        unless = ("closed_at", "acknowledged_at", "over_at")
        return self.store.advance(incident, entry, told, {"step": step}, unless=unless)

    def recovery(self, incident: Incident, text: str, *, begins: bool = False) -> bool:
        """Write what automatic recovery does; whether it is ours to begin."""
        once = "recovery" if begins else ""
        entry = self._entry(incident, "recovery", BY_ITSELF, safe(text), once=once)
        return self.store.advance(incident, entry, unless=("closed_at",) if begins else ())

    def _new(self, level: str, kind: str, what: str, who: str) -> Incident:
        at = self.clock()
        return Incident(
            id=secrets.token_hex(4),
            level=level,
            kind=kind,
            what=what,
            opened_at=at,
            climbs_from=at,
            opened_by=who,
        )

    def _keep(self, incident: Incident, *, announced: bool) -> Incident:
        entry = self._entry(incident, "opened", incident.opened_by, incident.what)
        message = self._message(incident, _state(incident.level), incident.what)
        group = self.contacts.group(POLICIES[incident.level].severity)
        told = Told(group if announced else (), message.body())
        return self.store.open(incident, entry, told)

    def _again(self, incident: Incident) -> None:
        """The alert came back: the levels that were not called yet are called from now on."""
        entry = self._entry(incident, "again", BY_ITSELF, "the alert is back")
        self.store.advance(incident, entry, values={"over_at": None, "climbs_from": entry.at})

    def _open_one(self, which: str) -> Incident:
        incident = self.store.get(which)
        if incident.closed_at is not None:
            raise IncidentRefused(f"incident {incident.id} is closed already")
        return incident

    def _told(self, incident: Incident, state: str, text: str) -> Told:
        """A message to all who heard of the incident so far."""
        channels = set(self.contacts.group(POLICIES[incident.level].severity))
        for step in range(1, incident.step + 1):
            channels |= {name for one in self.contacts.escalation(step) for name in one.channels}
        return Told(channels, self._message(incident, state, text).body())

    def _message(self, incident: Incident, state: str, text: str) -> Message:
        return Message(
            state=state,
            severity=_state(incident.level),
            name=f"{incident.level} incident {incident.id}",
            component=incident.kind,
            text=text,
            at=self.clock().isoformat(),
            about={} if text == incident.what else {"what": incident.what},
            incident="" if incident.acknowledged_at or state == RESOLVED else incident.id,
        )

    def _entry(
        self, incident: Incident, event: str, who: str, text: str, once: str = ""
    ) -> Entry:  # fmt: skip
        key = f"{incident.id}:{once}" if once else None
        return Entry(
            incident=incident.id, at=self.clock(), who=who, event=event, text=text, once=key
        )


def _state(level: str) -> str:
    """The severity that gives its messages their colour."""
    return {"P1": "critical", "P2": "warning", "P3": "warning"}.get(level, "info")


def _said(text: str, what: str) -> str:
    said = safe(text)
    if not said:
        raise IncidentRefused(f"say {what}: the text is empty")
    return said
