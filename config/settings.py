"""The product's settings: read once from YAML and the environment, checked, passed by section.

This is the only place that reads the environment. The order of rising priority: the defaults in
`config/sections.py`, `config/agent.yaml`, a `.env` file where the caller asks for it, the
environment. Relative paths, in YAML and in variables, begin at the checkout (the folder that
holds `config/`), so that a command does the same from wherever it is started.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.errors import SettingsError, dotted, explain
from config.fields import ROOT, Key, from_root
from config.sections import Settings
from config.sources import Given, Layer, from_dotenv, from_variables, from_yaml
from config.yamlfile import shown

__all__ = ["CONFIG_FILE", "CONFIG_VARIABLE", "ROOT", "Settings", "SettingsError", "load"]

CONFIG_FILE = ROOT / "config" / "agent.yaml"
CONFIG_VARIABLE = "VOICE_AGENT_CONFIG"
"""Names another YAML file than `config/agent.yaml`."""


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    dotenv: Path | None = None,
    *,
    lenient: bool = False,
) -> Settings:
    """The effective settings.

    `path` is the YAML file (else VOICE_AGENT_CONFIG, else `config/agent.yaml`, which may be
    missing); `environ` takes the place of the process's environment; `dotenv` is a .env file,
    weaker than the environment, and may be missing. `lenient`: the YAML file and the personas may
    be missing too, for a command that brings them back. Raises SettingsError with one line for
    each thing that is wrong.
    """
    problems: list[str] = []
    variables = os.environ if environ is None else environ
    real = {name: Given(text, f"environment {name}") for name, text in variables.items()}
    local = from_dotenv(dotenv, problems)
    local = {name: given for name, given in local.items() if name not in real}

    file = path or _chosen({**local, **real})
    if lenient and file and not file.exists():
        file = None
    given: Layer = {
        **(from_yaml(file, problems) if file else {}),
        **from_variables(local, problems),
        **from_variables(real, problems),
    }
    settings = _checked(given, problems, shown(file) if file else "settings")
    if settings and not lenient:
        problems.extend(_default_persona(settings))
    if problems or settings is None:
        raise SettingsError(*problems)
    return settings


def _chosen(variables: Mapping[str, Given]) -> Path | None:
    named = variables.get(CONFIG_VARIABLE)
    if named and named.value:
        return from_root(Path(named.value))
    return CONFIG_FILE if CONFIG_FILE.exists() else None


def _checked(given: Layer, problems: list[str], file: str) -> Settings | None:
    origins = {dotted(key): value.origin for key, value in given.items()}
    try:
        return Settings.model_validate(_nested(given), context=origins)
    except ValidationError as error:
        problems.extend(explain(error, Settings, lambda key: _origin(given, key) or file))
        return None


def _nested(given: Layer) -> dict[Any, Any]:
    """The layer as a tree. What is above another key stays, so that its error is told."""
    tree: dict[Any, Any] = {}
    for key in sorted(given, key=len):
        node: Any = tree
        for part in key[:-1]:
            node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[key[-1]] = given[key].value
    return tree


def _origin(given: Layer, key: Key) -> str:
    for held in (key[:end] for end in range(len(key), 0, -1)):
        if held in given:
            return given[held].origin
    return next((value.origin for below, value in given.items() if below[: len(key)] == key), "")


def _default_persona(settings: Settings) -> list[str]:
    folder, name = settings.personas.folder, settings.personas.default
    there = sorted(file.stem for file in folder.glob("*.yaml"))
    if name in there:
        return []
    if not there:
        where = settings.origin("personas.folder")
        return [f"{where}: personas.folder: no personas (files NAME.yaml) in {shown(folder)}"]
    where = settings.origin("personas.default")
    known = f"there are: {', '.join(there)}"
    return [f"{where}: personas.default: no persona {name} in {shown(folder)} ({known})"]


def file() -> Path | None:
    """The YAML file that `load` reads where none is given; None: there is none."""
    return _chosen({name: Given(text, "") for name, text in os.environ.items()})


def environment() -> dict[str, str]:
    """This process's environment, for the ${NAME} references of other files."""
    return dict(os.environ)


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `changes`, for a child process."""
    return {**os.environ, **changes}


def default_environment(name: str, value: str) -> None:
    """Give `name` a value for this process and its children, where it has none."""
    os.environ.setdefault(name, value)


def set_environment(name: str, value: str) -> None:
    """Give `name` this value for this process and its children."""
    os.environ[name] = value
