"""`python -m ops bench tokens`: how many tokens one process gives a second, and how fast."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ops.bench import load

LEAST_TOKENS, MOST_MS, MOST_ERRORS = 1000, 60, 1.0
"""Tokens a second, milliseconds at p95, per cent of errors."""


def tokens(
    *,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="How long.")] = 20,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="At once.")] = 16,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Put the figures into RESULTS.md.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Ask one serve process for tokens; exit code 1 below 1000 a second, or above 60 ms at p95."""
    figures = load.measured(
        "/tokens", ["tokens"], _requests, seconds=seconds, connections=connections
    )
    tell("tokens", figures, keep=keep, as_json=as_json)
    if (
        figures["per_second"] < LEAST_TOKENS
        or figures["p95_ms"] >= MOST_MS
        or figures["errors_percent"] >= MOST_ERRORS
    ):
        raise typer.Exit(1)


def tell(name: str, figures: dict[str, Any], *, keep: bool, as_json: bool) -> None:
    """Print the figures, and keep them where that is asked for. Raises StartError."""
    if keep:
        from ops.bench import show  # noqa: PLC0415 - the framework takes seconds to load

        show.keep(name, {**figures, **show.about()})
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    for key, value in figures.items():
        typer.echo(f"{key.replace('_', ' '):16} {value}")


def _requests(served: load.Served) -> list[load.Request]:
    headers = {
        "Authorization": f"Bearer {served.client_key}",
        "Content-Type": "application/json",
    }
    return [
        load.Request(
            json.dumps(
                {
                    "kind": "participant",
                    "identity": f"caller-{number}",
                    "room": f"room-{number % 50}",
                    "name": "Somebody",
                    "attributes": {"floor": "2"},
                }
            ),
            headers,
        )
        for number in range(200)
    ]
