"""The configuration: settings, personas and their chains of providers, the telephone side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from agent import providers
from agent.errors import StartError
from agent.start import check_livekit
from config.errors import SettingsError
from config.fields import leaves
from config.livekit_auth import load_ring
from config.persona import load_personas
from config.settings import Settings, load
from config.sip import SIP_FILE, load_sip
from config.yamlfile import shown
from ops.doctor.finding import Finding, Level

SHORTEST_SECRET = 4
"""Letters: shorter ones would blot out half of every line, and protect nothing."""


def settings() -> tuple[Settings | None, list[Finding]]:
    """The effective settings, unless they are wrong."""
    try:
        loaded = load()
    except SettingsError as error:
        todo = "mend it; `python -m ops config check` says when it is right"
        return None, [Finding(Level.BROKEN, "settings", line, todo) for line in error.problems]
    return loaded, [Finding(Level.WELL, "settings", "right")]


def personas(loaded: Settings) -> list[Finding]:
    """The personas, and what each can hear, think and speak with."""
    try:
        there = load_personas(loaded.personas.folder)
    except SettingsError as error:
        return [
            Finding(Level.BROKEN, "personas", line, "mend the file of the persona")
            for line in error.problems
        ]
    found = []
    for persona in there.values():
        tried = f"providers of persona {persona.name}"
        try:
            usable = providers.chains(loaded, persona)
        except StartError as error:
            is_default = persona.name == loaded.personas.default
            level = Level.BROKEN if is_default else Level.DEGRADED
            todo = "set a key, or another chain in the section `speech`"
            found.append(Finding(level, tried, str(error), todo))
        else:
            chains = ", ".join(f"{kind} {' > '.join(names)}" for kind, names in usable.items())
            found.append(Finding(Level.WELL, tried, chains))
    return found


def telephone_side(variables: Mapping[str, str]) -> list[Finding]:
    """Whether `config/sip.yaml` loads. Only `ops sip` reads it: calls that come in go on."""
    tried = shown(SIP_FILE)
    try:
        sip = load_sip(variables)
    except SettingsError as error:
        todo = "`python -m ops sip plan` and `apply` need it; calls do not"
        return [Finding(Level.DEGRADED, tried, line, todo) for line in error.problems]
    counts = (
        f"{len(sip.inbound_trunks)} inbound and {len(sip.outbound_trunks)} outbound trunks,"
        f" {len(sip.dispatch_rules)} dispatch rules of {sip.owner}"
    )
    return [Finding(Level.WELL, tried, counts)]


def livekit_section(loaded: Settings) -> list[Finding]:
    """URL, key and secret are given, and would not be sent in the clear."""
    try:
        check_livekit(loaded)
    except StartError as error:
        todo = "set it where the worker is started (see .env.example)"
        return [Finding(Level.BROKEN, "settings of LiveKit", str(error), todo)]
    return [Finding(Level.WELL, "settings of LiveKit", "URL, key and secret are set")]


def secrets_in(loaded: Settings, variables: Mapping[str, str]) -> list[str]:
    """Every secret that settings or `config/sip.yaml` may hold: they never reach the output."""
    named = (value for name, value in variables.items() if _is_secret(name))
    found = {*_secrets_of(loaded), *_secrets_of_files(loaded), *named}
    return [secret for secret in found if len(secret) >= SHORTEST_SECRET]


def _secrets_of(loaded: Settings) -> Iterator[str]:
    for key, _ in leaves(type(loaded)):
        value = loaded
        for part in key:
            value = getattr(value, part)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, str) and "@" in value:
            password = urlsplit(value).password or ""
            yield password
            yield unquote(password)


def _secrets_of_files(loaded: Settings) -> Iterator[str]:
    try:
        yield from (one.secret.get_secret_value() for one in load_ring(loaded).verifying)
    except SettingsError:
        return  # told of already; without a ring, nothing can be signed with it


def _is_secret(name: str) -> bool:
    return any(word in name.upper() for word in ("SECRET", "PASSWORD", "TOKEN", "API_KEY", "_PIN"))
