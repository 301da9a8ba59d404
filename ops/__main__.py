"""`python -m ops`: the operators' commands. One file of this package a noun."""

from __future__ import annotations

import sys

import typer

from agent.errors import VoiceAgentError
from config.errors import SettingsError
from ops import calls, config, keys
from ops.bench import commands as bench
from ops.dial import dial
from ops.doctor import commands as doctor
from ops.forget import forget
from ops.front import commands as clients
from ops.ingress import commands as ingress
from ops.recordings import commands as recordings
from ops.serve import serve
from ops.sip import commands as sip

app = typer.Typer(
    name="python -m ops",
    help="Look after the voice agent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(bench.app)
app.add_typer(calls.app)
app.add_typer(clients.app)
app.add_typer(config.app)
app.add_typer(doctor.app)
app.add_typer(ingress.app)
app.add_typer(keys.app)
app.add_typer(recordings.app)
app.add_typer(sip.app)
app.command(epilog="Example: python -m ops dial +15550100 --persona en --wait")(dial)
app.command(epilog="Example: python -m ops forget +15550100 --dry-run")(forget)
app.command(
    epilog="Examples: python -m ops serve --port 8000 · python -m ops serve --only tokens,health"
    " --first-key · python -m ops serve --without recording,ingress --host 0.0.0.0"
)(serve)


def main() -> None:
    """Run one command; what it refuses is said in a line, with exit code 2."""
    try:
        app()
    except (VoiceAgentError, SettingsError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
