"""The difference between what the file declares and what the server has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from config.errors import dotted
from config.fields import Key
from config.references import is_secret
from ops.sip.thing import Kind, Thing, is_withheld, leaves, secrets

SHOWN_SECRET, WITHHELD = "***", "(not told)"
_SETS = frozenset("numbers allowed_addresses allowed_numbers inbound_numbers trunks".split())

REACH: dict[Kind, frozenset[str]] = {
    Kind.INBOUND: frozenset("numbers allowed_addresses allowed_numbers auth metadata".split()),
    Kind.OUTBOUND: frozenset("address transport numbers auth metadata".split()),
    Kind.RULE: frozenset("trunks direct individual callee attributes metadata".split()),
}
"""What `update_..._fields` changes. `media` is not here: older servers ignore it in an update."""


class Action(StrEnum):
    """What has to be done with a thing."""

    CREATE = "create"
    UPDATE = "update"  # single fields
    REPLACE = "replace"  # all fields, under the same id
    DELETE = "delete"
    NOTHING = "no change"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field, before and after; None is absent. Secrets are masked."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done with one thing: `there` on the server, `wanted` in the file."""

    action: Action
    there: Thing | None
    wanted: Thing | None
    differences: tuple[Difference, ...] = ()
    why: str = ""

    @property
    def thing(self) -> Thing:
        """The thing, as it is wanted or else as it is there."""
        thing = self.wanted or self.there
        assert thing is not None
        return thing


def plan(
    wanted: Iterable[Thing],
    there: Sequence[Thing],
    owner: str,
    *,
    adopt: Collection[str] = (),
    prune: bool = False,
) -> list[Change]:
    """What makes the server hold what is wanted.

    A thing on the server is matched by kind and name, and is touched only when it carries the
    mark of `owner`, when `adopt` has its name or id, or, to delete it, with `prune`.
    """
    changes, matched = [], set()
    for thing in wanted:
        change = _match(thing, there, owner, adopt)
        changes.append(change)
        if change.there:
            matched.add(change.there.id)
    disputed = {(change.thing.kind, change.thing.name) for change in changes if refused(change)}
    for thing in there:
        ours = thing.owner == owner
        is_disputed = (thing.kind, thing.name) in disputed
        if thing.id not in matched and (ours or (prune and not is_disputed)):
            why = "" if ours else "not ours (--prune)"
            changes.append(Change(Action.DELETE, thing, None, why=why))
    return changes


def refused(change: Change) -> bool:
    """Whether nothing can be done before somebody decides."""
    return change.action is Action.REFUSED


def pending(changes: Iterable[Change]) -> list[Change]:
    """The changes that change something."""
    return [change for change in changes if change.action is not Action.NOTHING]


def compared(there: Thing, wanted: Thing) -> Change:
    """What makes the one like the other, under the id of the first."""
    differences = list(_differences(there, wanted))
    if not differences:
        return Change(Action.NOTHING, there, wanted)
    reached = all(_is_reached(there.kind, key, after) for key, _, after in differences)
    action = Action.UPDATE if reached else Action.REPLACE
    shown = tuple(_shown(*difference) for difference in differences)
    return Change(action, there, wanted, shown)


def created(wanted: Thing) -> Change:
    """What makes the thing."""
    shown = tuple(_shown(key, None, value) for key, value in leaves(wanted.fields))
    return Change(Action.CREATE, None, wanted, shown)


def _match(wanted: Thing, there: Sequence[Thing], owner: str, adopt: Collection[str]) -> Change:
    named = [thing for thing in there if (thing.kind, thing.name) == (wanted.kind, wanted.name)]
    for thing in named:
        if thing.owner == owner:
            return compared(thing, wanted)
    if not named:
        return created(wanted)
    chosen = [one for one in named if one.id in adopt] or [
        one for one in named if one.name in adopt
    ]
    if len(chosen) == 1:
        return compared(chosen[0], wanted)
    ids = ", ".join(thing.id for thing in named)
    why = (
        f"several have this name: --adopt one of {ids}"
        if chosen
        else f"is on the server ({ids}) and not ours: --adopt {wanted.name} takes it over"
    )
    return Change(Action.REFUSED, None, wanted, why=why)


def _differences(there: Thing, wanted: Thing) -> Iterable[tuple[Key, Any, Any]]:
    if there.owner != wanted.owner:
        yield ("owner",), there.owner or None, wanted.owner or None
    if there.name != wanted.name:
        yield ("name",), there.name, wanted.name
    before, after = dict(leaves(there.fields)), dict(leaves(wanted.fields))
    sealed = bool(wanted.seal) and there.seal == wanted.seal
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if is_secret(key) and _is_unknown(old, new, sealed=sealed, seals=bool(wanted.seal)):
            continue
        if _comparable(key, old) != _comparable(key, new):
            yield key, old, new


def _is_unknown(old: Any, new: Any, *, sealed: bool, seals: bool) -> bool:
    """A secret that the server does not tell is the same when its seal is (or cannot be kept)."""
    if new is None or not (old is None or is_withheld(old)):
        return False
    return sealed or (old is not None and not seals)


def _comparable(key: Key, value: Any) -> Any:
    return sorted(value) if key[-1] in _SETS and isinstance(value, list) else value


def _is_reached(kind: Kind, key: Key, after: Any) -> bool:
    if key[0] in {"owner", "name"}:
        return True
    # An update cannot empty a list or take an attribute away, and the realm is not in it.
    cleared = after is None and key[0] not in {"auth", "metadata", "direct", "individual", "callee"}
    return key[0] in REACH[kind] and not cleared and key != ("auth", "realm")


def _shown(key: Key, before: Any, after: Any) -> Difference:
    if is_secret(key):
        before, after = (_masked(value) for value in (before, after))
    return Difference(dotted(key), before, after)


def _masked(value: Any) -> Any:
    if value is None:
        return None
    return WITHHELD if is_withheld(value) else SHOWN_SECRET


def restoring(saved: Iterable[Thing], there: Sequence[Thing], owner: str) -> list[Change]:
    """What brings back a saved state: matched by id, made anew where it is gone.

    What the owner has made since is deleted; what others have is not in a saved state.
    """
    changes = []
    by_id: Mapping[str, Thing] = {thing.id: thing for thing in there}
    kept = set()
    for thing in saved:
        now = by_id.get(thing.id)
        kept.add(thing.id)
        change = compared(now, thing) if now else created(thing)
        changes.append(change if _can_be_written(change) else _untold(change))
    changes += [
        Change(Action.DELETE, thing, None)
        for thing in there
        if thing.id not in kept and thing.owner == owner
    ]
    return changes


def _can_be_written(change: Change) -> bool:
    if change.action not in {Action.CREATE, Action.REPLACE}:
        return True
    auth = change.thing.fields.get("auth", {})
    told = not any(map(is_withheld, secrets(change.thing.fields).values()))
    return told and ("username" not in auth or "password" in auth)


def _untold(change: Change) -> Change:
    why = "the server did not tell its secrets, so they are not in the saved state: use apply"
    return Change(Action.REFUSED, change.there, change.wanted, change.differences, why)
