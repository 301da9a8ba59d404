"""Where settings come from: a YAML file, a .env file, the environment. Each gives one layer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, get_origin

from dotenv.parser import parse_stream
from pydantic import SecretStr

from config.errors import SettingsError, dotted
from config.fields import Key, from_root, known_keys, leaves
from config.sections import Settings
from config.yamlfile import read_text, read_yaml, shown

PREFIX = "VOICE_AGENT__"
ECOSYSTEM: dict[str, Key] = {
    "LIVEKIT_URL": ("livekit", "url"),
    "LIVEKIT_API_KEY": ("livekit", "api_key"),
    "LIVEKIT_API_SECRET": ("livekit", "api_secret"),
    "DEEPGRAM_API_KEY": ("providers", "deepgram", "api_key"),
    "OPENAI_API_KEY": ("providers", "openai", "api_key"),
    "GROQ_API_KEY": ("providers", "groq", "api_key"),
    "COMPATIBLE_API_KEY": ("providers", "compatible", "api_key"),
    "CARTESIA_API_KEY": ("providers", "cartesia", "api_key"),
    "REDIS_URL": ("redis", "url"),
    "DATABASE_URL": ("store", "url"),
}
"""Names that other tools of the trade use already. Each may end in _FILE and hold a path."""

_LEAVES: dict[Key, Any] = dict(leaves(Settings))
_SECTIONS = set(known_keys(Settings)) - set(_LEAVES)
_SECRETS = {key for key, field in _LEAVES.items() if field.annotation is SecretStr}
_LISTS = {key for key, field in _LEAVES.items() if get_origin(field.annotation) is tuple}
_PASSWORD = re.compile(
    r"(://[^:@]*):.*@"  # user:password@
    r"|([?&][^=&]*(?:pass|key|token|secret)[^=&]*)=[^&]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Given:
    """A value and where it was given."""

    value: Any
    origin: str


Layer = dict[Key, Given]


def masked(url: str) -> str:
    """The URL without its password, if it has one."""
    return _PASSWORD.sub(lambda m: f"{m[1]}:***@" if m[1] is not None else f"{m[2]}=***", url)


def from_yaml(path: Path, problems: list[str]) -> Layer:
    """The values of a YAML file. Secrets are refused there: such a file is shared and kept."""
    try:
        file = read_yaml(path)
    except SettingsError as error:
        problems.extend(error.problems)
        return {}
    layer = {key: Given(value, file.where(key)) for key, value in _flat(file.data, ())}
    for key, given in list(layer.items()):
        if key in _SECRETS:
            what = "a secret"
        elif isinstance(given.value, str) and masked(given.value) != given.value:
            what = "a URL with a password"
        else:
            continue
        problems.append(
            f"{given.origin}: {dotted(key)}: {what} does not belong in YAML: {_by(key)}"
        )
        del layer[key]
    return layer


def from_dotenv(path: Path | None, problems: list[str]) -> dict[str, Given]:
    """The variables of a .env file, without substitution. A file that is not there has none."""
    if path is None or not path.exists():
        return {}
    try:
        bindings = list(parse_stream(StringIO(read_text(path))))
    except SettingsError as error:
        problems.extend(error.problems)
        return {}
    variables = {}
    for binding in bindings:
        origin = f"{shown(path)}:{binding.original.line}"
        if binding.error or (binding.key and binding.value is None):
            problems.append(f"{origin}: expected NAME=value")
        elif binding.key:
            variables[binding.key] = Given(binding.value, f"{origin} {binding.key}")
    return variables


def from_variables(variables: Mapping[str, Given], problems: list[str]) -> Layer:
    """Read what variables give: the ecosystem's names, and ours over them."""
    layer: Layer = {}
    for name, key, mounted in _names(variables):
        origin = variables[name].origin
        try:
            text = _mounted(name, variables) if mounted else variables[name].value.strip()
            layer[key] = Given(_list(text) if key in _LISTS else text, origin)
        except SettingsError as error:
            problems.extend(f"{origin}: {dotted(key)}: {problem}" for problem in error.problems)
    return layer


def _flat(node: Mapping[Any, Any], above: Key) -> Iterator[tuple[Key, Any]]:
    for name, value in node.items():
        key = (*above, str(name))
        if key not in _SECTIONS or not (value is None or isinstance(value, dict)):
            yield key, value
        elif value:
            yield from _flat(value, key)


def _by(key: Key) -> str:
    name = next((name for name, known in ECOSYSTEM.items() if known == key), "")
    name = name or PREFIX + "__".join(map(str, key)).upper()
    return f"set the environment variable {name} or {name}_FILE"


def _names(variables: Mapping[str, Given]) -> Iterator[tuple[str, Key, bool]]:
    """Find the names that concern us, the weaker first: name, key, whether it names a file."""
    for known, key in ECOSYSTEM.items():
        for name in (known, f"{known}_FILE"):
            # An empty one counts as not set: compose files pass on what is missing that way.
            if name in variables and variables[name].value:
                yield name, key, name != known
    for name in sorted(variables):
        if name.startswith(PREFIX):
            ours = tuple(name.removeprefix(PREFIX).lower().split("__"))
            plain = (*ours[:-1], ours[-1].removesuffix("_file"))
            mounted = ours not in _LEAVES and plain in _LEAVES
            yield name, plain if mounted else ours, mounted


def _mounted(name: str, variables: Mapping[str, Given]) -> str:
    twin = variables.get(name.removesuffix("_FILE"))
    if twin and twin.value:
        raise SettingsError("given without _FILE as well: keep one")
    return read_text(from_root(Path(variables[name].value.strip()))).strip()


def _list(text: str) -> Any:
    if not text.startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"not a JSON list: {error.msg} at character {error.pos + 1}") from None
