"""Trunks and rules between which the server cannot choose, whatever call comes. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from itertools import combinations, product

from ops.sip.matching import is_readable, plain, prepared, rule_conflict
from ops.sip.thing import Thing


def conflicts(things: Iterable[Thing], owner: str) -> Iterator[str]:
    """In words, each pair (or a trunk alone) for which there are calls that end with 503."""
    trunks, rules = prepared(things, owner)
    for trunk in trunks:
        numbers = [plain(number) for number in trunk.fields.get("numbers", [])]
        for number in sorted({one for one in numbers if numbers.count(one) > 1}):
            yield f"{trunk} has the number {number} more than once"
    for one, other in combinations(trunks, 2):
        same_numbers = all(_share(one, other, field) for field in ("numbers", "allowed_numbers"))
        if same_numbers and _share_an_address(one, other):
            yield f"{one} and {other} match the same calls (numbers, callers, addresses)"
    if found := rule_conflict(rules):
        yield found


def _share(one: Thing, other: Thing, field: str) -> bool:
    ours, theirs = (
        {plain(number) for number in thing.fields.get(field, [])} for thing in (one, other)
    )
    if field == "numbers":  # a trunk with the number goes before one for all numbers
        return bool(ours & theirs) or not (ours or theirs)
    return bool(ours & theirs) or not ours or not theirs


def _share_an_address(one: Thing, other: Thing) -> bool:
    ours, theirs = (
        [text for text in thing.fields.get("allowed_addresses", []) if is_readable(text)]
        for thing in (one, other)
    )
    return not ours or not theirs or any(_overlap(*pair) for pair in product(ours, theirs))


def _overlap(one: str, other: str) -> bool:
    try:
        first, second = (ipaddress.ip_network(text, strict=False) for text in (one, other))
    except ValueError:
        return one == other  # host names
    return first.version == second.version and first.overlaps(second)
