"""What the server has, as a file in the format of `config/sip.yaml`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from config.fields import Key
from config.references import is_secret
from config.sip_parts import InboundTrunk, why_open
from ops.sip.thing import Kind, Thing

_RULE_DEFAULTS: dict[str, dict[str, Any]] = {
    "callee": {"room_prefix": "", "randomize": False},
    "individual": {"room_prefix": ""},
    "room_config": {"agents": []},
}
"""Written out, because leaving them out means something else in our file than in the protocol."""
_UNTOLD = frozenset("auth room_config egress direct individual callee".split())


def export(things: Sequence[Thing], owner: str) -> str:
    """The file's text. Secrets are `${NAME}` references; what needs a hand is said on top."""
    notes: list[str] = []
    trunk_names = _trunk_names(things)
    data: dict[str, Any] = {"owner": owner}
    for kind in Kind:
        data[kind.value] = [
            _entry(thing, trunk_names, notes) for thing in things if thing.kind is kind
        ]
    foreign = [str(thing) for thing in things if thing.owner != owner]
    if foreign:
        notes.append(f"Not ours, `apply` needs --adopt: {', '.join(foreign)}")
    head = ["What the LiveKit server has. Secrets are never written: set the variables.", *notes]
    body = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"# {line}\n" for line in head) + "\n" + body


def _entry(thing: Thing, trunk_names: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    variables: list[str] = []
    fields = _referred(thing, dict(thing.fields), (), variables)
    if variables:
        notes.append(f"{thing}: {', '.join(variables)}")
    if isinstance(fields.get("metadata"), str):
        notes.append(f"{thing}: its metadata is text, kept here under the key `text`")
        fields["metadata"] = {"text": fields["metadata"]}
    if "username" in fields.get("auth", {}) and "password" not in fields["auth"]:
        variable = _variable(thing, ("auth", "password"))
        fields["auth"] = {**fields["auth"], "password": f"${{{variable}}}"}
        notes.append(f"{thing}: {variable} (the server does not tell it)")
    if thing.kind is Kind.RULE:
        _complete_rule(fields, trunk_names)
    if thing.kind is Kind.INBOUND and _is_open(fields):
        fields["allow_open"] = True
        why = why_open(fields.get("allowed_addresses", []))
        notes.append(f"{thing}: {why or 'takes calls from anybody, without authentication'}")
    return {"name": thing.name or thing.id, **fields}


def _complete_rule(fields: dict[str, Any], trunk_names: Mapping[str, str]) -> None:
    if "trunks" in fields:
        fields["trunks"] = [trunk_names.get(one, one) for one in fields["trunks"]]
    for key, defaults in _RULE_DEFAULTS.items():
        if key in fields or key == "room_config":
            fields[key] = {**defaults, **fields.get(key, {})}


def _is_open(fields: Mapping[str, Any]) -> bool:
    """Whether our own rules would refuse the trunk without allow_open."""
    told = {key: fields[key] for key in ("numbers", "allowed_addresses") if key in fields}
    auth = {"username": "x", "password": "x"} if "auth" in fields else None
    try:
        InboundTrunk.model_validate({"name": "x", **told, "auth": auth})
    except ValueError:
        return True
    return False


def _referred(thing: Thing, value: Any, key: Key, variables: list[str]) -> Any:
    """The value with references for its secrets, whose variables are gathered."""
    if isinstance(value, Mapping):
        return {
            name: _referred(thing, inner, (*key, name), variables) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [
            _referred(thing, item, (*key, index), variables) for index, item in enumerate(value)
        ]
    if not is_secret(key):
        return value
    variables.append(_variable(thing, key))
    return f"${{{variables[-1]}}}"


def _variable(thing: Thing, key: Key) -> str:
    """NOVOFON_INBOUND_PASSWORD: the name, and the way to the secret."""
    way = [str(part) for part in key if part not in _UNTOLD]
    kind = ["outbound"] if thing.kind is Kind.OUTBOUND else []  # a trunk in may have its name
    name = "_".join([*kind, thing.name or thing.id, *way]).upper()
    name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return f"SIP_{name}" if name[0].isdigit() else name


def _trunk_names(things: Sequence[Thing]) -> dict[str, str]:
    inbound = [thing for thing in things if thing.kind is Kind.INBOUND and thing.name]
    often = Counter(thing.name for thing in inbound)
    return {thing.id: thing.name for thing in inbound if often[thing.name] == 1}
