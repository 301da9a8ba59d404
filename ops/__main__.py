"""`python -m ops`: the operators' commands. One file of this package a noun.

A command's modules are loaded when it is asked for: one that lists calls need not wait for those
that serve or measure.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from agent.errors import VoiceAgentError
from config.errors import SettingsError

NOUNS = {
    "alert": "ops.notify.commands",
    "backup": "ops.upkeep.backup_commands",
    "bench": "ops.bench.commands",
    "calls": "ops.calls",
    "clients": "ops.front.commands",
    "config": "ops.config",
    "doctor": "ops.doctor.commands",
    "incident": "ops.incidents.commands",
    "ingress": "ops.ingress.commands",
    "keys": "ops.keys",
    "recordings": "ops.recordings.commands",
    "report": "ops.upkeep.report",
    "sip": "ops.sip.commands",
    "worker": "ops.worker",
}
"""Where the commands of a noun are: the module's `app`."""

VERBS = {
    "audit": (
        "ops.upkeep.audit",
        "Examples: python -m ops audit · audit --days 90 --key-days 365 · audit --out audit.json",
    ),
    "diagnose": (
        "ops.recovery.diagnose",
        "Examples: python -m ops diagnose · diagnose --kind sip · diagnose --hours 1 --json",
    ),
    "cleanup": (
        "ops.upkeep.cleanup",
        "Examples: python -m ops cleanup --json · python -m ops cleanup --yes",
    ),
    "analyze": (
        "ops.upkeep.analyze",
        "Examples: python -m ops analyze --days 7 · python -m ops analyze --days 30 --json",
    ),
    "canary": (
        "ops.canary.commands",
        "Examples: python -m ops canary · python -m ops canary --worker 3f2a --json",
    ),
    "dial": (
        "ops.dial",
        "Example: python -m ops dial +15550100 --persona en --wait",
    ),
    "forget": (
        "ops.forget",
        "Example: python -m ops forget +15550100 --dry-run",
    ),
    "recover": (
        "ops.recovery.commands",
        "Examples: python -m ops recover --dry-run · recover --only reload · recover --json",
    ),
    "restore": (
        "ops.upkeep.restore_commands",
        "Examples: python -m ops restore latest · python -m ops restore 2026 --what logs --yes",
    ),
    "schedule": (
        "ops.upkeep.schedule",
        "Examples: python -m ops schedule cron · python -m ops schedule systemd --out units",
    ),
    "health": (
        "ops.upkeep.health",
        "Examples: python -m ops health · python -m ops health --json --without stt,llm,tts",
    ),
    "serve": (
        "ops.serve",
        "Examples: python -m ops serve --only tokens,health --first-key · serve --without ingress",
    ),
}
"""Commands by themselves: the module's function of that name, and its examples."""


class Commands(TyperGroup):
    """Finds a command by its name, and loads no other."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, as `--help` shows them."""
        del ctx
        return [*NOUNS, *VERBS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        del ctx
        if cmd_name in NOUNS:
            group = get_group(import_module(NOUNS[cmd_name]).app)
            group.name = cmd_name
            return group
        if cmd_name not in VERBS:
            return None
        module, examples = VERBS[cmd_name]
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(cmd_name, epilog=examples)(getattr(import_module(module), cmd_name))
        return get_command(alone)


app = typer.Typer(
    name="python -m ops",
    help="Look after the voice agent.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _look_after() -> None:
    """Look after the voice agent."""


def main() -> None:
    """Run one command; what it refuses is said in a line, with exit code 2."""
    try:
        app()
    except (VoiceAgentError, SettingsError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
