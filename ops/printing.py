"""How commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import typer
from rich.console import Console

WIDTH_OF_A_PIPE = 200
"""Columns where there is no terminal: one line a row, for grep."""


def console(*, soft_wrap: bool = False) -> Console:
    """Standard output; `soft_wrap` leaves long lines to the terminal."""
    made = Console(soft_wrap=soft_wrap)
    if not made.is_terminal:
        made.width = WIDTH_OF_A_PIPE
    return made


def print_json(value: Any) -> None:
    """Print `value` for machines; moments in ISO 8601."""
    typer.echo(as_text(value))


def as_text(value: Any) -> str:
    """The JSON that `print_json` prints."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=datetime.isoformat)
