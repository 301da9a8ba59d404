"""Things to the SIP API's messages and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from livekit.protocol.sip import (
    SIPDispatchRuleInfo,
    SIPInboundTrunkInfo,
    SIPOutboundTrunkInfo,
    SIPStatusCode,
)
from pydantic import BaseModel, SecretStr

from config.sip import Sip
from ops.sip.thing import MARK, SEAL, Kind, Thing, seal

MESSAGES: dict[Kind, type[Message]] = {
    Kind.INBOUND: SIPInboundTrunkInfo,
    Kind.OUTBOUND: SIPOutboundTrunkInfo,
    Kind.RULE: SIPDispatchRuleInfo,
}
IDS = {
    Kind.INBOUND: "sip_trunk_id",
    Kind.OUTBOUND: "sip_trunk_id",
    Kind.RULE: "sip_dispatch_rule_id",
}
RULES = ("direct", "individual", "callee")
DURATIONS = frozenset({"ringing_timeout", "max_call_duration", "media_timeout"})
WORDS: dict[str, dict[str, str]] = {
    "include_headers": {"none": "SIP_NO_HEADERS", "x": "SIP_X_HEADERS", "all": "SIP_ALL_HEADERS"},
    "transport": {name: f"SIP_TRANSPORT_{name.upper()}" for name in ("auto", "udp", "tcp", "tls")},
    "encryption": {
        name: f"SIP_MEDIA_ENCRYPT_{name.upper()}" for name in ("disable", "allow", "require")
    },
    "restart_policy": {"on_failure": "JRP_ON_FAILURE", "never": "JRP_NEVER"},
}
"""Our words for the enumerations of the API. The first of each is its default."""

_BACK = {key: {theirs: ours for ours, theirs in words.items()} for key, words in WORDS.items()}
_KEPT = frozenset(RULES)  # their presence says something, even when they are empty
_FREE = frozenset(
    "metadata attributes headers headers_to_attributes attributes_to_headers tags".split()
)
"""Mappings whose keys are the operator's own."""


def declared(sip: Sip) -> list[Thing]:
    """What the file wants to be there."""
    things = []
    for kind in Kind:
        for section in getattr(sip, kind.value):
            fields = _plain(section)
            name = fields.pop("name")
            fields.pop("allow_open", None)
            # There and back again: both sides of a comparison then went the same way.
            told = read(kind, write(Thing(kind, name, _pruned(fields))), {})
            things.append(
                Thing(kind, name, told.fields, sip.owner, seal=seal(kind, name, told.fields))
            )
    return things


def read(kind: Kind, message: Message, trunk_names: Mapping[str, str]) -> Thing:
    """A message of the server; `trunk_names` by id, of the trunks that a rule may name."""
    told = MessageToDict(message, preserving_proto_field_name=True)
    for field in ("created_at", "updated_at"):
        told.pop(field, None)
    identity, name = told.pop(IDS[kind], ""), told.pop("name", "")
    owner, fingerprint, metadata = _unmarked(told.pop("metadata", ""))
    fields = _ours(told)
    fields["metadata"] = metadata
    old = fields.pop("media_encryption", None)  # deprecated, and the only one of older servers
    if old and "encryption" not in fields.get("media", {}):
        word = _BACK["encryption"][old]
        fields["media"] = {**fields.get("media", {}), "encryption": word}
    if kind is Kind.RULE:
        for rule, value in fields.pop("rule", {}).items():
            fields[rule.removeprefix("dispatch_rule_")] = value
        fields["trunks"] = [trunk_names.get(one, one) for one in fields.pop("trunk_ids", [])]
    else:
        keys = [key for key in fields if key.startswith("auth_")]
        fields["auth"] = {key.removeprefix("auth_"): fields.pop(key) for key in keys}
    return Thing(kind, name, _pruned(fields), owner, identity, fingerprint)


def write(thing: Thing, trunk_ids: Mapping[str, str] | None = None) -> Message:
    """The message without an id; `trunk_ids` by name."""
    fields = dict(thing.fields)
    told = _theirs({key: value for key, value in fields.items() if key != "metadata"})
    told["name"] = thing.name
    told["metadata"] = marked(thing)
    if encryption := told.get("media", {}).get("encryption"):
        told["media_encryption"] = encryption
    if thing.kind is Kind.RULE:
        told["rule"] = {f"dispatch_rule_{rule}": told.pop(rule) for rule in RULES if rule in told}
        told["trunk_ids"] = [(trunk_ids or {}).get(one, one) for one in told.pop("trunks", [])]
    else:
        told |= {f"auth_{key}": value for key, value in told.pop("auth", {}).items()}
    return ParseDict(told, MESSAGES[thing.kind]())


def marked(thing: Thing) -> str:
    """The metadata as the server keeps it: with the mark of its owner."""
    metadata = thing.fields.get("metadata", {})
    if isinstance(metadata, str):  # somebody else's, restored as it was
        return metadata
    mark = {MARK: thing.owner, SEAL: thing.seal}
    whole = {**metadata, **{key: value for key, value in mark.items() if value}}
    return json.dumps(whole, ensure_ascii=False, sort_keys=True) if whole else ""


def _unmarked(text: str) -> tuple[str, str, Any]:
    told = _parsed(text)
    if not isinstance(told, dict):
        return "", "", text
    owner = told.get(MARK)
    if not isinstance(owner, str):
        return "", "", told
    rest = {key: value for key, value in told.items() if key not in {MARK, SEAL}}
    return owner, str(told.get(SEAL, "")), rest


def _parsed(text: str) -> Any:
    """What the text holds when it is a JSON object, else the text itself."""
    try:
        told = json.loads(text)
    except ValueError:
        return text
    return told if isinstance(told, dict) else text


def _theirs(value: Any, key: str = "") -> Any:
    """Our words, seconds and mappings as protobuf's JSON."""
    if key == "metadata" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if key in _FREE or key == "egress":  # the latter is in the API's words already
        return value
    if isinstance(value, dict):
        return {name: _theirs(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_theirs(item) for item in value]
    if key in DURATIONS:
        return f"{value:.9f}s"
    return WORDS[key][value] if key in WORDS else value


def _ours(value: Any, key: str = "") -> Any:
    """Protobuf's JSON in our words. Numbers of enumerations that we do not know stay."""
    if isinstance(value, str):
        return _our_word(value, key)
    if key in _FREE or key == "egress":
        return value
    if isinstance(value, dict):
        return {name: _ours(inner, name) for name, inner in value.items()}
    return [_ours(item) for item in value] if isinstance(value, list) else value


def _our_word(value: str, key: str) -> Any:
    if key == "metadata":
        return _parsed(value)
    if key in DURATIONS:
        seconds = float(value.removesuffix("s"))
        return int(seconds) if seconds.is_integer() else seconds
    if key == "ringing_timeout_status":
        return int(SIPStatusCode.Value(value))
    return _BACK[key].get(value, value) if key in _BACK else value


def _plain(value: Any) -> Any:
    """A section as plain values, its secrets included."""
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _pruned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty or the protocol's default."""
    kept = {}
    for key, value in fields.items():
        slim = value if key in _FREE else _slim(value)
        is_default = not slim or slim == next(iter(WORDS.get(key, {"": ""})))
        if not is_default or (key in _KEPT and value is not None):
            kept[key] = slim
    return kept


def _slim(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _pruned(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_slim(item) for item in value]
    return value
