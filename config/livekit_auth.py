"""The ring of LiveKit API keys: one signs, all of them verify. `config/livekit_auth.yaml`.

The one way to LiveKit credentials is `load_ring(settings)`. A ring does not change: a process that
has to hear of a rotation while it runs keeps an `ops.keyring.LiveRing`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError

from config import key_files
from config.errors import SettingsError, explain
from config.fields import Folder, Section, Text
from config.references import resolve
from config.settings import Settings, environment
from config.yamlfile import read_yaml

SHORTEST = 32
"""Characters of a secret, at least, where the LiveKit server is not on loopback."""

ENVIRONMENT = "environment"
_TRIES = 3


class NoKeys(SettingsError):
    """No key signs."""

    def __init__(self) -> None:
        super().__init__(
            "the key ring is empty: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or add and promote"
            " a key (python -m ops keys add)"
        )


@dataclass(frozen=True)
class ApiKey:
    """A key with its secret. `source` is "environment" or the name of the key's file."""

    key: str
    secret: SecretStr
    source: str


@dataclass(frozen=True)
class KeyRing:
    """The key that signs, None while there is none, and all that verify: that one is the first."""

    signing: ApiKey | None = None
    verifying: tuple[ApiKey, ...] = ()

    def secret_of(self, key_id: str) -> SecretStr | None:
        """The secret that verifies what `key_id` has signed; None: not a key of this ring."""
        return next((one.secret for one in self.verifying if one.key == key_id), None)

    def credentials(self) -> tuple[str, str]:
        """Key and secret to sign with. Raises NoKeys."""
        if self.signing is None:
            raise NoKeys
        return self.signing.key, self.signing.secret.get_secret_value()


EMPTY_RING = KeyRing()
"""Nobody signs, and nothing is verified."""


class _Key(Section):
    key: Text
    secret: SecretStr = Field(min_length=1)


class _Auth(Section):
    keys: tuple[_Key, ...] = ()
    folder: Folder | None = None


def load_ring(settings: Settings, variables: Mapping[str, str] | None = None) -> KeyRing:
    """The ring that the settings describe; nothing in it when there is no key at all.

    A LIVEKIT_API_KEY without a secret is no key. `variables` take the place of the environment in
    the references of the YAML file. Raises SettingsError with one line for each thing wrong.
    """
    auth = _auth(settings, environment() if variables is None else variables)
    own = _own(settings)
    listed = [ApiKey(one.key, one.secret, ENVIRONMENT) for one in auth.keys]
    folder = _folder(settings, auth)
    promoted, stored = _stored(folder) if folder else ("", [])
    ring: dict[str, ApiKey] = {}
    for one in (*own, *listed, *stored):
        known = ring.setdefault(one.key, one)
        if known.secret != one.secret:
            raise SettingsError(f"the key {one.key} has two secrets ({known.source}, {one.source})")
    if promoted and promoted not in ring:
        raise SettingsError(
            f"the key {promoted} is to sign and has no file: put it back, or promote another"
            " (python -m ops keys promote KEY)"
        )
    signing = ring[promoted] if promoted else next(iter(own), None)
    _check_lengths(settings.livekit.url, ring.values())
    others = (one for one in ring.values() if one is not signing)
    return KeyRing(signing, (*([signing] if signing else []), *others))


def folder_of(settings: Settings) -> Path | None:
    """Where key files are; None: files are not in use. Raises SettingsError."""
    return _folder(settings, _auth(settings, environment()))


def is_loopback(host: str) -> bool:
    """Whether traffic to this host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_development(url: str) -> bool:
    """Whether the LiveKit server is one on loopback, or there is none."""
    return not url or is_loopback(urlsplit(url).hostname or "")


def _auth(settings: Settings, variables: Mapping[str, str]) -> _Auth:
    if settings.livekit.auth is None:
        return _Auth()
    file = read_yaml(settings.livekit.auth)
    try:
        return _Auth.model_validate(resolve(file, variables))
    except ValidationError as error:
        raise SettingsError(*explain(error, _Auth, file.where)) from None


def _own(settings: Settings) -> list[ApiKey]:
    key, secret = settings.livekit.api_key.get_secret_value(), settings.livekit.api_secret
    return [ApiKey(key, secret, ENVIRONMENT)] if key and secret.get_secret_value() else []


def _folder(settings: Settings, auth: _Auth) -> Path | None:
    if settings.livekit.auth is None:
        return None
    return auth.folder or settings.data.folder / "keys"


def _stored(folder: Path) -> tuple[str, list[ApiKey]]:
    """Which file's key signs, and all keys of files, of one moment.

    What is promoted between two reads may not have been there at the first.
    """
    for _ in range(_TRIES):
        signing = key_files.read_signing(folder)
        found = key_files.read_keys(folder)
        if key_files.read_signing(folder) == signing:
            break
    return signing.key, [
        ApiKey(key, secret, f"{key}{key_files.SUFFIX}") for key, secret in found.items()
    ]


def _check_lengths(url: str, keys: Iterable[ApiKey]) -> None:
    if is_development(url):
        return
    problems = [
        f"the key {one.key} ({one.source}): its secret is shorter than {SHORTEST} characters, which"
        " only a LiveKit server on loopback may have: make a longer one"
        for one in keys
        if len(one.secret.get_secret_value()) < SHORTEST
    ]
    if problems:
        raise SettingsError(*problems)
