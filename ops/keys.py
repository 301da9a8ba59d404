"""`python -m ops keys`: rotate LiveKit API keys while calls go on.

The way of a rotation: `add` a key, give it to livekit-server, `promote` it, restart the workers
(they drain), wait for a day, `retire` the old one, and take it from livekit-server.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import string
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from livekit import api
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from agent.call import now
from agent.errors import AuthError, LiveKitError, StoreError, VoiceAgentError
from agent.livekit import LiveKit
from agent.start import check_transport
from config import key_files
from config import settings as configured
from config.errors import SettingsError
from config.key_files import Signing
from config.livekit_auth import (
    ENVIRONMENT,
    SHORTEST,
    ApiKey,
    KeyRing,
    folder_of,
    is_development,
    load_ring,
)
from config.settings import Settings
from config.yamlfile import read_text, shown
from ops.audit import Audit, auditor
from ops.doctor.livekit import ONCE, nobody

app = typer.Typer(name="keys", help="The ring of LiveKit API keys.", no_args_is_help=True)

LONGEST_LIFE = timedelta(hours=24)
"""Of a token that we sign: so long one of a key that signs no more may be in use."""

LETTERS = string.ascii_letters + string.digits
KEY_LETTERS, SECRET_LETTERS = 12, 48  # a secret of 285 bits

Key = Annotated[str, typer.Argument(metavar="KEY", help="Such as APIabc; `list` tells them.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


class KeysError(VoiceAgentError):
    """The keys are left as they were."""


@app.command("list", epilog="Example: python -m ops keys list --json")
def list_command(*, as_json: Json = False) -> None:
    """Print every key of the ring: where it comes from, and which one signs. Never a secret."""
    settings = configured.load()
    ring, folder = load_ring(settings), folder_of(settings)
    signing = key_files.read_signing(folder) if folder else Signing()
    rows = [_row(one, ring, signing) for one in ring.verifying]
    if as_json:
        told = {"folder": str(folder) if folder else None, "keys": rows}
        typer.echo(json.dumps(told, indent=2, default=datetime.isoformat))
        return
    table = Table("key", "from", "does", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(row["key"], row["source"], _does(row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    if not rows:
        typer.echo("no keys: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or `keys add`", err=True)


@app.command(
    epilog="Examples: python -m ops keys add --server-line new.yaml; "
    "python -m ops keys add --from - < key.yaml"
)
def add(
    *,
    taken_from: Annotated[
        str,
        typer.Option("--from", metavar="FILE", help="Holds a line `KEY: SECRET`; -: stdin."),
    ] = "",
    server_line: Annotated[
        Path | None,
        typer.Option(help="Write the line for livekit-server's `keys:` to this new file (0600)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a key to the ring, a new one unless it is given. It verifies; `promote` lets it sign.

    livekit-server has to know it too: its line goes below `keys:`, or into its `key_file`.
    """
    settings = configured.load()
    folder = _folder(settings)
    key, secret = _taken(taken_from) if taken_from else _new()
    if len(secret.get_secret_value()) < SHORTEST and not is_development(settings.livekit.url):
        raise KeysError(f"{key}: the secret is shorter than {SHORTEST} characters: make another")
    with auditor(settings, "keys add") as audit, key_files.changing(folder):
        if any(one.key == key for one in load_ring(settings).verifying):
            raise KeysError(f"{key} is in the ring already")
        if server_line:
            key_files.write_new(server_line.absolute(), key_files.line(key, secret))
        try:
            path = key_files.add(folder, key, secret)
        except SettingsError:
            if server_line:
                server_line.unlink()
            raise
        _note(audit, "keys.add", key)
    told = {"added": key, "file": str(path), "server_line": str(server_line or "") or None}
    _tell(
        told,
        f"{key} verifies now ({shown(path)}). Next: give livekit-server"
        f" {f'the line in {server_line}' if server_line else 'the line in that file'}, restart it,"
        f" and run `python -m ops keys promote {key}`.",
        as_json=as_json,
    )


@app.command(epilog="Example: python -m ops keys promote APIabc")
def promote(key: Key, *, as_json: Json = False) -> None:
    """Make a key sign, once LiveKit accepts it. All others verify on.

    A running `serve` takes it within 5 s, a worker when it is started anew. Promoting the key of
    the environment goes back to it.
    """
    settings = configured.load()
    folder, ring = _folder(settings), load_ring(settings)
    one = _found(ring, key)
    if one is ring.signing:
        _tell({"signing": key, "changed": False}, f"{key} signs already.", as_json=as_json)
        return
    if one.source == ENVIRONMENT and key != settings.livekit.api_key.get_secret_value():
        raise KeysError(
            f"{key} comes from the environment: to let it sign, make it LIVEKIT_API_KEY where serve"
            " and the workers are started, and restart them"
        )
    asyncio.run(_accepted(settings, one))
    with auditor(settings, "keys promote") as audit, key_files.changing(folder):
        ring, at = load_ring(settings), now()
        _found(ring, key)  # it may have been retired while LiveKit was asked
        before, until = ring.signing, _remembered(ring, folder)
        if before:
            until[before.key] = at
        until.pop(key, None)
        # No file is named for the environment's key: it signs while none is promoted.
        name = "" if one.source == ENVIRONMENT else key
        key_files.sign_with(folder, Signing(name, at, until))
        _note(audit, "keys.promote", f"{key} (before: {before.key if before else 'none'})")
    old = f" {before.key} verifies until it is retired." if before else ""
    _tell(
        {"signing": key, "changed": True, "before": before.key if before else None},
        f"{key} signs now: serve takes it within 5 s, a worker when it is restarted.{old}",
        as_json=as_json,
    )


