"""What the doctor says of the telephone side: the walk of a call, the agents, the addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from ops.doctor.finding import Finding, Level
from ops.sip.conflicts import conflicts
from ops.sip.matching import Call, Judged, Outcome, Walk, is_by_host_only, walk
from ops.sip.options import Probe, Transport, probe
from ops.sip.thing import Kind, Thing


@dataclass(frozen=True, slots=True)
class Examined:
    """`walk` is None where no call was given."""

    call: Call | None
    walk: Walk | None
    findings: tuple[Finding, ...]


def examine(things: Sequence[Thing], owner: str, call: Call | None, agent_name: str) -> Examined:
    """What becomes of `call` and who answers it; without a call, who answers each rule's calls."""
    rules = [thing for thing in things if thing.kind is Kind.RULE]
    if call is None:
        agents = tuple(_agents(rule, agent_name) for rule in rules) or (_NO_RULES,)
        found = (Finding(Level.DEGRADED, *one) for one in _conflicts(things, owner))
        return Examined(None, None, (*agents, *found))
    walked = walk(things, owner, call)
    findings = [_verdict(walked, call)]
    if walked.rule:
        findings += [_agents(walked.rule, agent_name), *_warnings(walked, call)]
    return Examined(call, walked, tuple(findings))


async def probed(things: Iterable[Thing], addresses: Iterable[str], within: float) -> list[Finding]:
    """What each outbound trunk's address, and each of `addresses`, answers to SIP OPTIONS."""
    asked: list[tuple[str, str, Transport]] = [
        (f"{thing}", thing.fields["address"], thing.fields.get("transport", "auto"))
        for thing in things
        if thing.kind is Kind.OUTBOUND
    ]
    asked += [("address", address, "udp") for address in addresses]
    answers = await asyncio.gather(
        *(probe(address, transport, within) for _, address, transport in asked)
    )
    return [
        _answered(f"OPTIONS to {name} {answer.address}", answer)
        for (name, _, _), answer in zip(asked, answers, strict=True)
    ]


def told(examined: Examined) -> dict[str, Any]:
    """The call and the way of it as JSON's plain values."""
    if examined.walk is None or examined.call is None:
        return {"call": None, "verdict": None, "trunks": [], "rules": []}
    walked = examined.walk
    return {
        "call": asdict(examined.call),
        "verdict": {
            "outcome": walked.outcome.name.lower(),
            "trunk": _named(walked.trunk),
            "rule": _named(walked.rule),
            "challenged": walked.is_challenged,
            "conflict": walked.conflict,
        },
        "trunks": [_judged(one) for one in walked.trunks],
        "rules": [_judged(one) for one in walked.rules],
    }


_NO_RULES = Finding(
    Level.BROKEN,
    "dispatch rules",
    "there are none, so every call is dropped",
    "declare one in config/sip.yaml and run `python -m ops sip apply`",
)


_DIFFER = "make their numbers, addresses or callers differ, or delete one of them"


def _conflicts(things: Sequence[Thing], owner: str) -> Iterator[tuple[str, str, str]]:
    for conflict in conflicts(things, owner):
        yield "trunks and rules", f"some calls are {Outcome.REFUSED}: {conflict}", _DIFFER


def _verdict(walked: Walk, call: Call) -> Finding:
    tried = f"call from {call.caller} to {call.called}, {call.ip}"
    by = f"{walked.trunk}" if walked.trunk else "no trunk"
    asked = ", after the trunk's password (407)" if walked.is_challenged else ""
    match walked.outcome:
        case Outcome.TAKEN:
            return Finding(Level.WELL, tried, f"taken by {by} and {walked.rule}{asked}")
        case Outcome.PIN:
            told_ = f"taken by {by}{asked}, and {walked.rule} asks the caller for a PIN first"
            return Finding(Level.WELL, tried, told_)
        case Outcome.REFUSED:
            return Finding(Level.BROKEN, tried, f"{walked.outcome}: {walked.conflict}", _DIFFER)
    return _dropped(walked, tried, by)


def _dropped(walked: Walk, tried: str, by: str) -> Finding:
    """No rule fits. The nearest miss is what somebody has to change."""
    said = f"{walked.outcome} (the caller hears ringing): {by} and no rule match"
    looked_at = walked.rules if walked.trunk else (walked.trunks or walked.rules)
    misses = sorted((one for one in looked_at if one.field), key=lambda one: len(one.also))
    if not misses:
        lacking = "dispatch rules" if walked.trunk else "trunks"
        todo = "declare one in config/sip.yaml and run `python -m ops sip apply`"
        return Finding(Level.BROKEN, tried, f"{said}; there are no {lacking}", todo)
    nearest = f"{misses[0].thing}: {misses[0].field}: {misses[0].why}"
    todo = "change that field in config/sip.yaml and run `python -m ops sip apply`"
    return Finding(Level.BROKEN, tried, f"{said}; the nearest: {nearest}", todo)


def _warnings(walked: Walk, call: Call) -> list[Finding]:
    found = []
    if walked.trunk and not walked.is_challenged and is_by_host_only(walked.trunk, call):
        came_back = f"takes the call by its From host {call.host} alone, which any caller can write"
        todo = "name the provider's networks in allowed_addresses, or set auth"
        found.append(Finding(Level.DEGRADED, str(walked.trunk), came_back, todo))
    if walked.trunk is None:
        came_back = "takes the call although it matches no trunk: no address, no password asked"
        todo = "name the trunks of this rule, unless everybody on the Internet may call"
        found.append(Finding(Level.DEGRADED, str(walked.rule), came_back, todo))
    if walked.equal:
        names = " and ".join(str(rule) for rule in walked.equal)
        came_back = "rank the same for this call; the lowest id decides"
        todo = "let them differ: numbers, inbound_numbers, PIN, kind or room name"
        found.append(Finding(Level.DEGRADED, names, came_back, todo))
    return found


def _agents(rule: Thing, agent_name: str) -> Finding:
    tried = f"agent of {rule}"
    agents = rule.fields.get("room_config", {}).get("agents", [])
    names = [agent.get("agent_name", "") for agent in agents]
    if agent_name in names:
        return Finding(Level.WELL, tried, f"{agent_name} is dispatched")
    came_back = f"{', '.join(names) or 'nobody'} is dispatched, and the worker is {agent_name}"
    todo = "let room_config.agents name worker.agent_name, or the caller rings in vain"
    return Finding(Level.BROKEN, tried, came_back, todo)


def _answered(tried: str, answer: Probe) -> Finding:
    if answer.code is None:
        todo = "check the address, the transport and the firewall on the way"
        return Finding(Level.DEGRADED, tried, answer.error, todo)
    assert answer.seconds is not None
    came_back = f"{answer.code} {answer.reason} after {answer.seconds * 1000:.0f} ms"
    if answer.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Finding(Level.DEGRADED, tried, came_back, "ask the provider what its server lacks")
    return Finding(Level.WELL, tried, came_back)


def _judged(one: Judged) -> dict[str, Any]:
    return {
        "name": one.thing.name,
        "id": one.thing.id,
        "matches": not one.field,
        "field": one.field,
        "also": list(one.also),
        "why": one.why,
    }


def _named(thing: Thing | None) -> dict[str, str] | None:
    return {"name": thing.name, "id": thing.id} if thing else None
