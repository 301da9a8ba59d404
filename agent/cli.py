"""The command line: a thin one of our own around the framework's.

`dev`, `start`, `console`, `connect` and `download-files` are the framework's commands with our
checks before them; `call` is ours.
"""

from __future__ import annotations

import asyncio
import sys
from ctypes.util import find_library
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from agent.errors import StartError
from agent.start import check_livekit, check_ports, check_ring, prepare, with_livekit
from config.livekit_auth import KeyRing
from config.persona import Persona
from config.settings import Settings

FRAMEWORK_OPTIONS: dict[str, Any] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
    "add_help_option": False,
}
DOTENV = Path(".env")
LIVEKIT_OPTIONS = {"--url": "url", "--api-key": "api_key", "--api-secret": "api_secret"}

app = typer.Typer(
    name="agent.py",
    help="A phone voice agent on LiveKit Agents.",
    epilog="Begin with `python agent.py call`: a call with no server and no keys.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the command line."""
    app()


@app.command(**FRAMEWORK_OPTIONS)
def start() -> None:
    """Serve calls: register with LiveKit and answer (production; SIGTERM drains)."""
    _serve(dotenv=None)


@app.command(**FRAMEWORK_OPTIONS)
def dev() -> None:
    """Serve calls while developing: reads .env, logs in colour, ends at once."""
    _serve(dotenv=DOTENV)


@app.command(**FRAMEWORK_OPTIONS)
def connect() -> None:
    """Answer in one room by name, without dispatch: connect --room NAME."""
    _serve(dotenv=DOTENV)


@app.command(**FRAMEWORK_OPTIONS)
def console() -> None:
    """Talk to the agent with this machine's microphone (needs PortAudio)."""
    if find_library("portaudio") is None:
        _refuse(StartError("console needs PortAudio: install it (Debian: libportaudio2)"))
    _serve(dotenv=DOTENV, needs_livekit=False)


@app.command("download-files", **FRAMEWORK_OPTIONS)
def download_files() -> None:
    """Download the model files that plugins need (ours need none)."""
    from livekit.agents import AgentServer  # noqa: PLC0415

    from agent import framework, speech  # noqa: F401, PLC0415 - with the plugins that it uses

    framework.run_cli(AgentServer())


@app.command()
def call(
    persona: Annotated[str, typer.Option(help="Who answers.")] = "",
    scenario: Annotated[
        str, typer.Option(help="A scenario's name, or a YAML file of your own.")
    ] = "opening-hours",
    wav: Annotated[Path | None, typer.Option(help="A recorded caller instead.")] = None,
    calls: Annotated[int, typer.Option(min=1, max=100, help="Calls at once.")] = 1,
    repeat: Annotated[
        int, typer.Option(min=1, max=100, help="Rounds, one after the other; figures are pooled.")
    ] = 1,
    out: Annotated[Path, typer.Option(help="Where recordings and summaries go.")] = Path("calls"),
    *,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON only.")
    ] = False,
    list_scenarios: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
) -> None:
    """Place simulated calls over a phone line of 8 kHz: no server, no keys.

    For example:

    python agent.py call

    python agent.py call --scenario barge-in --json

    python agent.py call --calls 10 --scenario latency

    python agent.py call --scenario latency --repeat 8

    Exit code 0 only when every expectation of the scenario was met, 1 when one was not.
    """
    from agent.rehearsal import rehearse  # noqa: PLC0415 - the other commands need none of it

    try:
        if list_scenarios:
            rehearse.print_scenarios()
            return
        wish = rehearse.Wish(persona, scenario, wav, calls, repeat, out, json_output)
        raise typer.Exit(rehearse.run(wish, dotenv=DOTENV))
    except StartError as error:
        _refuse(error)


@app.command(hidden=True)
def stage() -> None:
    """Take simulated calls only, from the standard input: the worker of `call`."""
    from agent.rehearsal.stage import play  # noqa: PLC0415 - of no use to the other commands

    try:
        settings, personas = prepare(DOTENV)
        check_ports(settings)
    except StartError as error:
        _refuse(error)
    raise typer.Exit(asyncio.run(play(settings, personas)))


def _serve(*, dotenv: Path | None, needs_livekit: bool = True) -> NoReturn:
    wants_help = "--help" in sys.argv
    try:
        settings, personas = prepare(dotenv)
        settings = with_livekit(settings, _options())
        checks_keys = check_livekit if needs_livekit and not wants_help else check_ring
        ring = checks_keys(settings)
        if not wants_help:
            check_ports(settings)
    except StartError as error:
        _refuse(error)
    _run(settings, personas, ring)


def _run(settings: Settings, personas: dict[str, Persona], ring: KeyRing) -> NoReturn:
    # Loading the framework and the providers' clients takes seconds: a refusal spares them.
    from agent import framework  # noqa: PLC0415
    from agent.worker import VoiceServer  # noqa: PLC0415

    framework.make_lean()
    server = VoiceServer(settings, personas, ring=ring)
    code: int | str | None = 0
    try:
        framework.run_cli(server)
    except SystemExit as stop:
        code = stop.code
    raise SystemExit(server.exit_code or code)


def _options() -> dict[str, str]:
    """What the framework's options say about LiveKit: they win over the settings."""
    given = {}
    for option, name in LIVEKIT_OPTIONS.items():
        for argument, following in zip_longest(sys.argv, sys.argv[1:], fillvalue=""):
            if argument == option:
                given[name] = following
            elif argument.startswith(f"{option}="):
                given[name] = argument.removeprefix(f"{option}=")
    return given


def _refuse(error: StartError) -> NoReturn:
    """Say in one line what is wrong, and exit with 2."""
    for line in str(error).splitlines():
        typer.echo(f"voice-ai: {line}", err=True)
    raise typer.Exit(2)
