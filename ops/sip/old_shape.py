"""The flat file of an older system (`livekit-sip-correct.yaml`), in the format of today.

Its shape: trunks [{name, numbers, allowed_addresses, auth_required}], routing [{name, match: {to},
action: livekit_room, template}], connection {timeout, keep_alive, reconnect}, codecs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from config.errors import SettingsError
from config.sip_parts import why_open
from config.yamlfile import read_yaml

TRUNK = frozenset({"name", "numbers", "allowed_addresses", "auth_required"})
ROUTE = frozenset({"name", "match", "action", "template"})
CODECS = {"pcmu": ("PCMU", 8000), "pcma": ("PCMA", 8000), "g722": ("G722", 8000)}
NICKNAMES = {"ulaw": "pcmu", "alaw": "pcma", "g711u": "pcmu", "g711a": "pcma"}
UNIQUE = re.compile(r"\{(call_id|uuid|id|random)\}$")


def translate(path: Path) -> tuple[str, list[str]]:
    """The new file's text, and one line for each thing that has no equivalent or needs a hand.

    `${NAME}` references stay as they are. Raises SettingsError when the file has another shape.
    """
    old = read_yaml(path)
    if not isinstance(old.data.get("trunks"), list):
        raise SettingsError(f"{old.name}: trunks: expected a list of trunks, the old flat shape")
    notes: list[str] = []
    trunks = [_trunk(trunk, notes) for trunk in _mappings(old.data, "trunks", notes)]
    media = _media(old.data.get("codecs"), notes)
    if media:
        trunks = [{**trunk, "media": media} for trunk in trunks]
    routes = _mappings(old.data, "routing", notes)
    rules = [_rule(route, trunks, notes) for route in routes]
    notes += [
        f"connection.{key}: no equivalent (LiveKit SIP keeps its own connections)"
        for key in old.data.get("connection") or {}
    ]
    others = old.data.keys() - {"trunks", "routing", "connection", "codecs"}
    notes += [f"{key}: no equivalent" for key in sorted(others)]
    data = {"owner": "voice-ai", "inbound_trunks": trunks, "dispatch_rules": rules}
    head = "".join(f"# {line}\n" for line in [f"Translated from {path.name}.", *notes])
    return head + "\n" + yaml.safe_dump(data, sort_keys=False, allow_unicode=True), notes


def _mappings(data: Mapping[str, Any], key: str, notes: list[str]) -> list[dict[str, Any]]:
    items = data.get(key) or []
    known = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    if not isinstance(items, list) or len(known) < len(items):
        notes.append(f"{key}: what is no mapping was left out")
    return known


def _trunk(old: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    name = str(old.get("name") or "novofon-inbound")
    trunk: dict[str, Any] = {"name": name, "numbers": _texts(old.get("numbers"))}
    addresses = _texts(old.get("allowed_addresses"))
    told = [one for one in addresses if "${" not in one]  # what a reference holds, `plan` will see
    if addresses:
        trunk["allowed_addresses"] = addresses
    if old.get("auth_required"):
        trunk["auth"] = {"username": "${SIP_USERNAME}", "password": "${SIP_PASSWORD}"}
        notes.append(f"trunks: {name}: auth_required: set SIP_USERNAME and SIP_PASSWORD")
    elif why := "" if (addresses and not told) else why_open(told):
        notes.append(
            f"trunks: {name}: {why}, so `plan` refuses it: name the provider's"
            " allowed_addresses, set auth, or say allow_open: true"
        )
    notes.extend(f"trunks: {name}: {key}: no equivalent" for key in sorted(old.keys() - TRUNK))
    return trunk


def _rule(old: Mapping[str, Any], trunks: list[dict[str, Any]], notes: list[str]) -> dict[str, Any]:
    name = str(old.get("name") or "voice-ai-dispatch")
    given = old.get("match")
    match = given if isinstance(given, dict) else {}
    called = _texts(match.get("to"))
    rule: dict[str, Any] = {"name": name}
    if into := [trunk["name"] for trunk in trunks if set(called) & set(trunk["numbers"])]:
        rule["trunks"] = into
    if called:
        rule["numbers"] = called
    rule |= _room(name, str(old.get("template") or ""), notes)
    rule["room_config"] = {"agents": [{"agent_name": "voice-ai"}]}
    if old.get("action", "livekit_room") != "livekit_room":
        notes.append(f"routing: {name}: action {old['action']}: no equivalent, calls go to a room")
    others = [f"match.{key}" for key in match if key != "to"] + sorted(old.keys() - ROUTE)
    notes += [f"routing: {name}: {key}: no equivalent" for key in others]
    return rule


def _room(name: str, template: str, notes: list[str]) -> dict[str, Any]:
    """A template as one of the three kinds of rule."""
    if template and "{" not in template:
        return {"direct": {"room_name": template}}
    prefix = UNIQUE.sub("", template) or "voice-ai-call-"
    if "{" in prefix:
        notes.append(
            f"routing: {name}: template {template}: no equivalent, rooms are named"
            " voice-ai-call-... (a caller's number would get into names, logs and paths)"
        )
        prefix = "voice-ai-call-"
    return {"callee": {"room_prefix": prefix, "randomize": True}}


def _media(codecs: Any, notes: list[str]) -> dict[str, Any]:
    listed = []
    for codec in _names(codecs):
        known = CODECS.get(NICKNAMES.get(codec.lower(), codec.lower()))
        if known:
            listed.append({"name": known[0], "rate": known[1]})
        else:
            notes.append(f"codecs: {codec}: no equivalent (LiveKit SIP speaks PCMU, PCMA and G722)")
    return {"only_listed_codecs": True, "codecs": listed} if listed else {}


def _names(codecs: Any) -> Iterable[str]:
    if isinstance(codecs, dict):  # {audio: [...], video: [...]}
        codecs = [one for group in codecs.values() for one in (group or [])]
    for codec in codecs or []:
        yield str(codec.get("name", codec) if isinstance(codec, dict) else codec)


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in (value if isinstance(value, list) else [value])]
