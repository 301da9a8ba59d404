"""Plans for people and for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from ops import printing
from ops.sip.plan import Action, Change, Difference, pending

SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.REFUSED: ("!", "bold red"),
}


def show(changes: Sequence[Change]) -> None:
    """Print what changes, field by field, and a summary line."""
    console = printing.console(soft_wrap=True)
    for change in pending(changes):
        sign, style = SIGNS[change.action]
        identity = f" ({change.there.id})" if change.there else ""
        why = f": {change.why}" if change.why else ""
        console.print(_text(f"{sign} {change.action} {change.thing}{identity}{why}"), style=style)
        for difference in change.differences:
            console.print(_text(f"    {_line(difference)}"))
    console.print(_text(summary(changes)))


def summary(changes: Sequence[Change]) -> str:
    """`2 to create, 1 to delete`, or `no changes`."""
    todo = Counter(change.action for change in pending(changes))
    if not todo:
        return "no changes"
    words = {Action.REFUSED: "refused"}
    return ", ".join(
        f"{todo[action]} {words.get(action, f'to {action}')}" for action in Action if todo[action]
    )


def told(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Every change, also those that change nothing, as JSON's plain values."""
    return [
        {
            "action": str(change.action),
            "kind": change.thing.kind.noun,
            "name": change.thing.name,
            "id": change.there.id if change.there else "",
            "differences": [
                {"field": one.field, "before": one.before, "after": one.after}
                for one in change.differences
            ],
            "why": change.why,
        }
        for change in changes
    ]


def _line(difference: Difference) -> str:
    if difference.before is None:
        return f"{difference.field}: {_value(difference.after)}"
    return f"{difference.field}: {_value(difference.before)} -> {_value(difference.after)}"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(line: str) -> Text:
    """Names come from a server: no markup and no escapes."""
    return Text("".join(char if char.isprintable() else " " for char in line))
