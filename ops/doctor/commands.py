"""`python -m ops doctor`: one sub command for each part that can be examined."""

from __future__ import annotations

import typer

from ops.doctor import sip

app = typer.Typer(
    name="doctor",
    help="Examine the installation: what was tried, what came back, what to do."
    " Exit code 0: all well, 1: degraded, 2: broken.",
    no_args_is_help=True,
)
app.command(
    "sip",
    epilog="Examples: python -m ops doctor sip --from +70000000001 --to +70000000100 --ip"
    " 203.0.113.7 · python -m ops doctor sip --file config/sip.yaml --from ... --to ... --ip ..."
    " (before apply) · python -m ops doctor sip (no call: agents and addresses only)",
)(sip.command)


@app.callback()
def _doctor() -> None:
    """Keep `sip` a sub command, also while it is the only one."""
