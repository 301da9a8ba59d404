"""What people are told: one message with its colour, as it is queued and as it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from config.incidents import Severity
from ops.front.alerts import Alert
from ops.notify.safe import safe, safe_values

RESOLVED = "resolved"
COLOURS: Mapping[str, str] = {
    "critical": "failure",  # red
    "warning": "warning",  # yellow
    "info": "info",  # blue
    RESOLVED: "success",  # green
}
"""By state, the kind of message that apprise gives its colour."""

GROUPS: Mapping[str, Severity] = {"critical": "critical", "warning": "high", "info": "low"}
"""By severity of an alert, who is told (`notification_channels`)."""

COMPONENTS: Mapping[str, str] = {
    "ControlPlaneDown": "ops",
    "recording": "recordings",
    "webhooks_not_kept": "webhooks",
    "caller_without_agent": "calls",
    "call_without_agent_ended": "calls",
    "revocation_unenforced": "tokens",
}
"""By alert, where it does not say so itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `state` is a severity, or RESOLVED."""

    state: str
    severity: str
    name: str
    component: str
    text: str
    at: str
    """UTC, ISO 8601."""
    about: dict[str, str] = field(default_factory=dict)
    incident: str = ""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Message:
        """As `body` made it."""
        return cls(**body)

    def body(self) -> dict[str, Any]:
        """As it is queued."""
        return asdict(self)

    @property
    def title(self) -> str:
        """The subject of a mail."""
        return f"[{self.state.upper()}] {self.name} ({self.component})"

    @property
    def lines(self) -> str:
        """The text: a line a fact."""
        moment = datetime.fromisoformat(self.at).astimezone(UTC)
        told = {
            "Severity": self.severity.upper(),
            "Component": self.component,
            "Time": f"{moment:%Y-%m-%d %H:%M:%S} UTC",
            **{name.replace("_", " ").capitalize(): text for name, text in self.about.items()},
        }
        if self.incident:
            told["Incident"] = f"{self.incident} (python -m ops incident ack {self.incident})"
        return "\n".join([self.text, "", *(f"{name}: {text}" for name, text in told.items())])

    @property
    def colour(self) -> str:
        """Apprise's word for it."""
        return COLOURS.get(self.state, "info")


def of_alert(alert: Alert, incident: str = "") -> Message:
    """What an alert of `ops serve` says."""
    about = safe_values(alert.about)
    return Message(
        state=RESOLVED if alert.level == "info" else alert.level,
        severity=alert.level,
        name=alert.name,
        component=component_of(alert.name, about),
        text=safe(alert.message),
        at=alert.at.isoformat(),
        about={key: text for key, text in about.items() if key != "component"},
        incident=incident,
    )


def component_of(name: str, about: Mapping[str, str]) -> str:
    """The part of the product that an alert is about."""
    if told := about.get("component"):
        return told
    if name.startswith("suspicious_"):
        return "security"
    return COMPONENTS.get(name) or about.get("subject") or "ops"


def subject_of(alert: Alert) -> str:
    """What tells two alerts of one name apart."""
    return str(alert.about.get("subject", ""))


def topic_of(name: str, subject: str) -> str:
    """The topic of an alert and its subject: 64 characters."""
    return sha256(f"{name}\0{subject}".encode()).hexdigest()
