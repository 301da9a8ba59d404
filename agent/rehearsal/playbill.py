"""What `call` shows: the conversation as it happens, a table of turns, a summary, files."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.events import CallEnded, Event, TurnCommitted, TurnFinished
from agent.rehearsal.verdict import Story
from plugins.line.caller import Utterance
from plugins.line.judge import Verdict
from plugins.line.scenario import Scenario

POOLED = 50
"""Turns from which a 95th percentile says something."""
MEGABYTE = 1_000_000


@dataclass(slots=True)
class Result:
    """One call of a rehearsal. `latencies` in seconds, one an utterance, None where none counts."""

    room: str
    recording: Path
    story: Story
    utterances: Sequence[Utterance]
    latencies: Sequence[float | None]
    verdicts: Sequence[Verdict]

    @property
    def met(self) -> bool:
        """Whether every expectation was met, and the record closed."""
        return self.story.reason is not None and all(verdict.met for verdict in self.verdicts)


class Playbill:
    """Prints one rehearsal and writes its files."""

    def __init__(self, scenario: Scenario, out: Path, *, quiet: bool, calls: int) -> None:
        self._scenario = scenario
        self._out = out
        self._quiet = quiet
        self._single = calls == 1
        self._console = Console(stderr=quiet, highlight=False, emoji=False)
        self._told: dict[tuple[str, int], str] = {}
        if not quiet:
            self._console.print(f"[bold]{scenario.name}[/]: {scenario.about}")
            self._console.print("[dim]starting the worker, then calling[/]")

    def tell(self, room: str, event: Event) -> None:
        """One event of the call in `room`, as it happens."""
        if self._quiet:
            return
        who = "" if self._single else f"[dim]{room[-4:]}[/] "
        match event:
            case TurnCommitted() if event.user_text:
                self._console.print(f"{who}[cyan]caller[/]  {escape(event.user_text)}")
            case TurnFinished() if event.agent_text:
                self._tell_reply(who, event)
            case CallEnded():
                self._console.print(f"{who}[dim]ended:  {event.reason.value}[/]")

    def _tell_reply(self, who: str, event: TurnFinished) -> None:
        """A reply grows while it is recorded: only what is new is printed."""
        known = self._told.get((event.call_id, event.turn), "")
        self._told[event.call_id, event.turn] = event.agent_text
        if new := event.agent_text.removeprefix(known).strip():
            cut = " [dim](interrupted)[/]" if event.interrupted else ""
            self._console.print(f"{who}[green]agent[/]   {escape(new)}{cut}")

    def close(
        self, results: Sequence[Result], memory: Mapping[str, int], *, lateness: float
    ) -> int:
        """Write transcript and summary, print them; the exit code."""
        summary = self._summary(results, memory, lateness)
        for result in results:
            self._write_transcript(result)
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (self._out / "summary.json").write_text(text + "\n", "utf-8")
        if self._quiet:
            print(text)  # noqa: T201 - the command's output
        else:
            self._print_turns(results)
            self._print_summary(summary)
        return 0 if summary["expectations_met"] else 1

    def _summary(
        self, results: Sequence[Result], memory: Mapping[str, int], lateness: float
    ) -> dict[str, Any]:
        latencies = [value for result in results for value in result.latencies if value is not None]
        jobs = [r.story.memory_bytes for r in results if r.story.memory_bytes is not None]
        reasons = {result.story.reason for result in results}
        missed = [
            {"call": r.story.call_id, "step": v.step, "expected": v.expected, "seen": v.seen}
            for r in results
            for v in r.verdicts
            if not v.met
        ]
        return {
            "scenario": self._scenario.name,
            "calls": len(results),
            "turns": sum(1 for r in results for turn in r.story.turns.values() if turn.number),
            "expectations_met": all(result.met for result in results),
            "missed": missed,
            "heard_latency_ms": latency_figures(latencies),
            "end_reason": ", ".join(sorted(r.value if r else "none" for r in reasons)),
            "recording": [str(result.recording) for result in results],
            "record_id": [result.story.call_id for result in results],
            "memory_mb": {
                "job_private": round(statistics.median(jobs) / MEGABYTE, 1) if jobs else None,
                **{name: round(value / MEGABYTE, 1) for name, value in memory.items()},
            },
            "clock_lateness_ms": round(lateness * 1000, 1),
        }

    def _write_transcript(self, result: Result) -> None:
        lines = []
        for turn in result.story.turns.values():
            if turn.user_text:
                lines.append(f"[{turn.at:7.2f}] caller: {turn.user_text}")
            if turn.agent_text:
                lines.append(f"[{turn.at:7.2f}] agent:  {turn.agent_text}")
        path = result.recording.with_suffix(".txt")
        path.write_text("\n".join(lines) + "\n", "utf-8")

    def _print_turns(self, results: Sequence[Result]) -> None:
        table = Table(
            "call", "the caller said", "at s", "heard after ms", title="Heard on the line"
        )
        for result in results:
            for said, latency in zip(result.utterances, result.latencies, strict=True):
                heard = "-" if latency is None else f"{latency * 1000:.0f}"
                table.add_row(result.room[-4:], escape(said.text), f"{said.end:.1f}", heard)
        self._console.print(table)

    def _print_summary(self, summary: Mapping[str, Any]) -> None:
        say = self._console.print
        for miss in summary["missed"]:
            where = "the call" if miss["step"] is None else f"step {miss['step'] + 1}"
            seen = escape(f"{miss['expected']}; seen: {miss['seen']}")
            say(f"[red]not met[/] {where}: {seen}")
        figures, memory = summary["heard_latency_ms"], summary["memory_mb"]
        median, p95, longest = (_or_dash(figures[name], " ms") for name in ("median", "p95", "max"))
        say(f"latency   median {median}, p95 {p95}, max {longest} ({figures['turns']} turns)")
        say(
            f"memory    job {_or_dash(memory['job_private'], ' MB')} private;"
            f" shared: main {memory['main']} MB, forkserver {memory['forkserver']} MB"
        )
        say(f"ended     {summary['end_reason']}")
        say(f"record    {_python()} -m ops calls show {summary['record_id'][0]}")
        say(f"hear it   {summary['recording'][0]}")
        say(f"files     {self._out}")
        met = summary["expectations_met"]
        say("[bold green]all expectations met[/]" if met else "[bold red]expectations not met[/]")


def _or_dash(value: float | None, unit: str) -> str:
    """A figure with its unit; a dash where there is none (p95 needs fifty turns)."""
    return "-" if value is None else f"{value}{unit}"


def _python() -> str:
    """How this Python is called from here."""
    here = Path(sys.executable)
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)


def latency_figures(seconds: Sequence[float]) -> dict[str, int | None]:
    """Median, 95th percentile (from 50 turns on; nearest rank) and maximum in milliseconds."""
    if not seconds:
        return {"median": None, "p95": None, "max": None, "turns": 0}
    ordered = sorted(seconds)
    rank = math.ceil(0.95 * len(ordered)) - 1
    return {
        "median": round(statistics.median(ordered) * 1000),
        "p95": round(ordered[rank] * 1000) if len(ordered) >= POOLED else None,
        "max": round(ordered[-1] * 1000),
        "turns": len(ordered),
    }
