"""The telephone side as a file: trunks and dispatch rules, `config/sip.yaml`.

The keys are those of LiveKit's SIP API (`livekit.protocol.sip`), with short words for its
enumerations, seconds for its durations, and mappings for its JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from config.errors import SettingsError, explain
from config.fields import ROOT, Section, Text
from config.references import resolve
from config.sip_parts import DispatchRule, InboundTrunk, OutboundTrunk, digits
from config.yamlfile import YamlFile, read_yaml

SIP_FILE = ROOT / "config" / "sip.yaml"
PROFILES = ROOT / "config" / "sip_profiles"


class Sip(Section):
    """Every trunk and rule that this file owns."""

    owner: Text = Field(
        "voice-ai", description="Marks what this file owns on the server, in its metadata."
    )
    inbound_trunks: tuple[InboundTrunk, ...] = ()
    outbound_trunks: tuple[OutboundTrunk, ...] = ()
    dispatch_rules: tuple[DispatchRule, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for kind in ("inbound_trunks", "outbound_trunks", "dispatch_rules"):
            names = [one.name for one in getattr(self, kind)]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{kind}: two are named {', '.join(sorted(twice))}")
        known = {trunk.name for trunk in self.inbound_trunks}
        for rule in self.dispatch_rules:
            for trunk in rule.trunks:
                if trunk not in known and not trunk.startswith("ST_"):
                    there = ", ".join(sorted(known)) or "none"
                    raise ValueError(
                        f"dispatch_rules: {rule.name}: no inbound trunk {trunk} (there are:"
                        f" {there}; one outside this file is named by its id, ST_...)"
                    )
        _no_conflict("inbound_trunks", _trunk_keys(self), "number and allowed_numbers")
        _no_conflict("dispatch_rules", _rule_keys(self), "trunk, numbers, inbound_numbers and pin")
        return self


def load_sip(variables: Mapping[str, str], path: Path = SIP_FILE) -> Sip:
    """The file with its `${NAME}` references resolved from `variables`.

    Raises SettingsError with one line for each thing that is wrong.
    """
    file = read_yaml(path)
    data = _with_profiles(file, resolve(file, variables))
    try:
        return Sip.model_validate(data)
    except ValidationError as error:
        raise SettingsError(*explain(error, Sip, file.where)) from None


def owner_in(variables: Mapping[str, str], path: Path = SIP_FILE) -> str:
    """Whose the file is, whether or not the rest of it can be used. Raises SettingsError."""
    file = read_yaml(path)
    told = {key: value for key, value in file.data.items() if key == "owner"}
    try:
        return Sip.model_validate(resolve(replace(file, data=told), variables)).owner
    except ValidationError as error:
        raise SettingsError(*explain(error, Sip, file.where)) from None


def _with_profiles(file: YamlFile, data: dict[str, Any]) -> dict[str, Any]:
    """Each trunk over the defaults of its provider, so that its own keys win."""
    for kind in ("inbound_trunks", "outbound_trunks"):
        trunks = data.get(kind)
        if isinstance(trunks, list):
            data[kind] = [
                _over_profile(file.where((kind, index, "profile")), kind, trunk)
                for index, trunk in enumerate(trunks)
            ]
    return data


def _over_profile(where: str, kind: str, trunk: Any) -> Any:
    if not isinstance(trunk, dict) or "profile" not in trunk:
        return trunk
    profile = PROFILES / f"{trunk['profile']}.yaml"
    there = sorted(file.stem for file in PROFILES.glob("*.yaml"))
    if profile.stem not in there:
        known = ", ".join(there)
        raise SettingsError(
            f"{where}: {kind}.profile: no profile {profile.stem} (there are: {known})"
        )
    own = {key: value for key, value in trunk.items() if key != "profile"}
    return {**(read_yaml(profile).data.get(kind) or {}), **own}


def _trunk_keys(sip: Sip) -> Iterator[tuple[str, tuple[str, ...]]]:
    for trunk in sip.inbound_trunks:
        allowed = [digits(number) for number in trunk.allowed_numbers]
        numbers = [digits(number) for number in trunk.numbers]
        for key in product(numbers or [""], allowed or [""]):
            yield trunk.name, key


def _rule_keys(sip: Sip) -> Iterator[tuple[str, tuple[str, ...]]]:
    for rule in sip.dispatch_rules:
        numbers = [digits(number) for number in rule.numbers]
        callers = [digits(number) for number in rule.inbound_numbers]
        for key in product(rule.trunks or [""], numbers or [""], callers or [""], [rule.pin]):
            yield rule.name, key


def _no_conflict(kind: str, keys: Iterator[tuple[str, tuple[str, ...]]], same: str) -> None:
    """The server refuses two of a kind that would match the same call.

    A number that a trunk has in two spellings it takes, and then refuses every call to it.
    """
    seen: dict[tuple[str, ...], str] = {}
    for name, key in keys:
        first = seen.get(key)
        if first == name:
            raise ValueError(
                f"{kind}: {name} has the same number twice, and the server would refuse its calls"
            )
        if first:
            raise ValueError(f"{kind}: {first} and {name} would match the same calls (same {same})")
        seen[key] = name
