"""The security part of an audit, with files and secrets: doors, trunks, certificates, privacy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from urllib.parse import urlsplit

from agent.call import now
from agent.store.access import ClientKeyRow
from config.errors import SettingsError
from config.livekit_auth import is_loopback
from config.persona import Persona, load_personas
from config.settings import Settings
from config.sip import load_sip
from config.sip_parts import why_open
from config.yamlfile import shown
from ops.health import certificates
from ops.upkeep import audit_files, audit_secrets
from ops.upkeep.audit_advice import Advice, Area, Priority

SOON, VERY_SOON = timedelta(days=certificates.SOON), timedelta(days=certificates.VERY_SOON)
"""Before the end of a certificate."""

security = partial(Advice, Area.SECURITY)
HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW


def examine(
    settings: Settings, variables: Mapping[str, str], keys: list[ClientKeyRow], longest: timedelta
) -> list[Advice]:
    """All of it. `keys`: the client keys that are in force; `longest`: how old a key may be."""
    return [
        *audit_files.modes(settings),
        *audit_files.first_key(settings),
        *audit_secrets.secrets(settings),
        *audit_secrets.ages(settings, longest),
        *audit_secrets.client_keys(keys, longest),
        *_doors(settings),
        *_trunks(variables),
        *_certificates(settings),
        *_privacy(settings),
        *_retention(settings),
    ]


def _doors(settings: Settings) -> Iterator[Advice]:
    worker, serve, doors = settings.worker, settings.serve, "open doors"
    if worker.open_host and not is_loopback(worker.host):
        yield security(
            HIGH,
            doors,
            f"worker.host {worker.host}: the framework's server, which knows no credentials, can be"
            " reached from outside",
            "worker.host 127.0.0.1; /ready and /metrics are at worker.endpoints_host, with a token",
        )
    in_clear = not serve.tls_certificate and not serve.trusted_proxies
    if in_clear and not is_loopback(serve.host):
        yield security(
            HIGH,
            doors,
            f"serve.host {serve.host}: client keys and tokens travel in the clear",
            "set serve.tls_certificate and tls_key, or name the proxy in serve.trusted_proxies",
        )
    for network in serve.trusted_proxies:
        if ip_network(network, strict=False).prefixlen == 0:
            yield security(
                HIGH,
                doors,
                f"serve.trusted_proxies {network}: anybody may say whose request it is",
                "name your proxies' addresses",
            )
    if not serve.per_minute:
        yield security(
            MEDIUM, doors, "serve.per_minute 0: anybody may ask any number of times", "set a limit"
        )
    if serve.metrics == "loopback":
        yield security(
            LOW,
            doors,
            "serve.metrics loopback: every process of this machine may read /metrics",
            "serve.metrics key, and a client key of scope metrics for Prometheus",
        )
    url = urlsplit(settings.livekit.url)
    if settings.security.allow_insecure_livekit:
        is_used = url.scheme in {"ws", "http"} and not is_loopback(url.hostname or "localhost")
        yield security(
            HIGH if is_used else LOW,
            doors,
            "security.allow_insecure_livekit is on"
            + (f": keys and audio go to {url.hostname} in the clear" if is_used else ""),
            "use wss://, and turn it off",
        )


def _trunks(variables: Mapping[str, str]) -> Iterator[Advice]:
    try:
        sip = load_sip(variables)
    except SettingsError:
        return  # the configuration's part tells of it
    for trunk in sip.inbound_trunks:
        if trunk.auth is None and (why := why_open(trunk.allowed_addresses)):
            yield security(
                HIGH,
                "trunks",
                f"the inbound trunk {trunk.name}: {why}",
                "name the provider's networks in allowed_addresses, or set auth; then python -m ops"
                " sip apply",
            )
    for rule in sip.dispatch_rules:
        if rule.individual:
            yield security(
                LOW,
                "trunks",
                f"the dispatch rule {rule.name} puts callers' numbers into names of rooms",
                "use `callee` with randomize: names of rooms get into logs and paths",
            )


def _certificates(settings: Settings) -> Iterator[Advice]:
    file = settings.serve.tls_certificate
    if file is None:
        return
    try:
        until = certificates.of_file(file)
    except (OSError, ValueError):
        yield security(
            HIGH,
            "certificates",
            f"serve.tls_certificate: {shown(file)} is no certificate (PEM)",
            "put the certificate chain there",
        )
        return
    left = until - now()
    if left < SOON:
        yield security(
            HIGH if left < VERY_SOON else MEDIUM,
            "certificates",
            f"the certificate of ops serve ends at {until:%Y-%m-%d %H:%M} UTC ({left.days} days)",
            "renew it, then restart ops serve",
        )


def _privacy(settings: Settings) -> Iterator[Advice]:
    if settings.security.traces_with_content:
        yield security(
            MEDIUM,
            "privacy",
            "security.traces_with_content is on: what callers say goes to whoever takes traces",
            "turn it off where nobody needs it any more",
        )
    try:
        personas = load_personas(settings.personas.folder)
    except SettingsError:
        return  # the configuration's part tells of it
    for persona in personas.values():
        yield from _of_persona(persona)


def _of_persona(persona: Persona) -> Iterator[Advice]:
    every = type(persona.privacy)().redact
    if kept := [what for what in every if what not in persona.privacy.redact]:
        yield security(
            HIGH if {"card", "keys"} & set(kept) else MEDIUM,
            "privacy",
            f"persona {persona.name}: {', '.join(kept)} stay in transcripts (privacy.redact)",
            "let privacy.redact be its default, unless somebody answers for keeping them",
        )
    if persona.recording == "always":
        yield security(
            LOW,
            "privacy",
            f"persona {persona.name} records every call without asking",
            "recording: consent, or make sure that the law and the greeting allow it",
        )


def _retention(settings: Settings) -> Iterator[Advice]:
    recording = settings.recording
    kept = {"recording.days": recording.days} | {
        f"recording.days_by_persona.{name}": days
        for name, days in recording.days_by_persona.items()
    }
    for name, days in kept.items():
        if days == 0:
            yield security(
                MEDIUM,
                "retention",
                f"{name} 0: recordings are kept for ever",
                "set the days for which you may keep them (90 by default)",
            )
