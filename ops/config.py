"""`python -m ops config`: which settings are in force, and whether all of them are right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import BaseModel, SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.errors import SettingsError, dotted
from config.fields import leaves
from config.persona import load_personas
from config.prices import load_prices
from config.retries import load_retries
from config.settings import Settings, load
from config.sources import masked

app = typer.Typer(name="config", help="Show and check the settings.", no_args_is_help=True)

Dotenv = Annotated[
    Path | None, typer.Option(help="Read this .env file as well, as `dev` and `call` do.")
]


@app.command()
def show(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    dotenv: Dotenv = None,
) -> None:
    """Print every setting with its value and its origin; secrets only as set or not set."""
    try:
        settings = load(dotenv=dotenv)
    except SettingsError as error:
        _refuse(error)
    rows = effective(settings)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table("setting", "value", "origin", box=None, pad_edge=False)
    for key, row in rows.items():
        table.add_row(Text(key), Text(_written(row["value"])), Text(row["origin"]))
    console = Console()
    if not console.is_terminal:
        console.width = 200  # one line a setting for grep
    console.print(table)


@app.command()
def check(*, dotenv: Dotenv = None) -> None:
    """Check the settings and the files they name; problems go to standard error, one a line."""
    try:
        settings = load(dotenv=dotenv)
        personas = load_personas(settings.personas.folder)
        load_prices(settings.costs.prices)
        load_retries(settings.livekit.retry_policies)
    except SettingsError as error:
        _refuse(error)
    typer.echo(
        f"The settings, the personas ({', '.join(personas)}), the prices and the retry policies are"
        " right."
    )


def effective(settings: Settings) -> dict[str, dict[str, Any]]:
    """Tell every setting by its dotted key: {"worker.port": {"value": 8081, "origin": "default"}}.

    A secret's value is "set" or "not set"; a URL comes without its password.
    """
    rows = {}
    for parts, _ in leaves(type(settings)):
        key = dotted(parts)
        value: Any = settings
        for part in parts:
            value = getattr(value, part)
        rows[key] = {"value": _shown(value), "origin": settings.origin(key)}
    return rows


def _shown(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _shown(each) for key, each in value.items()}
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    if isinstance(value, str):
        return masked(value)
    return str(value) if isinstance(value, Path) else value


def _written(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _refuse(error: SettingsError) -> NoReturn:
    for problem in error.problems:
        typer.echo(problem, err=True)
    raise typer.Exit(2)
