"""`python -m ops doctor`: everything from the outside in, and `sip`: one call of a telephone."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from config import settings as configured
from ops.doctor import examine, sip
from ops.doctor.finding import show, told, worst

app = typer.Typer(
    name="doctor",
    help="Examine the installation: what was tried, what came back, what to do."
    " Exit code 0: all well, 1: degraded, 2: broken.",
    epilog="Examples: python -m ops doctor · python -m ops doctor --json · python -m ops doctor"
    " --without egress,sip --webhook https://agent.example.com/webhooks · python -m ops doctor sip"
    " --from +70000000001 --to +70000000100 --ip 203.0.113.7",
    invoke_without_command=True,
)
app.command(
    "sip",
    epilog="Examples: python -m ops doctor sip --from +70000000001 --to +70000000100 --ip"
    " 203.0.113.7 · python -m ops doctor sip --file config/sip.yaml --from ... --to ... --ip ..."
    " (before apply) · python -m ops doctor sip (no call: agents and addresses only)",
)(sip.command)


@app.callback()
def doctor(
    context: typer.Context,
    *,
    webhook: Annotated[
        str, typer.Option(metavar="URL", help="Where LiveKit sends webhooks: does it answer?")
    ] = "",
    without: Annotated[
        str,
        typer.Option(metavar="NAME,...", help=f"Leave these out: {', '.join(examine.NAMES)}."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Examine the installation from the outside in, each part within 5 s."""
    if context.invoked_subcommand:
        return
    left_out = {name.strip() for name in without.split(",") if name.strip()}
    if unknown := left_out - set(examine.NAMES):
        names = ", ".join(sorted(unknown))
        raise typer.BadParameter(f"no {names}: there are {', '.join(examine.NAMES)}")
    findings = asyncio.run(examine.examine(configured.environment(), webhook, left_out))
    if as_json:
        result = {"findings": told(findings), "exit": worst(findings)}
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        show(findings)
    raise typer.Exit(worst(findings))
