"""How a LiveKit server finds the trunk and the rule of a call. Pure, and field by field.

The order of the checks, what is compared and what is not, and who wins between several, are
those of livekit-server 1.11 (its `protocol/sip` package); a table of calls that were recorded
from it is in the tests. Three things there are easily overlooked:

- numbers of a trunk are compared without their signs, those of a rule as they are written;
- a trunk's addresses are also compared as texts with the From header's host, which the caller
  writes; a host name among them is not looked up;
- a call that matches no trunk is still taken by a rule that names no trunks.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Any

from ops.sip.thing import Kind, Thing


class Outcome(StrEnum):
    """What becomes of a call."""

    TAKEN = "taken"
    PIN = "asked for a PIN"
    DROPPED = "dropped without an answer"  # no rule: the caller hears ringing that never ends
    REFUSED = "refused with 503"  # several trunks or rules that the server cannot choose between


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it arrives: both numbers as the INVITE has them, its source, its From host."""

    caller: str
    called: str
    ip: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """One trunk or rule: `field` is the first that does not match, empty when all do."""

    thing: Thing
    field: str = ""
    why: str = ""
    also: tuple[str, ...] = ()
    """Further fields that do not match: the server never comes to them."""

    @classmethod
    def by(cls, thing: Thing, misses: Iterable[tuple[str, str]]) -> Judged:
        """`misses` are fields and reasons, in the server's order."""
        (field, why), *rest = [*misses] or [("", "")]
        return cls(thing, field, why, tuple(name for name, _ in rest))


@dataclass(frozen=True, slots=True)
class Walk:
    """The server's way through its trunks and rules for one call."""

    outcome: Outcome
    trunks: tuple[Judged, ...]
    rules: tuple[Judged, ...]
    trunk: Thing | None = None
    rule: Thing | None = None
    is_challenged: bool = False
    """The trunk's password is asked for first (407)."""
    conflict: str = ""
    """Why the call is refused."""
    equal: tuple[Thing, ...] = ()
    """Rules that rank with the one that won; among them the lowest id decides."""


def walk(things: Iterable[Thing], owner: str, call: Call) -> Walk:
    """What becomes of `call`; rules name trunks of `owner` by name, as `Server.things` does."""
    trunks, rules = prepared(things, owner)
    looked = tuple(Judged.by(trunk, _trunk_misses(trunk, call)) for trunk in trunks)
    trunk, conflict = _chosen_trunk([one.thing for one in looked if not one.field], call)
    if conflict:
        return Walk(Outcome.REFUSED, looked, (), conflict=conflict)
    judged = tuple(Judged.by(rule, _rule_misses(rule, trunk, call)) for rule in rules)
    auth = trunk.fields.get("auth", {}) if trunk else {}
    is_challenged = bool(auth.get("username"))
    if conflict := rule_conflict(_listed(rules, trunk)):
        return Walk(Outcome.REFUSED, looked, judged, trunk, None, is_challenged, conflict)
    fitting = _best(one.thing for one in judged if not one.field)
    if not fitting:
        return Walk(Outcome.DROPPED, looked, judged, trunk, None, is_challenged)
    outcome = Outcome.PIN if _pin(fitting[0]) else Outcome.TAKEN
    equal = tuple(fitting) if len(fitting) > 1 else ()
    return Walk(outcome, looked, judged, trunk, fitting[0], is_challenged, equal=equal)


def rule_conflict(rules: Sequence[Thing]) -> str:
    """Two rules (or one that says a number twice) for which the server refuses every call."""
    seen: dict[tuple[str, ...], Thing] = {}
    for rule in rules:
        for key in _keys(rule):
            if first := seen.get(key):
                told = zip(("trunk", "number", "caller"), key, strict=False)
                named = ", ".join(f"{word} {value}" for word, value in told if value)
                who = f"{rule} twice has" if first is rule else f"{first} and {rule} have"
                return f"{who} the same calls ({named or 'all'}) with the same PIN"
            seen[key] = rule
    return ""


def prepared(things: Iterable[Thing], owner: str) -> tuple[list[Thing], list[Thing]]:
    """Inbound trunks and rules in the server's order, rules with their trunks' ids."""
    trunks, rules = [], []
    for thing in things:
        known = thing if thing.id else replace(thing, id=thing.name)
        if thing.kind is Kind.INBOUND:
            trunks.append(known)
        elif thing.kind is Kind.RULE:
            rules.append(known)
    ids = {trunk.name: trunk.id for trunk in reversed(trunks) if trunk.owner == owner}
    by_id = [
        replace(rule, fields={**rule.fields, "trunks": [ids.get(one, one) for one in named]})
        if (named := rule.fields.get("trunks"))
        else rule
        for rule in rules
    ]
    return sorted(trunks, key=_identity), sorted(by_id, key=_identity)


def plain(number: str) -> str:
    """Without spaces, hyphens and brackets, with a plus; what is no number stays as it is."""
    if not re.fullmatch(r"\+?[0-9\- ()]+", number):
        return number
    return "+" + re.sub(r"[+\- ()]", "", number)


def is_readable(text: str) -> bool:
    """Whether the server looks at this address at all; when none is left, everybody is let in."""
    return "://" not in text and not set(text) & set("()+*;, \t\n\r")


def is_by_host_only(trunk: Thing, call: Call) -> bool:
    """Whether it is only the From header's host, which the caller chooses, that lets `call` in."""
    readable = [one for one in trunk.fields.get("allowed_addresses", []) if is_readable(one)]
    return bool(readable) and not any(_has(one, call.ip) for one in readable)


