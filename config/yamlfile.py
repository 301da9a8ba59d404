"""A YAML file as a mapping that knows the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from config.errors import SettingsError, dotted
from config.fields import ROOT, Key

# The C loader is ten times faster; a build of PyYAML without libyaml has only the other.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 8  # an alias may point at what holds it: such a file has no bottom


@dataclass(frozen=True)
class YamlFile:
    """What a YAML file says. `lines` counts from 1."""

    name: str
    data: dict[Any, Any]
    lines: dict[Key, int]

    def where(self, key: Key) -> str:
        """`config/agent.yaml:12`: the file and the line of the key or of what holds it."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.name}:{self.lines[key]}" if key else self.name


def read_yaml(path: Path) -> YamlFile:
    """Read the file. An empty one is an empty mapping.

    Raises SettingsError when it cannot be read, is no YAML, is no mapping or repeats a key.
    """
    name = shown(path)
    try:
        loader = _Loader(read_text(path))
        try:
            node = loader.get_single_node()
            data = {} if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        # What PyYAML quotes from the file may be a secret: only its own signs are kept.
        what = re.sub(r"'[^'<]{2,}'", "...", error.problem or "unreadable")
        raise SettingsError(f"{name}{line}: not valid YAML: {what}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-99-99
        first = str(error).partition("\n")[0]
        raise SettingsError(f"{name}: not valid YAML: {first}") from None
    if not isinstance(data, dict):
        raise SettingsError(f"{name}: expected a mapping (lines of `key: value`) at the top")
    return YamlFile(name, data, _lines(node, name))


def read_text(path: Path) -> str:
    """The text of a file. Raises SettingsError that names the file and the reason."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{shown(path)}: not UTF-8 text (byte {error.start})") from None


def shown(path: Path) -> str:
    """The path as people know it: inside the checkout counted from there."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _lines(node: Any, name: str) -> dict[Key, int]:
    lines: dict[Key, int] = {}
    twice = []
    for key, line in _keys(node, ()):
        if key in lines:
            twice.append(f"{name}:{line}: {dotted(key)}: given twice (first in line {lines[key]})")
        lines.setdefault(key, line)
    if twice:
        raise SettingsError(*twice)
    return lines


def _keys(node: Any, above: Key) -> Iterator[tuple[Key, int]]:
    if len(above) == _DEEPEST:
        return
    if isinstance(node, yaml.MappingNode):
        parts = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        parts = [(index, value, value) for index, value in enumerate(node.value)]
    else:
        return
    for part, mark, value in parts:
        yield (*above, part), mark.start_mark.line + 1
        yield from _keys(value, (*above, part))
