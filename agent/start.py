"""What is checked before the worker starts, so that a mistake costs one line and not a call."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit

from pydantic import SecretStr

from agent import providers
from agent.errors import StartError
from config.livekit_auth import KeyRing, is_loopback, load_ring
from config.persona import Persona, load_personas
from config.prices import load_prices
from config.retries import load_retries
from config.settings import Settings, SettingsError, load

LIVEKIT_VARIABLES = {
    "url": "LIVEKIT_URL",
    "api_key": "LIVEKIT_API_KEY",
    "api_secret": "LIVEKIT_API_SECRET",
}


def prepare(dotenv: Path | None = None) -> tuple[Settings, dict[str, Persona]]:
    """Read settings and personas; check the files they name; make and try the data folder.

    Raises StartError with one line for each thing that is wrong.
    """
    try:
        settings = load(dotenv=dotenv)
        personas = load_personas(settings.personas.folder)
        load_prices(settings.costs.prices)
        load_retries(settings.livekit.retry_policies)
    except SettingsError as error:
        raise StartError(str(error)) from error
    providers.chains(settings, personas[settings.personas.default])
    check_reports(settings)
    check_traces(settings)
    check_restored(settings)
    _check_data_folder(settings)
    return settings, personas


def with_livekit(settings: Settings, given: Mapping[str, str]) -> Settings:
    """The settings with `url`, `api_key` and `api_secret` as the command line gave them.

    A key of the command line is the only one: whatever the files say, it signs.
    """
    secrets = {name: SecretStr(value) for name, value in given.items() if name != "url"}
    alone = {"auth": None} if secrets else {}
    section = settings.livekit.model_copy(update={**given, **secrets, **alone})
    return settings.model_copy(update={"livekit": section})


def check_ring(settings: Settings) -> KeyRing:
    """The ring of LiveKit API keys, which may be empty. Raises StartError for what is wrong."""
    try:
        return load_ring(settings)
    except SettingsError as error:
        raise StartError(str(error)) from error


def check_livekit(settings: Settings) -> KeyRing:
    """Check that there is a LiveKit server to register with: the keys to do it with.

    Raises StartError that names what is missing, or a URL that would send keys in the clear.
    """
    section, ring = settings.livekit, check_ring(settings)
    values = {"url": section.url}
    if ring.signing is None:
        values["api_key"] = section.api_key.get_secret_value()
        values["api_secret"] = section.api_secret.get_secret_value()
    missing = [LIVEKIT_VARIABLES[name] for name, value in values.items() if not value]
    if missing:
        raise StartError(
            f"{', '.join(missing)} missing: set in the environment"
            " (a call without a LiveKit server: `python agent.py call`)"
        )
    check_transport(section.url, allowed=settings.security.allow_insecure_livekit)
    return ring


def check_transport(url: str, *, allowed: bool) -> None:
    """Raises StartError for ws:// or http:// to anything but loopback, unless that is allowed."""
    if not allowed and (where := _in_the_clear(url)):
        raise StartError(
            f"LIVEKIT_URL: {where} would send keys and audio in the clear: use wss://, or set"
            " security.allow_insecure_livekit"
        )


def check_reports(settings: Settings) -> None:
    """Raises StartError for worker.report_to by http:// to another machine, unless allowed."""
    where = _in_the_clear(settings.worker.report_to)
    if where and not settings.security.allow_insecure_reports:
        raise StartError(
            f"worker.report_to: {where} would send the key and what callers said in the clear: use"
            " https://, or set security.allow_insecure_reports"
        )


def check_traces(settings: Settings) -> None:
    """Raises StartError for traces.endpoint by http:// to another machine, unless allowed."""
    where = _in_the_clear(settings.traces.endpoint)
    if where and not settings.traces.allow_insecure:
        raise StartError(
            f"traces.endpoint: {where} would send spans and headers in the clear: use https://, or"
            " set traces.allow_insecure"
        )


def check_restored(settings: Settings) -> None:
    """Raises StartError where a restore goes on or was cut off: what is there is half of two."""
    journal = settings.backup.journal
    if journal.exists():
        raise StartError(
            f"{journal}: a restore goes on or was cut off: let it end, or run"
            " `python -m ops restore` once more"
        )


def _in_the_clear(url: str) -> str:
    """What the URL begins with, when others on its way could read along."""
    parts = urlsplit(url)
    if parts.scheme in {"ws", "http"} and not is_loopback(parts.hostname or ""):
        return f"{parts.scheme}:// to {parts.hostname}"
    return ""


def check_ports(settings: Settings) -> None:
    """Raises StartError that names a port in use and its setting."""
    worker = settings.worker
    for setting, host, port in (
        ("worker.port", worker.host, worker.port),
        ("worker.endpoints_port", worker.endpoints_host, worker.endpoints_port),
    ):
        variable = f"VOICE_AGENT__{setting.upper().replace('.', '__')}"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise StartError(
                    f"{setting}: port {port} on {host} cannot be used ({error.strerror}):"
                    f" set {variable}, 0 picks a free one"
                ) from error


def _check_data_folder(settings: Settings) -> None:
    folder = settings.data.folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what callers said is in it
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what callers said is in it
        # A name of its own: several workers of one folder may start at once.
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartError(
            f"data.folder: {folder} cannot be written ({error.strerror}):"
            " set VOICE_AGENT__DATA__FOLDER"
        ) from error
