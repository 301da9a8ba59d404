"""The configuration part of an audit: every file that is named, every variable that is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agent import providers
from agent.errors import StartError
from config.errors import SettingsError, dotted
from config.fields import Key, from_root, leaves
from config.livekit_auth import load_ring
from config.persona import load_personas
from config.prices import load_prices
from config.references import REFERENCE, is_secret
from config.retries import load_retries
from config.settings import Settings
from config.sip import SIP_FILE, load_sip
from config.yamlfile import YamlFile, read_yaml, shown
from ops.upkeep.audit_advice import Advice, Area, Priority

MADE = frozenset(
    "data.folder recording.storage.folder backup.folder log.folder serve.client_key_file".split()
)
"""What is made where it is missing."""

configuration = partial(Advice, Area.CONFIGURATION)
HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW


def examine(settings: Settings, variables: Mapping[str, str]) -> list[Advice]:
    """All of it."""
    found = [
        *_livekit(settings),
        *_paths(settings),
        *_references(settings, variables),
        *_files(settings, variables),
        *_chains(settings),
    ]
    return list({(one.check, one.found): one for one in found}.values())


def _livekit(settings: Settings) -> Iterator[Advice]:
    if not settings.livekit.url:
        yield configuration(
            HIGH,
            "variables",
            "LIVEKIT_URL is missing: no worker can start",
            "set it where worker and ops serve are started (.env.example)",
        )
    try:
        ring = load_ring(settings)
    except SettingsError:
        return  # told with the files
    if ring.signing is None:
        yield configuration(
            HIGH,
            "variables",
            "LIVEKIT_API_KEY and LIVEKIT_API_SECRET are missing, and no key is promoted",
            "set them, or python -m ops keys add and promote",
        )


def _paths(settings: Settings) -> Iterator[Advice]:
    """Each path of the settings, and what it names is there."""
    for key, _ in leaves(type(settings)):
        name, value = dotted(key), _value(settings, key)
        if isinstance(value, Path) and name not in MADE and not value.exists():
            yield configuration(
                HIGH,
                "paths",
                f"{name}: there is no {shown(value)} ({settings.origin(name)})",
                "put it there, or mend the setting",
            )


def _references(settings: Settings, variables: Mapping[str, str]) -> Iterator[Advice]:
    """Each ${NAME} and each ..._file of the YAML files."""
    for file in (SIP_FILE, settings.livekit.auth):
        if file is None or not file.exists():
            continue
        priority = MEDIUM if file == SIP_FILE else HIGH
        try:
            read = read_yaml(file)
        except SettingsError:
            continue  # told with the files
        for key, text in _texts(read.data, ()):
            for name in REFERENCE.findall(text):
                if not variables.get(name, "").strip():
                    yield configuration(
                        priority,
                        "variables",
                        f"{_where(read, key)}: the environment variable {name} is not set",
                        f"set {name} where the commands are started that read {shown(file)}",
                    )
            last = str(key[-1])
            if last.endswith("_file") and is_secret((*key[:-1], last.removesuffix("_file"))):
                path = from_root(Path(text))
                if not path.exists():
                    yield configuration(
                        priority,
                        "paths",
                        f"{_where(read, key)}: there is no {shown(path)}",
                        "mount the secret there, or mend the path",
                    )


def _files(settings: Settings, variables: Mapping[str, str]) -> Iterator[Advice]:
    """Each file can be read as what it should be."""
    reads: dict[str, tuple[Priority, Callable[[], object]]] = {
        "personas": (HIGH, lambda: load_personas(settings.personas.folder)),
        "prices": (HIGH, lambda: load_prices(settings.costs.prices)),
        "retry policies": (HIGH, lambda: load_retries(settings.livekit.retry_policies)),
        "keys": (HIGH, lambda: load_ring(settings, variables)),
        shown(SIP_FILE): (MEDIUM, lambda: load_sip(variables)),
    }
    for name, (priority, work) in reads.items():
        try:
            work()
        except SettingsError as error:
            for line in error.problems:
                if "environment variable" in line and "is not set" in line:
                    continue  # told with the variables
                yield configuration(priority, "files", f"{name}: {line}", "mend the file")


def _chains(settings: Settings) -> Iterator[Advice]:
    try:
        personas = load_personas(settings.personas.folder)
    except SettingsError:
        return
    for persona in personas.values():
        try:
            usable = providers.chains(settings, persona)
        except StartError as error:
            is_default = persona.name == settings.personas.default
            yield configuration(
                HIGH if is_default else MEDIUM,
                "providers",
                str(error),
                "set a provider's key, or another chain in the section `speech`",
            )
        else:
            if any(names[0] == "offline" for names in usable.values()):
                yield configuration(
                    LOW,
                    "providers",
                    f"persona {persona.name} answers with the offline voice: no key is set",
                    "set the keys of the providers in `speech` before real callers ring",
                )


def _value(settings: Settings, key: Key) -> Any:
    value: Any = settings
    for part in key:
        value = getattr(value, str(part))
    return value


def _texts(node: Any, above: Key) -> Iterator[tuple[Key, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _texts(value, (*above, str(name)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _texts(value, (*above, index))
    elif isinstance(node, str):
        yield above, node


def _where(read: YamlFile, key: Key) -> str:
    return f"{read.where(key)}: {dotted(key)}"
