"""Makes a plan so: first the state before it is saved, then each change is made and audited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from agent.errors import StoreError
from ops.audit import Audit
from ops.sip import saved
from ops.sip.plan import Action, Change, pending, refused
from ops.sip.server import Server, SipError
from ops.sip.thing import Kind, Thing

_ORDER = (
    (Action.DELETE, Kind.RULE),  # what goes may stand in the way of what comes
    (Action.DELETE, Kind.INBOUND),
    (Action.DELETE, Kind.OUTBOUND),
)


async def apply(
    server: Server,
    changes: Sequence[Change],
    there: Sequence[Thing],
    *,
    owner: str,
    folder: Path,
    audit: Audit,
) -> Path | None:
    """Make the changes: the file that holds the state before them, or None without changes.

    Raises SipError: before anything is changed when a change is refused, else at the first
    change that fails; the message then names the saved state.
    """
    todo = pending(changes)
    if reasons := [f"{change.thing}: {change.why}" for change in todo if refused(change)]:
        raise SipError("nothing was changed: " + "; ".join(reasons))
    if not todo:
        return None
    touched = {change.there.id for change in todo if change.there}
    state = [thing for thing in there if thing.owner == owner or thing.id in touched]
    path = saved.save(state, server.url, owner, folder)
    trunk_ids = {
        change.wanted.name: change.there.id
        for change in changes
        if change.wanted and change.there and change.thing.kind is Kind.INBOUND
    }
    for done, change in enumerate(_in_order(todo)):
        try:
            await _make(server, change, trunk_ids, audit)
        except (SipError, StoreError) as error:  # the latter: made, and not in the audit trail
            made = done + isinstance(error, StoreError)
            raise SipError(
                f"{error} ({made} of {len(todo)} changes were made; `python -m ops sip back"
                f" {path}` restores the state before)"
            ) from None
    return path


async def left(
    server: Server, owner: str, again: Callable[[list[Thing]], list[Change]]
) -> list[Change]:
    """What still differs after an apply: fields that the server took and did not keep."""
    return pending(again(await server.things(owner)))


async def _make(server: Server, change: Change, trunk_ids: dict[str, str], audit: Audit) -> None:
    thing, identity = change.thing, change.there.id if change.there else ""
    steps: dict[Action, Callable[[], Awaitable[str | None]]] = {
        Action.CREATE: lambda: server.create(thing, trunk_ids),
        Action.UPDATE: lambda: server.update(change, trunk_ids),
        Action.REPLACE: lambda: server.replace(identity, thing, trunk_ids),
        Action.DELETE: lambda: server.delete(thing),
    }
    identity = await steps[change.action]() or identity
    if thing.kind is Kind.INBOUND and change.action is not Action.DELETE:
        trunk_ids[thing.name] = identity
        if thing.id:  # a restored rule names its trunk by the id of old
            trunk_ids[thing.id] = identity
    audit(f"sip.{change.action}", f"{thing} ({identity})")


def _in_order(changes: Sequence[Change]) -> list[Change]:
    """Deletions first; then trunks before the rules that name them."""
    kinds = list(Kind)

    def rank(change: Change) -> int:
        key = (change.action, change.thing.kind)
        return _ORDER.index(key) if key in _ORDER else len(_ORDER) + kinds.index(change.thing.kind)

    return sorted(changes, key=rank)
