"""`python -m ops forget CALLER`: everything about one caller is removed, and does not come back."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from agent.call import now
from config import settings as configured
from ops.recordings.commands import confirm
from ops.recordings.forget import Forgotten, known_of, pseudonym
from ops.recordings.forget import forget as forgotten
from ops.recordings.open import opened, operator, source


def forget(
    caller: Annotated[str, typer.Argument(metavar="CALLER", help="Number, or pseudonym (c-...).")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Remove calls, turns, recordings with their files, rooms and webhooks of one caller.

    A tombstone is left: what a restored backup brings back is removed again.
    """
    settings = configured.load()
    name = pseudonym(caller, settings)

    async def run() -> tuple[Forgotten, bool]:
        async with opened(settings) as studio:
            found = await known_of(studio, name, now())
            if dry_run:
                return found, False
            if not yes:
                confirm(f"Remove {_told(found)} of this caller for ever?")
            return await forgotten(studio, name, operator(), source("forget")), True

    found, done = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(_json(found, done=done), indent=2))
        return
    typer.echo(f"{'removed' if done else 'would be removed'}: {_told(found)}")
    if found.left:
        typer.echo(f"left for the sweep (still being made, or in no reach): {len(found.left)}")
    if found.remains.open_calls:
        typer.echo(f"calls that go on, removed after their end: {len(found.remains.open_calls)}")


def _told(found: Forgotten) -> str:
    remains = found.remains
    counts = {
        "calls": len(remains.calls),
        "turns": remains.turns,
        "recordings": len(found.recordings),
        "rooms": len(remains.rooms),
        "webhooks": remains.webhooks,
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _json(found: Forgotten, *, done: bool) -> dict[str, Any]:
    remains = found.remains
    return {
        "caller": found.caller,
        "removed": done,
        "calls": list(remains.calls),
        "open_calls": list(remains.open_calls),
        "turns": remains.turns,
        "recordings": [row.id for row in found.recordings],
        "left": list(found.left),
        "rooms": list(remains.rooms),
        "webhooks": remains.webhooks,
    }
