"""`python -m ops sip`: the telephone side of a LiveKit server from one file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from config import settings as configured
from config.sip import SIP_FILE, load_sip, owner_in
from config.yamlfile import shown
from ops.audit import auditor
from ops.sip import old_shape, saved
from ops.sip.apply import apply as make_so
from ops.sip.apply import left
from ops.sip.export import export as exported
from ops.sip.plan import Action, Change, pending, plan, refused, restoring
from ops.sip.server import SipError, connected
from ops.sip.show import show, summary, told
from ops.sip.thing import Thing
from ops.sip.wire import declared

app = typer.Typer(name="sip", help="Trunks and dispatch rules as code.", no_args_is_help=True)

File = Annotated[Path, typer.Option("--file", help="Instead of config/sip.yaml.")]
Adopt = Annotated[
    list[str] | None,
    typer.Option("--adopt", metavar="NAME", help="Take over what is not ours; or its id."),
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete also what is not ours.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write to this new file.")]

Planner = Callable[[list[Thing]], list[Change]]


@app.command("plan", epilog="Example: python -m ops sip plan --exit-code")
def plan_command(
    *,
    file: File = SIP_FILE,
    adopt: Adopt = None,
    prune: Prune = False,
    as_json: Json = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="1 when there are changes, for CI.")
    ] = False,
) -> None:
    """Print the difference between the file and the server. Changes nothing."""
    owner, planner = _from_file(file, adopt, prune=prune)
    changes = asyncio.run(_planned(owner, planner))
    _print(changes, as_json=as_json)
    if any(map(refused, changes)):
        raise typer.Exit(2)
    if exit_code and pending(changes):
        raise typer.Exit(1)


@app.command("apply", epilog="Example: python -m ops sip apply --adopt novofon-inbound")
def apply_command(
    *,
    file: File = SIP_FILE,
    adopt: Adopt = None,
    prune: Prune = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make the server hold what the file declares; a second time there are no changes."""
    owner, planner = _from_file(file, adopt, prune=prune)

    def ask(changes: Sequence[Change]) -> None:
        theirs = [str(change.thing) for change in changes if _is_pruned(change)]
        if theirs and not yes:
            _confirm(f"Delete what is not ours: {', '.join(theirs)}?")

    asyncio.run(_changed("apply", owner, planner, ask, as_json=as_json))


@app.command("export", epilog="Example: python -m ops sip export --out sip.yaml")
def export_command(*, file: File = SIP_FILE, out: Out = None) -> None:
    """Print what the server has as YAML in the format of config/sip.yaml, without secrets."""
    owner = owner_in(configured.environment(), file)
    _write(exported(asyncio.run(_things(owner)), owner), out)


@app.command(epilog="Example: python -m ops sip destroy --yes")
def destroy(*, file: File = SIP_FILE, yes: Yes = False, as_json: Json = False) -> None:
    """Delete every trunk and rule that carries the mark of the file's owner. Asks first."""
    owner = owner_in(configured.environment(), file)

    def ask(changes: Sequence[Change]) -> None:
        if changes and not yes:
            names = ", ".join(str(change.thing) for change in changes)
            _confirm(f"Delete {names}?")

    planner: Planner = lambda there: plan([], there, owner)  # noqa: E731  a name for the type
    asyncio.run(_changed("destroy", owner, planner, ask, as_json=as_json))


@app.command(epilog="Example: python -m ops sip back (the newest saved state)")
def back(
    file: Annotated[Path | None, typer.Argument(help="A saved state; else the newest.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Restore the state before an apply, destroy or back."""
    settings = configured.load()
    path = file or saved.newest(_folder(settings))
    url, owner, things = saved.load(path)
    if url != settings.livekit.url:
        raise SipError(
            f"{shown(path)} was saved from {url}, and LIVEKIT_URL is {settings.livekit.url}"
        )
    planner: Planner = lambda there: restoring(things, there, owner)  # noqa: E731  as above
    asyncio.run(_changed(f"back {path.name}", owner, planner, lambda _: None, as_json=as_json))


@app.command("import", epilog="Example: python -m ops sip import livekit-sip-correct.yaml")
def import_command(
    file: Annotated[Path, typer.Argument(help="A file in the old flat shape.")], *, out: Out = None
) -> None:
    """Translate the old flat file into ours; what has no equivalent is named on standard error."""
    text, notes = old_shape.translate(file)
    _write(text, out)
    for note in notes:
        typer.echo(note, err=True)


def _from_file(file: Path, adopt: list[str] | None, *, prune: bool) -> tuple[str, Planner]:
    sip = load_sip(configured.environment(), file)
    wanted = declared(sip)

    def planner(there: list[Thing]) -> list[Change]:
        known = {text for thing in there for text in (thing.name, thing.id)}
        if missing := set(adopt or ()) - known:
            names = ", ".join(sorted(missing))
            raise SipError(f"--adopt: nothing on the server is named {names}")
        return plan(wanted, there, sip.owner, adopt=adopt or (), prune=prune)

    return sip.owner, planner


async def _things(owner: str) -> list[Thing]:
    async with connected(configured.load()) as server:
        return await server.things(owner)


async def _planned(owner: str, planner: Planner) -> list[Change]:
    return planner(await _things(owner))


async def _changed(
    command: str,
    owner: str,
    planner: Planner,
    ask: Callable[[Sequence[Change]], None],
    *,
    as_json: bool,
) -> None:
    settings = configured.load()
    async with connected(settings) as server:
        there = await server.things(owner)
        changes = planner(there)
        if not as_json:
            show(changes)
        ask(changes)
        if not pending(changes):
            _finish(changes, None, as_json=as_json)
            return
        with auditor(settings, f"sip {command}") as audit:
            path = await make_so(
                server, changes, there, owner=owner, folder=_folder(settings), audit=audit
            )
        _finish(changes, path, as_json=as_json)
        if not command.startswith("back") and (rest := await left(server, owner, planner)):
            fields = "; ".join(
                f"{change.thing}: {', '.join(one.field for one in change.differences)}"
                for change in rest
            )
            raise SipError(f"the server took the changes and did not keep all of them: {fields}")


def _finish(changes: Sequence[Change], path: Path | None, *, as_json: bool) -> None:
    if as_json:
        result = {"changes": told(changes), "saved": str(path) if path else None}
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    elif path:
        typer.echo(f"done; the state before is in {shown(path)} (`python -m ops sip back`)")


def _print(changes: Sequence[Change], *, as_json: bool) -> None:
    if as_json:
        result = {"summary": summary(changes), "changes": told(changes)}
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        show(changes)


def _is_pruned(change: Change) -> bool:
    return change.action is Action.DELETE and bool(change.why)


def _confirm(question: str) -> None:
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo(err=True)
        raise SipError("nobody answered, nothing was changed (--yes: without asking)") from None
    if not agreed:
        raise SipError("nothing was changed")


def _folder(settings: configured.Settings) -> Path:
    return settings.data.folder / "sip"


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SipError(f"{shown(out)}: cannot be written: {error.strerror}") from None
