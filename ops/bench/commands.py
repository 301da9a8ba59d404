"""`python -m ops bench`: what callers hear when providers fail; how much the server bears."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.errors import StartError
from ops.bench import http, rooms, rows
from ops.printing import print_json

app = typer.Typer(
    name="bench",
    help="Measure what callers hear, in simulated calls (needs a checkout: the stand-ins for the"
    " providers live with the tests).",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="For machines: every figure.")]
Keep = Annotated[bool, typer.Option("--keep/--no-keep", help="Put the figures into RESULTS.md.")]
AGENTS = {"ours": ("ours",), "stock": ("stock",), "both": ("ours", "stock")}
MOST_OVERHEAD = 60
"""Milliseconds of heard latency that watch and chains may cost."""

app.command(
    "rooms",
    epilog="Examples: python -m ops bench rooms · python -m ops bench rooms --calls 4 --json",
)(rooms.rooms)
app.command(
    "tokens",
    epilog="Examples: python -m ops bench tokens · python -m ops bench tokens --seconds 5 --json",
)(http.tokens)


@app.command(
    "webhooks",
    epilog="Examples: python -m ops bench webhooks · python -m ops bench webhooks --databases"
    " sqlite --no-keep",
)
def storm(
    *,
    seconds: Annotated[int, typer.Option(min=2, max=60, help="Until the server is killed.")] = 10,
    databases: Annotated[
        str, typer.Option(metavar="NAME,...", help="Of sqlite and postgresql.")
    ] = "sqlite,postgresql",
    keep: Keep = True,
    as_json: Json = False,
) -> None:
    """Send webhooks as fast as they are taken; exit code 1 below 300/s, or when one is lost."""
    from ops.bench import webhooks  # noqa: PLC0415

    told = webhooks.measure(tuple(filter(None, databases.split(","))), seconds)
    for name, figures in told.items():
        _tell(f"webhooks_{name}", figures, keep=keep, as_json=as_json)
    if any(webhooks.is_missed(figures) for figures in told.values()):
        raise typer.Exit(1)


@app.command(
    "faults",
    epilog="Examples: python -m ops bench faults --rows stt-drop,llm-hang --agent ours ·"
    " python -m ops bench faults --language ru --out /tmp/faults",
)
def play_faults(
    *,
    names: Annotated[
        str, typer.Option("--rows", metavar="NAME,...", help="Only these (--list names them).")
    ] = "",
    agent: Annotated[str, typer.Option(help="ours, stock or both.")] = "both",
    language: Annotated[str, typer.Option(help="en or ru; else each row's own.")] = "",
    at_once: Annotated[int, typer.Option(min=1, max=20, help="Calls at once.")] = 3,
    out: Annotated[
        Path | None, typer.Option(help="Keep recordings and logs in this folder.")
    ] = None,
    keep: Keep = True,
    as_json: Json = False,
    list_rows: Annotated[bool, typer.Option("--list", help="List the rows.")] = False,
) -> None:
    """Place a call for each way in which a provider fails; exit code 1 when ours is not met."""
    if list_rows:
        for row in rows.ROWS:
            typer.echo(f"{row.name:18} {row.title} ({', '.join(row.languages)})")
        return
    # The framework takes seconds to load: the other commands of operators need none of it.
    from ops.bench import faults, show  # noqa: PLC0415
    from ops.bench.judge import Limits  # noqa: PLC0415

    agents = _agents(agent)
    chosen = rows.cases(_rows(names), _language(language))
    cases = [(each, row, spoken) for each in agents for row, spoken in chosen]

    def told(result: faults.Result) -> None:
        if keep and result.judged.turns:  # else there was no call
            show.keep("faults", {show.key_of(result): show.figures_of(result)})
        typer.echo(f"{show.key_of(result)}: {show.outcome(result)}", err=True)

    results = faults.run(cases, Limits(), at_once, told, out)
    if as_json:
        print_json({show.key_of(result): show.figures_of(result) for result in results})
    else:
        show.print_faults(results)
    if any(result.judged.missed for result in results if result.agent == "ours"):
        raise typer.Exit(1)


@app.command(epilog="Example: python -m ops bench slow --calls 10")
def slow(
    *,
    calls: Annotated[int, typer.Option(min=1, max=1000, help="How many calls.")] = 50,
    at_once: Annotated[int, typer.Option(min=1, max=20, help="Calls at once.")] = 8,
    keep: Keep = True,
    as_json: Json = False,
) -> None:
    """Place calls with healthy but slow providers; exit code 1 for any filler or failover."""
    from ops.bench import healthy  # noqa: PLC0415

    figures = healthy.slow(calls, at_once, lambda line: typer.echo(line, err=True))
    _tell("slow", figures, keep=keep, as_json=as_json)
    if figures["fillers"] or figures["failovers"] or figures["not_met"]:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: python -m ops bench overhead · python -m ops bench overhead --turns 25 --more"
)
def overhead(
    *,
    turns: Annotated[int, typer.Option(min=1, max=1000, help="At least, of each agent.")] = 50,
    more: Annotated[bool, typer.Option("--more", help="Add them to those that are kept.")] = False,
    keep: Keep = True,
    as_json: Json = False,
) -> None:
    """Compare heard latency with and without watch and chains; exit code 1 above 60 ms."""
    from ops.bench import healthy, show  # noqa: PLC0415

    before = show.kept("overhead") if more else None
    figures = healthy.overhead(turns, lambda line: typer.echo(line, err=True), before)
    _tell("overhead", figures, keep=keep, as_json=as_json)
    if figures["difference_ms"] > MOST_OVERHEAD:
        raise typer.Exit(1)


def _tell(name: str, figures: dict[str, Any], *, keep: bool, as_json: bool) -> None:
    from ops.bench import show  # noqa: PLC0415

    if keep:
        show.keep(name, {**figures, **show.about()})
    if as_json:
        print_json(figures)
        return
    for key, value in figures.items():
        if key == "heard_ms":
            continue  # each turn: for machines
        typer.echo(f"{key.replace('_', ' '):14} {value}")


def _agents(agent: str) -> tuple[str, ...]:
    if agent not in AGENTS:
        raise StartError(f"--agent {agent!r}: use {', '.join(AGENTS)}")
    return AGENTS[agent]


def _rows(names: str) -> tuple[str, ...]:
    chosen = tuple(filter(None, names.split(",")))
    for name in chosen:
        if name not in rows.BY_NAME:
            raise StartError(f"--rows {name!r}: there are {', '.join(rows.BY_NAME)}")
    return chosen


def _language(language: str) -> str:
    if language not in ("", *rows.TALKS):
        raise StartError(f"--language {language!r}: use {', '.join(rows.TALKS)}")
    return language
