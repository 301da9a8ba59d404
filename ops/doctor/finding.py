"""What the doctor found, for people and for machines. Exit code 0 well, 1 degraded, 2 broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.text import Text

from ops.printing import console


class Level(IntEnum):
    """How bad it is; the worst is the exit code."""

    WELL = 0
    DEGRADED = 1
    BROKEN = 2


MARKS = {
    Level.WELL: ("ok", "green"),
    Level.DEGRADED: ("degraded", "yellow"),
    Level.BROKEN: ("broken", "bold red"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    tried: str
    came_back: str
    todo: str = ""
    """What to do about it; empty when all is well."""
    check: str = ""
    """Which check found it: one of `ops.doctor.examine.NAMES`, or of what comes before them."""


def worst(findings: Sequence[Finding]) -> Level:
    """The level of the worst of them."""
    return max((finding.level for finding in findings), default=Level.WELL)


def show(findings: Sequence[Finding]) -> None:
    """Print each finding in a line, and below it what to do."""
    console = console_of()
    for finding in findings:
        mark, style = MARKS[finding.level]
        console.print(
            Text(mark, style=style), plain(f"{finding.tried}: {finding.came_back}"), sep="  "
        )
        if finding.todo:
            console.print(plain(f"    -> {finding.todo}"))


def told(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON's plain values."""
    return [
        {
            "level": MARKS[finding.level][0],
            "tried": finding.tried,
            "came_back": finding.came_back,
            "todo": finding.todo,
        }
        for finding in findings
    ]


def console_of() -> Console:
    """Where findings are printed."""
    return console(soft_wrap=True)


def plain(line: str) -> Text:
    """Names come from a server: no markup and no escapes."""
    return Text("".join(char if char.isprintable() else " " for char in line))
