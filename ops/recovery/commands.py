"""`python -m ops recover`: steps in order, each followed by a look, until all is well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from agent.errors import VoiceAgentError
from config import settings as configured
from config.errors import nearest
from config.settings import Settings
from ops.doctor.finding import plain
from ops.printing import console, print_json
from ops.recovery.recover import Done, Outcome
from ops.recovery.recover import recover as take
from ops.recovery.steps import NAMES, STEPS, Step

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
MARKS = {"done": "green", "skipped": "dim", "failed": "red"}


def recover(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what each step would do; do nothing.")
    ] = False,
    begin: Annotated[
        str, typer.Option("--from", metavar="STEP", help=f"Begin with it: {', '.join(NAMES)}.")
    ] = "",
    only: Annotated[
        str, typer.Option("--only", metavar="STEP", help="This step alone, also when all is well.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Mend what is broken: each step is followed by a look, and the first that heals is the last.

    No step ends a call: a worker is restarted with no call going on, Redis last. What was done is
    in the audit trail and in data/recovery/. Exit code 0: all is well, 1: something is ill still.
    """
    steps = _chosen(begin, only)
    settings = configured.load()
    if dry_run:
        _plan(settings, steps, as_json=as_json)
        return
    outcome = asyncio.run(
        take(settings, steps, is_asked=bool(only), hear=_say if not as_json else lambda _: None)
    )
    if as_json:
        print_json(outcome.told())
    else:
        _sum_up(outcome)
    failed = any(one.outcome == "failed" for one in outcome.steps) if only else False
    raise typer.Exit(0 if outcome.is_well and not failed else 1)


def _chosen(begin: str, only: str) -> Sequence[Step]:
    if begin and only:
        raise VoiceAgentError("--from and --only: one of them")
    for option, name in (("--from", begin), ("--only", only)):
        if name and name not in NAMES:
            near = nearest(name, NAMES)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(NAMES)}"
            raise VoiceAgentError(f"{option}: no step {name}: {hint}")
    if only:
        return [step for step in STEPS if step.name == only]
    return STEPS[NAMES.index(begin) :] if begin else STEPS


def _plan(settings: Settings, steps: Sequence[Step], *, as_json: bool) -> None:
    plans = {step.name: step.plan(settings) for step in steps}
    if as_json:
        print_json([{"step": name, "would": lines} for name, lines in plans.items()])
        return
    table = Table("step", "would", box=None, pad_edge=False, header_style="bold")
    for name, lines in plans.items():
        table.add_row(Text(name), _lines(lines))
    console().print(table)


def _lines(lines: Sequence[str]) -> Text:
    return Text("\n").join(map(plain, lines))


def _say(one: Done) -> None:
    ill = f" (ill: {', '.join(one.ill)})" if one.ill and one.outcome != "skipped" else ""
    out = console(soft_wrap=True)
    out.print(Text(one.outcome, style=MARKS[one.outcome]), plain(f"{one.step}: {one.told}{ill}"))


def _sum_up(outcome: Outcome) -> None:
    out = console(soft_wrap=True)
    if not outcome.steps:
        out.print("All is well: there is nothing to recover.")
        return
    if outcome.healed_by:
        out.print(f"healed by {outcome.healed_by}")
    for name, detail in outcome.after.items():
        out.print(plain(f"still ill: {name}: {detail}"))
    if outcome.after:
        out.print("Next: python -m ops diagnose; ops/docs/runbook.md; a person.")
    out.print(plain(f"log: {outcome.journal}"))