@app.command(epilog="Example: python -m ops keys retire APIabc")
def retire(
    key: Key,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Though tokens that it signed may be in use.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a key out of the ring: what it signed is refused from then on."""
    settings = configured.load()
    folder = _folder(settings)
    with auditor(settings, "keys retire") as audit, key_files.changing(folder):
        ring = load_ring(settings)
        one = _found(ring, key)
        signing = key_files.read_signing(folder)
        if one is ring.signing:
            raise KeysError(f"{key} signs: promote another key first")
        if one.source == ENVIRONMENT:
            raise KeysError(
                f"{key} comes from the environment: take it out there (LIVEKIT_API_KEY,"
                " LIVEKIT_API_SECRET, or the keys in config/livekit_auth.yaml), and restart serve"
                " and the workers"
            )
        dead = signing.until[key] + LONGEST_LIFE if key in signing.until else None
        if dead and dead > now() and not force:
            raise KeysError(
                f"{key} has signed within the last 24 h, and its tokens would be refused: wait"
                f" until {dead.astimezone():%Y-%m-%d %H:%M}, or use --force"
            )
        key_files.remove(folder, key)
        _note(audit, "keys.retire", f"{key}{' (forced)' if force else ''}")
    _tell(
        {"retired": key},
        f"{key} is retired. Take it out of livekit-server's `keys` and `webhook.api_key`, too.",
        as_json=as_json,
    )


def _folder(settings: Settings) -> Path:
    folder = folder_of(settings)
    if folder is None:
        raise KeysError("livekit.auth is null: keys come from the environment alone")
    return folder


def _taken(source: str) -> tuple[str, SecretStr]:
    """The key in a file or on stdin: never an argument, which everybody on the machine can read."""
    text = sys.stdin.read(key_files.LARGEST) if source == "-" else read_text(Path(source))
    return key_files.parse(text, "stdin" if source == "-" else source)


def _new() -> tuple[str, SecretStr]:
    def random(letters: int) -> str:
        return "".join(secrets.choice(LETTERS) for _ in range(letters))

    return f"API{random(KEY_LETTERS)}", SecretStr(random(SECRET_LETTERS))


def _found(ring: KeyRing, key: str) -> ApiKey:
    for one in ring.verifying:
        if one.key == key:
            return one
    there = ", ".join(one.key for one in ring.verifying) or "none"
    raise KeysError(f"no key {key} in the ring (there are: {there})")


def _remembered(ring: KeyRing, folder: Path) -> dict[str, datetime]:
    """Until when keys signed: those of the ring, and others for as long as it matters."""
    known, since = {one.key for one in ring.verifying}, now() - LONGEST_LIFE
    told = key_files.read_signing(folder).until
    return {key: at for key, at in told.items() if key in known or at > since}


async def _accepted(settings: Settings, one: ApiKey) -> None:
    """Ask LiveKit for a room that there is not, with this key. Raises KeysError and StartError."""
    url = settings.livekit.url
    if not url:
        raise KeysError("LIVEKIT_URL missing: whether LiveKit accepts the key cannot be tried")
    check_transport(url, allowed=settings.security.allow_insecure_livekit)
    host = urlsplit(url).hostname
    ring = KeyRing(one, (one,))
    try:
        async with LiveKit.of(settings.livekit, ring.credentials, ONCE) as livekit:
            await livekit.room.list_rooms(api.ListRoomsRequest(names=[nobody()]))
    except AuthError as error:
        raise KeysError(
            f"{host} does not accept {one.key} yet ({error.status}): put its line below `keys:` of"
            " livekit-server, restart it, and promote again; nothing was changed"
        ) from None
    except LiveKitError as error:
        raise KeysError(f"{host} could not be asked about {one.key}: {error}") from None


def _note(audit: Audit, what: str, thing: str) -> None:
    try:
        audit(what, thing)
    except StoreError as error:
        raise KeysError(f"{error}; the change was made, and is not in the audit trail") from None


def _row(one: ApiKey, ring: KeyRing, signing: Signing) -> dict[str, Any]:
    signs = one is ring.signing
    return {
        "key": one.key,
        "source": one.source,
        "signs": signs,
        "since": signing.since if signs else None,
        "signed_until": None if signs else signing.until.get(one.key),
    }


def _does(row: Mapping[str, Any]) -> str:
    if row["signs"]:
        return "signs" + (f" since {_local(row['since'])}" if row["since"] else "")
    until = row["signed_until"]
    return "verifies" + (f", signed until {_local(until)}" if until else "")


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _tell(told: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(told) if as_json else text)
