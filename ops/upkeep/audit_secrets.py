"""Secrets and keys in an audit: how good they are, how old, and what they may do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from pydantic import SecretStr

from agent.call import now
from agent.store.access import ClientKeyRow
from config.errors import SettingsError
from config.livekit_auth import ENVIRONMENT, SHORTEST, folder_of, is_loopback, load_ring
from config.sentinels import sentinels_of
from config.settings import Settings
from ops.upkeep.audit_advice import Advice, Area, Priority

DEFAULTS = frozenset({"secret", "devsecret", "password", "changeme", "change-me", "test", "admin"})
"""Secrets that everybody tries first."""

UNUSED = timedelta(days=60)
"""Without a request, after which a client key is taken to be forgotten."""

SHORT = 16
"""Characters of a bearer token or a salt, at least."""

security = partial(Advice, Area.SECURITY)
HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW


def secrets(settings: Settings) -> Iterator[Advice]:
    """Secrets that are short, or that everybody tries first, and stores without any."""
    try:
        ring = load_ring(settings).verifying
    except SettingsError:
        ring = ()  # the configuration's part tells of it
    is_far = not is_loopback(urlsplit(settings.livekit.url).hostname or "localhost")
    for one in ring:
        if why := _weak(one.secret, SHORTEST):
            yield security(
                HIGH if is_far else LOW,
                "secrets",
                f"the secret of the LiveKit key {one.key} {why}",
                "python -m ops keys add, give it to livekit-server, promote it, retire this one",
            )
    host = settings.worker.endpoints_host
    if why := _weak(settings.worker.endpoints_token, SHORT):
        yield security(
            LOW if is_loopback(host) else HIGH,
            "secrets",
            f"worker.endpoints_token {why}",
            "set a random one: openssl rand -hex 32",
        )
    if why := _weak(settings.security.caller_salt, SHORT):
        yield security(
            MEDIUM,
            "secrets",
            f"security.caller_salt {why}: callers' numbers could be guessed from their pseudonyms",
            "a new one (openssl rand -hex 32) makes every caller unknown once; decide",
        )
    yield from _stores(settings)


def ages(settings: Settings, longest: timedelta) -> Iterator[Advice]:
    """LiveKit keys that are older than `longest`, by the files that hold them."""
    try:
        folder, ring = folder_of(settings), load_ring(settings)
    except SettingsError:
        return
    for one in ring.verifying:
        if one.source == ENVIRONMENT or folder is None:
            continue  # nobody wrote down when that one was made
        made = datetime.fromtimestamp((folder / one.source).stat().st_mtime, UTC)
        if now() - made > longest:
            yield security(
                MEDIUM,
                "age of keys",
                f"the LiveKit key {one.key} is {(now() - made).days} days old",
                "rotate it: python -m ops keys add, promote, retire",
            )


def client_keys(keys: list[ClientKeyRow], longest: timedelta) -> Iterator[Advice]:
    """Client keys that may do everything, are old, or may ask any number of times."""
    for key in keys:
        about = f"the client key {key.name} ({key.id})"
        if "admin" in key.scopes:
            yield security(
                MEDIUM,
                "client keys",
                f"{about} has all scopes",
                "make one with the scopes that it needs (ops clients add), then revoke it",
            )
        if now() - key.made_at > longest:
            yield security(
                MEDIUM,
                "age of keys",
                f"{about} is {(now() - key.made_at).days} days old",
                "make a new one, give it to its client, then python -m ops clients revoke",
            )
        if now() - max(key.made_at, key.used_at or key.made_at) > UNUSED:
            since = f"since {key.used_at:%Y-%m-%d}" if key.used_at else "since that is kept"
            yield security(
                MEDIUM,
                "unused keys",
                f"{about} was not used {since}",
                "python -m ops clients revoke, unless somebody needs it",
            )
        if key.per_minute == 0:
            yield security(
                LOW,
                "client keys",
                f"{about} may ask any number of times",
                "make one with --per-minute",
            )


def _weak(secret: SecretStr, shortest: int) -> str:
    """Why a secret that is set is no good; empty: it is, or there is none."""
    value = secret.get_secret_value()
    if not value:
        return ""
    if value.lower() in DEFAULTS:
        return "is one that everybody tries first"
    return f"is shorter than {shortest} characters" if len(value) < shortest else ""


def _stores(settings: Settings) -> Iterator[Advice]:
    url = settings.redis.url
    sentinels = sentinels_of(url) if url else None
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    password = sentinels.password if sentinels else parts.password
    if url and not url.startswith("unix") and not is_loopback(host):
        if not password:
            yield security(
                HIGH,
                "stores",
                f"Redis at {host} is used without a password",
                "set requirepass or an ACL there, and the password in REDIS_URL",
            )
        if not (sentinels.tls if sentinels else parts.scheme == "rediss"):
            yield security(
                LOW,
                "stores",
                f"the connection to Redis at {host} has no TLS",
                "rediss://, or a network of your own between them",
            )
    store = urlsplit(settings.store.url)
    is_safe = "sslmode=require" in store.query or "sslmode=verify" in store.query
    is_remote = store.scheme.startswith("postgres") and not is_loopback(
        store.hostname or "localhost"
    )
    if is_remote and not is_safe:
        yield security(
            MEDIUM,
            "stores",
            f"the connection to the database at {store.hostname} may go without TLS",
            "add ?sslmode=verify-full (or require) to DATABASE_URL",
        )
