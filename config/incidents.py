"""The sections of notifications and incidents, and who is told: `config/incident_contacts.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator

from config.errors import SettingsError, explain, nearest
from config.fields import Folder, Seconds, Section, Text
from config.references import resolve
from config.yamlfile import YamlFile, read_yaml

Severity = Literal["critical", "high", "medium", "low"]
"""Who is told of what: critical alerts and P1, P2 and warnings, P3, P4."""

Level = Literal["P1", "P2", "P3", "P4"]


def _http(url: str) -> str:
    if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
        raise ValueError("expected a URL that begins with http:// or https://")
    if urlsplit(url).username is not None:
        raise ValueError("holds a password: use notifications.alertmanager_token")
    return url.rstrip("/")


class Notifications(Section):
    """Messages of `ops serve` about its own alerts and about incidents."""

    contacts: Folder | None = Field(
        Path("config/incident_contacts.yaml"),
        description="Channels, and who is told of what; null: nobody.",
    )
    alerts: bool = Field(
        default=True,
        description="Send a message for each alert of `ops serve`; false where an Alertmanager"
        " tells of them. Incidents are told of all the same.",
    )
    again_after: Seconds = Field(
        3600, le=604_800, description="Seconds in which the same alert is one message."
    )
    within: Seconds = Field(20, ge=1, le=300, description="Seconds that a channel may take.")
    give_up_after: Seconds = Field(
        86_400, ge=60, le=2_592_000, description="Seconds after which a message is given up."
    )
    alertmanager: Annotated[str, AfterValidator(_http)] = Field(
        "", description="URL of an Alertmanager, such as http://localhost:9093: for silences."
    )
    alertmanager_token: SecretStr = Field(
        SecretStr(""), description="Bearer token, where a proxy in front of it asks for one."
    )


class Incidents(Section):
    """Incidents: who opens them, and what happens by itself."""

    from_alerts: bool = Field(default=True, description="Critical alerts open incidents.")
    alert_level: Level = Field("P1", description="The level of an incident that an alert opens.")
    automatic_recovery: bool = Field(
        default=False, description="Let a new P1 begin with the steps of `ops recover`."
    )


class Channel(Section):
    """One way to reach people: an apprise URL, which is a secret."""

    url: SecretStr = Field(min_length=1)


class Contact(Section):
    """One person or group of an escalation level, and the channels that reach them."""

    name: Text
    channels: tuple[Text, ...] = ()


class Groups(Section):
    """Channels by severity."""

    critical: tuple[Text, ...] = ()
    high: tuple[Text, ...] = ()
    medium: tuple[Text, ...] = ()
    low: tuple[Text, ...] = ()


class Escalation(Section):
    """Who is called level by level, while nobody acknowledges."""

    level_1: tuple[Contact, ...] = ()
    level_2: tuple[Contact, ...] = ()
    level_3: tuple[Contact, ...] = ()
    level_4: tuple[Contact, ...] = ()


class Contacts(Section):
    """The file as a whole. Names of channels are checked."""

    channels: dict[Text, Channel] = Field(default_factory=dict)
    notification_channels: Groups = Groups()
    escalation_contacts: Escalation = Escalation()

    @model_validator(mode="after")
    def _known(self) -> Self:
        groups = self.notification_channels
        named = [name for _, names in groups for name in names]
        named += [name for _, held in self.escalation_contacts for one in held
                  for name in one.channels]  # fmt: skip
        for name in named:
            if name not in self.channels:
                near = nearest(name, self.channels)
                hint = f"did you mean {near}?" if near else "add it to channels"
                raise ValueError(f"no channel {name}: {hint}")
        return self

    def group(self, severity: Severity) -> tuple[str, ...]:
        """The channels that are told of this severity."""
        names: tuple[str, ...] = getattr(self.notification_channels, severity)
        return tuple(dict.fromkeys(names))

    def escalation(self, step: int) -> tuple[Contact, ...]:
        """Who is called at this step, 1 to 4."""
        held: tuple[Contact, ...] = getattr(self.escalation_contacts, f"level_{step}")
        return held


def load_contacts(path: Path | None, variables: Mapping[str, str] | None = None) -> Contacts:
    """Read the file; nobody for None.

    `variables` are what `${NAME}` refers to; without them only names are read, and no secrets.
    Raises SettingsError with one line for each thing that is wrong, such as a variable that is
    not set.
    """
    if path is None:
        return Contacts()
    told = read_yaml(path)
    filled = {key: value for key, value in told.data.items() if value is not None}
    if variables is None:
        data: dict[str, Any] = _without_secrets(filled)
    else:
        data = resolve(YamlFile(told.name, filled, told.lines), variables)
    try:
        return Contacts.model_validate(data)
    except ValidationError as error:
        raise SettingsError(*explain(error, Contacts, told.where)) from None


def _without_secrets(data: dict[Any, Any]) -> dict[str, Any]:
    channels = data.get("channels")
    if not isinstance(channels, dict):
        return data
    return {**data, "channels": {name: {"url": "not read"} for name in channels}}


_DIGITS = 6  # more than enough, and no number that overflows


def duration(text: str) -> timedelta:
    """`90s`, `30m`, `2h`, `1d` as a time span. Raises ValueError."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not number.isascii() or not number.isdigit() or len(number) > _DIGITS:
        raise ValueError("expected a time such as 30m, 2h or 1d")
    span = timedelta(**{units[unit]: int(number)})
    if not timedelta(0) < span <= timedelta(days=366):
        raise ValueError("expected a time between 1s and 366d")
    return span
