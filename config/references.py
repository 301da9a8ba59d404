"""`${NAME}` and `password_file:` in a YAML file: secrets are referred to, never written down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.errors import SettingsError, dotted
from config.fields import Key, from_root
from config.yamlfile import YamlFile, read_text

SECRETS = frozenset(
    "password pin access_key secret session_token credentials account_key signing_key urls".split()
)
"""Keys whose values are secrets. Each may end in `_file` and hold a path. (A stream's URL holds
its key.)"""

REFERENCE = re.compile(r"\$\{([^}]*)\}?")
"""A reference in a text, and the name in it."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_secret(key: Key) -> bool:
    """Whether the value at this key must not be written down or shown."""
    names = [part for part in key if isinstance(part, str)]
    if names[-1:] == ["url"]:  # a recorder's destination, a channel of notifications
        return names[-2:] == ["destinations", "url"] or names[0] == "channels"
    return bool(names) and names[-1] in SECRETS


def resolve(file: YamlFile, variables: Mapping[str, str]) -> dict[str, Any]:
    """What the file says, with each `${NAME}` and each `..._file` in its place.

    Raises SettingsError with one line for each variable or file that is missing, and for each
    secret that is written in the file itself.
    """
    resolver = _Resolver(file, variables)
    data: dict[str, Any] = resolver.mapping(file.data, ())
    if resolver.problems:
        raise SettingsError(*resolver.problems)
    return data


class _Resolver:
    """Walks the file once and gathers what is wrong."""

    def __init__(self, file: YamlFile, variables: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._file = file
        self._variables = variables

    def mapping(self, node: Mapping[Any, Any], above: Key) -> dict[str, Any]:
        resolved: dict[str, Any] = {}
        for name, value in node.items():
            key = (*above, str(name))
            plain = str(name).removesuffix("_file")
            if plain != str(name) and is_secret((*above, plain)) and isinstance(value, str):
                if plain in node:
                    self._wrong(key, f"given as {plain} as well: keep one")
                else:
                    resolved[plain] = self._mounted(key, self._text(key, value))
            else:
                resolved[str(name)] = self._value(key, value)
        return resolved

    def _value(self, key: Key, value: Any) -> Any:
        if isinstance(value, dict):
            return self.mapping(value, key)
        if isinstance(value, list):
            return [self._value((*key, index), item) for index, item in enumerate(value)]
        if is_secret(key) and value not in (None, "") and not _is_reference(value):
            name = next(part for part in reversed(key) if isinstance(part, str))
            self._wrong(key, f"a secret does not belong in YAML: write ${{NAME}}, or {name}_file")
            return ""
        return self._text(key, value) if isinstance(value, str) else value

    def _text(self, key: Key, text: str) -> str:
        return REFERENCE.sub(lambda found: self._variable(key, found), text)

    def _variable(self, key: Key, found: re.Match[str]) -> str:
        name = found[1]
        if not found[0].endswith("}") or not _NAME.fullmatch(name):
            self._wrong(key, "expected ${NAME}, the name of an environment variable")
            return ""
        # An empty one counts as not set: compose files pass on what is missing that way.
        value = self._variables.get(name, "").strip()
        if not value:
            self._wrong(key, f"the environment variable {name} is not set")
        return value

    def _mounted(self, key: Key, path: str) -> str:
        try:
            text = read_text(from_root(Path(path))).strip()
        except SettingsError as error:
            self._wrong(key, str(error))
            return ""
        if not text:
            self._wrong(key, "the file is empty")
        return text

    def _wrong(self, key: Key, what: str) -> None:
        self.problems.append(f"{self._file.where(key)}: {dotted(key)}: {what}")


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and REFERENCE.fullmatch(value.strip()) is not None
