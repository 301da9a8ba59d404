"""How requests to the LiveKit API are repeated: `config/retry_policies.yaml`.

Services are named as in `agent.livekit.LiveKit` (`room`, `sip`), their methods as in LiveKit's API
with small letters: `room.delete_room`, `sip.create_sip_participant`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from livekit.protocol import agent_dispatch, egress, ingress, room, sip
from pydantic import Field, ValidationError, field_validator

from config.errors import SettingsError, explain, nearest
from config.fields import Seconds, Section, Whole
from config.yamlfile import read_yaml

SERVICES = {
    "RoomService": ("room", room),
    "Egress": ("egress", egress),
    "Ingress": ("ingress", ingress),
    "SIP": ("sip", sip),
    "AgentDispatchService": ("agent_dispatch", agent_dispatch),
}
"""LiveKit's own names of its services: ours, and the module that describes the service."""

REPEATABLE = frozenset({"list", "get", "delete", "remove", "update", "mute", "stop"})
"""Methods that begin so leave the same state behind, however often they are asked."""


def method_name(method: str) -> str:
    """`create_sip_participant` for LiveKit's own `CreateSIPParticipant`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", method).lower()


def _methods() -> frozenset[str]:
    return frozenset(
        f"{ours}.{method_name(method.name)}"
        for theirs, (ours, module) in SERVICES.items()
        for method in module.DESCRIPTOR.services_by_name[theirs].methods
    )


METHODS = _methods()
"""Every method of the services, as the installed release knows them: `room.delete_room`."""


class Policy(Section):
    """How one method is asked."""

    attempts: Whole = Field(3, ge=1, le=10, description="Requests at most, with the first one.")
    first_wait: Seconds = Field(
        0.2, gt=0, le=60, description="Seconds before the second request; doubled before each next."
    )
    max_wait: Seconds = Field(
        5,
        gt=0,
        le=300,
        description="Longest wait in seconds; a longer Retry-After ends the attempts at once.",
    )
    timeout: Seconds = Field(10, gt=0, le=300, description="Seconds for each request.")
    repeatable: bool | None = Field(
        None,
        description="Whether to repeat what may have been done; null: list, get, delete, remove,"
        " update, mute and stop only. What was certainly not done is repeated always.",
    )


class Breaker(Section):
    """When a service that keeps failing is left alone."""

    failures: Whole = Field(
        5, ge=0, le=1000, description="Failures in a row after which it is not asked; 0: never."
    )
    open: Seconds = Field(15, gt=0, le=600, description="Seconds until one request tries it again.")


class Change(Section):
    """What differs from the policy above."""

    attempts: Whole | None = Field(None, ge=1, le=10)
    first_wait: Seconds | None = Field(None, gt=0, le=60)
    max_wait: Seconds | None = Field(None, gt=0, le=300)
    timeout: Seconds | None = Field(None, gt=0, le=300)
    repeatable: bool | None = None


class RetryPolicies(Section):
    """The policy of every method, and the breaker of each service."""

    default: Policy = Policy()
    breaker: Breaker = Breaker()
    policies: dict[str, Change] = Field(
        {}, description="What differs by service (`sip`) or method (`sip.create_sip_participant`)."
    )

    @field_validator("policies")
    @classmethod
    def _known(cls, policies: dict[str, Change]) -> dict[str, Change]:
        known = {ours for ours, _ in SERVICES.values()} | METHODS
        for name in policies:
            if name not in known:
                near = nearest(name, known)
                advice = f", did you mean {near}?" if near else " (such as room.delete_room)"
                raise ValueError(f"no service or method {name}{advice}")
        return policies

    def of(self, service: str, method: str) -> Policy:
        """The policy of `room`, `delete_room`: the method's over its service's over the default."""
        told: dict[str, Any] = self.default.model_dump()
        for name in (service, f"{service}.{method}"):
            if change := self.policies.get(name):
                told |= {key: value for key, value in change if value is not None}
        if told["repeatable"] is None:
            told["repeatable"] = method.partition("_")[0] in REPEATABLE
        return Policy(**told)


def load_retries(path: Path) -> RetryPolicies:
    """Read the file. Raises SettingsError with one line for each thing that is wrong."""
    told = read_yaml(path)
    try:
        return RetryPolicies.model_validate(told.data)
    except ValidationError as error:
        raise SettingsError(*explain(error, RetryPolicies, told.where)) from None