def _trunk_misses(trunk: Thing, call: Call) -> Iterator[tuple[str, str]]:
    callers, addresses, numbers = (
        trunk.fields.get(field, []) for field in ("allowed_numbers", "allowed_addresses", "numbers")
    )
    if callers and not _is_number(call.caller, callers):
        yield "allowed_numbers", f"{call.caller} is not among {_list(callers)}"
    if not _is_address(call, addresses):
        yield "allowed_addresses", f"{call.ip} is not in {_list(addresses)}{_unread(addresses)}"
    if numbers and not _is_number(call.called, numbers):
        yield "numbers", f"{call.called} is not among {_list(numbers)}"


def _rule_misses(rule: Thing, trunk: Thing | None, call: Call) -> Iterator[tuple[str, str]]:
    wanted = rule.fields.get("trunks", [])
    if wanted and trunk and trunk.id not in wanted:
        yield "trunks", f"the call came by {trunk}, and the rule is for {_list(wanted)}"
    for field, number in (("inbound_numbers", call.caller), ("numbers", call.called)):
        listed = rule.fields.get(field, [])
        if listed and number not in listed:
            yield field, f"{number} is not among {_list(listed)}{_misspelt(number, listed)}"
    if wanted and trunk is None:
        yield "trunks", f"no trunk matched the call, and the rule is for {_list(wanted)}"


def _chosen_trunk(fitting: Sequence[Thing], call: Call) -> tuple[Thing | None, str]:
    """The trunk, and why the server cannot choose one. A trunk with the number goes first."""
    specific = [trunk for trunk in fitting if trunk.fields.get("numbers")]
    for trunk in specific:
        same = [one for one in trunk.fields["numbers"] if _is_number(call.called, [one])]
        if len(same) > 1:
            return None, f"{trunk} has the number {len(same)} times: {_list(same)}"
    chosen = specific or fitting
    if len(chosen) > 1:
        names = " and ".join(str(trunk) for trunk in chosen)
        both = "have the number" if specific else "are for every number"
        return None, f"{names} {both} and take calls from {call.caller} at {call.ip}"
    return (chosen[0] if chosen else None), ""


def _listed(rules: Sequence[Thing], trunk: Thing | None) -> list[Thing]:
    """The rules that the server looks at: those of the trunk and those of all trunks."""
    return [
        rule
        for rule in rules
        if trunk is None or not (wanted := rule.fields.get("trunks")) or trunk.id in wanted
    ]


def _best(fitting: Iterable[Thing]) -> list[Thing]:
    """The rule that wins, and behind it those of the same rank."""
    there = list(fitting)
    there = [rule for rule in there if rule.fields.get("trunks")] or there
    top = min(map(_rank, there), default=None)
    return [rule for rule in there if _rank(rule) == top]


def _rank(rule: Thing) -> tuple[int, bool, int, str]:
    """The lowest wins: more numbers named, a PIN, then the kind, then the room's name."""
    kinds = [kind for kind in ("direct", "individual", "callee") if kind in rule.fields]
    kind = kinds[0] if kinds else "callee"
    settings: Mapping[str, Any] = rule.fields.get(kind, {})
    room = settings.get("room_name") or settings.get("room_prefix") or ""
    open_to_all = sum(not rule.fields.get(field) for field in ("inbound_numbers", "numbers"))
    return open_to_all, not _pin(rule), ("direct", "individual", "callee").index(kind), room


def _keys(rule: Thing) -> Iterator[tuple[str, ...]]:
    """What no other rule may have, nor the same rule twice: trunk, called, caller and PIN."""
    called, callers = (
        [plain(number) for number in rule.fields.get(field, [])] or [""]
        for field in ("numbers", "inbound_numbers")
    )
    return product(rule.fields.get("trunks") or [""], called, callers, [_pin(rule)])


def _pin(rule: Thing) -> str:
    pins = (rule.fields.get(kind, {}).get("pin") for kind in ("direct", "individual", "callee"))
    return next((pin for pin in pins if pin), "")


def _is_number(number: str, listed: Iterable[str]) -> bool:
    return any(number == one or plain(number) == plain(one) for one in listed)


def _is_address(call: Call, addresses: Iterable[str]) -> bool:
    readable = [one for one in addresses if is_readable(one)]
    return not readable or any(one == call.host or _has(one, call.ip) for one in readable)


def _has(address: str, ip: str) -> bool:
    """Whether the address or network holds the IP; a host name and [::1] hold none."""
    try:
        if "/" not in address:
            return ipaddress.ip_address(ip) == ipaddress.ip_address(address)
        bits = address.rpartition("/")[2]
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        return False
    return bool(re.fullmatch(r"0|[1-9]\d*", bits)) and ipaddress.ip_address(ip) in network


def _misspelt(number: str, listed: Iterable[str]) -> str:
    """A rule's numbers are compared as they are written."""
    same = [one for one in listed if plain(one) == plain(number)]
    return f" (a rule compares as written: {same[0]} is not {number})" if same else ""


def _unread(addresses: Sequence[str]) -> str:
    names = [one for one in addresses if not re.fullmatch(r"[0-9a-fA-F.:]+(/\d+)?", one)]
    told = f" ({_list(names)}: compared with the From header's host, never looked up)"
    return told if names else ""


def _list(values: Iterable[str]) -> str:
    return ", ".join(values)


def _identity(thing: Thing) -> str:
    return thing.id
