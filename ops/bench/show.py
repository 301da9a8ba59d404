"""The figures of a bench: printed as tables, and kept in RESULTS.md with their source beside it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table
from rich.text import Text

from agent.errors import StartError
from ops import printing
from ops.bench.faults import Result
from ops.bench.judge import Heard
from ops.bench.rows import ROWS
from ops.bench.stage import OURS
from ops.bench.stock import STOCK

HERE = Path(__file__).parent
RESULTS, FIGURES = HERE / "RESULTS.md", HERE / "results.json"
PLUGINS = ("deepgram", "openai", "cartesia")
UNHEARD = "sentence lost"
OUTCOMES = {
    "silence": "silence",
    "late": "late",
    "sentence": "sentence changed",
    "answer": "answer not whole",
    "twice": "answer twice",
    "ending": "wrong end",
    "unsound": "unsound",
}
HEAD = """\
# What callers hear, measured

`python -m ops bench faults`, `slow`, `overhead` and `rooms` write this page; the figures are in
`results.json` beside it. Each row of the faults is one telephone call over a line of 8 kHz, against
stand-ins for the providers on loopback, with the real plugins. The fault begins as the caller
begins to speak for the second time, or where the row says so at the start.
"""
FAULTS = """\
## Faults

Silence: the longest for which the caller, having finished, heard nothing before the answer was
complete (a `+`: it had not ended when the caller gave up). Answer: from the caller's last sound to
the first of the answer or of an honest apology. Allowed are 3.0 s and 8 s. Of two turns that are
judged the worse counts. Stock is the framework with its default settings and the first provider of
each kind; ours has a second one behind each, as installed.
"""


def figures_of(result: Result) -> dict[str, Any]:
    """One call of the matrix as it is kept."""
    turns = result.judged.struck
    longest = max(turns, key=lambda turn: turn.silence, default=None)
    answers = [turn.answered for turn in turns]
    late = max((a for a in answers if a is not None), default=None)
    return {
        "silence": round(longest.silence, 2) if longest else None,
        "unending": bool(longest and longest.unending),
        "answered": None if late is None or None in answers else round(late, 2),
        "fillers": sum(turn.fillers for turn in turns),
        "outcome": outcome(result),
        "ended": result.judged.reason,
        "missed": [str(miss) for miss in result.judged.missed],
        **about(),
    }


def outcome(result: Result) -> str:
    """In a few words, what became of the caller."""
    if not result.judged.missed:
        return "as it should be"
    if any(_is_lost(turn) for turn in result.judged.struck):
        return UNHEARD
    whats = dict.fromkeys(miss.what for miss in result.judged.missed)
    if len(whats) > 1:
        whats.pop("unsound", None)  # a call that ended early, for the other reasons
    return ", ".join(OUTCOMES[what] for what in whats)


def about() -> dict[str, Any]:
    """When and where a figure was taken, in general words."""
    memory = round(psutil.virtual_memory().total / 2**30)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.system()}, {os.cpu_count()} cores, {memory} GB",
        "versions": {
            "python": platform.python_version(),
            "livekit-agents": version("livekit-agents"),
            **{name: version(f"livekit-plugins-{name}") for name in PLUGINS},
        },
    }


def kept(name: str) -> dict[str, Any]:
    """The figures of a kind that are kept; empty when there are none."""
    known = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    figures: dict[str, Any] = known.get(name, {})
    return figures


def keep(name: str, figures: Mapping[str, Any]) -> None:
    """Put figures over those of the same kind, and write the page again. Raises StartError."""
    known: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    known.setdefault(name, {}).update(figures)
    text = json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True)
    try:
        FIGURES.write_text(text + "\n", "utf-8")
        RESULTS.write_text(page(known), "utf-8")
    except OSError as error:
        raise StartError(f"{error.filename} cannot be written: {error.strerror}") from error


def page(known: Mapping[str, Any]) -> str:
    """RESULTS.md."""
    parts = [HEAD]
    if faults := known.get("faults"):
        parts += [FAULTS, _markdown(COLUMNS, _lines(faults)), _source(list(faults.values()))]
    for name, title in TITLES.items():
        if figures := known.get(name):
            rows = [(key, str(value)) for key, value in figures.items() if key in SHOWN[name]]
            parts += [f"## {title}\n", SHOWN[name]["about"]]
            parts += [_markdown(("figure", "value"), rows), _source([figures])]
    return "\n".join(parts)


COLUMNS = (
    *("fault", "language", "ours: silence s", "answer s", "the caller"),
    *("stock: silence s", "answer s", "the caller"),
)
TITLES = {
    "slow": "Slow but healthy",
    "overhead": "What watch and chains cost",
    "rooms": "Telephones that call at one moment",
    "tokens": "Tokens under load",
    "webhooks_sqlite": "Webhooks, kept in SQLite",
    "webhooks_postgresql": "Webhooks, kept in PostgreSQL",
}
_LOAD = dict.fromkeys(
    (
        *("requests", "seconds", "connections", "per_second"),
        *("p50_ms", "p95_ms", "p99_ms", "errors_percent"),
    )
)
STORM = {
    "about": "Events a second that one `ops serve` acknowledged to wrk (32 connections, signed"
    " bodies of calls) until it was killed;\nlost are those acknowledged that were neither in the"
    " database nor in the spool then.\n",
    **dict.fromkeys(
        ("a_second", "acknowledged", "p50_ms", "p99_ms", "cpu_seconds", "refused", "lost")
    ),
}
SHOWN: Mapping[str, Any] = {
    "tokens": {
        "about": "One `ops serve` on SQLite, without a limit for the client, asked by wrk from a"
        " second process.\nWanted: 1000 a second, 60 ms at p95, less than 1 % of errors.\n",
        **_LOAD,
    },
    "slow": {
        "about": "Calls with an LLM of 0.6 s and a voice of 0.3 s to the first of their answer,"
        " behind 0.1 s of a recogniser and the end of the turn.\n",
        **dict.fromkeys(("calls", "at_once", "turns", "fillers", "failovers")),
        **dict.fromkeys(("median_ms", "longest_ms", "late_ms", "not_met")),
    },
    "overhead": {
        "about": "The same calls, in turn, with our turn taking alone and with all of ours.\n",
        **dict.fromkeys(("turns", "ours_ms", "plain_ms", "difference_ms", "late_ms")),
    },
    "webhooks_sqlite": STORM,
    "webhooks_postgresql": STORM,
    "rooms": {
        "about": "Real livekit-server and livekit-sip, the worker with the offline voice and the\n"
        "callers, all on the same machine. Seconds from the caller's join to the greeting.\n",
        **dict.fromkeys(("calls", "answered", "first", "median", "last", "recorded", "cpu")),
    },
}


def print_faults(results: Sequence[Result]) -> None:
    """The matrix, ours beside the stock agent, and what was missed."""
    console = printing.console()
    table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    for line in _lines({key_of(result): figures_of(result) for result in results}):
        table.add_row(*map(Text, line))
    console.print(table)
    for result in results:
        for miss in result.judged.missed:
            console.print(Text(f"{key_of(result)}: {miss}", style="red"))


def key_of(result: Result) -> str:
    """The name of one call among the figures."""
    return f"{result.row.name}/{result.language}/{result.agent}"


def _lines(faults: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    lines = []
    for row in ROWS:
        for language in row.languages:
            both = [faults.get(f"{row.name}/{language}/{agent}") for agent in (OURS, STOCK)]
            if any(both):
                cells = [cell for figures in both for cell in _cells(figures)]
                lines.append((row.title, language, *cells))
    return lines


def _cells(figures: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if figures is None:
        return "", "", ""
    silence, answered = figures["silence"], figures["answered"]
    shown = "-" if silence is None else f"{silence:.1f}{'+' if figures['unending'] else ''}"
    return shown, "never" if answered is None else f"{answered:.1f}", figures["outcome"]


def _is_lost(turn: Heard) -> bool:
    return not turn.committed and turn.answered is None


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _source(figures: Sequence[Mapping[str, Any]]) -> str:
    dates = sorted({one["date"] for one in figures})
    span = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    newest = max(figures, key=lambda one: one["date"])
    versions = ", ".join(f"{name} {number}" for name, number in newest["versions"].items())
    return f"{span}. {newest['machine']}, other work beside it. {versions}.\n"
