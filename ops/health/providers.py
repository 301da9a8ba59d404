"""Speech and language providers, each by one small real request: they cost, so they are rare."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from agent.providers import usable
from config.persona import Persona, load_personas
from config.settings import Settings
from ops.health.check import Check, Status, Unwell

KINDS = ("stt", "llm", "tts")
OFFLINE = "offline"
"""The voice within the worker's own processes: no server that could be asked."""
LIMIT = 11.0
"""Seconds for a probe, which has limits of its own."""


def checks(settings: Settings) -> list[Check]:
    """One check a kind."""
    every = settings.health.paid_every
    return [Check(kind, partial(_ask, settings, kind), every, LIMIT) for kind in KINDS]


async def _ask(settings: Settings, kind: str) -> str:
    personas = await asyncio.to_thread(load_personas, settings.personas.folder)
    asked = list(
        dict.fromkeys(name for one in personas.values() for name in usable(settings, one, kind))
    )
    if not asked:
        raise Unwell("no provider with a key", Status.NOT_CONFIGURED)
    remote = [name for name in asked if name != OFFLINE]
    told = await asyncio.gather(*(_probe(settings, personas, kind, name) for name in remote))
    failed = [name for name, error in zip(remote, told, strict=True) if error]
    words = [f"{name}: {error or 'answers'}" for name, error in zip(remote, told, strict=True)]
    if OFFLINE in asked:
        words.append(f"{OFFLINE}: installed")
    if failed:
        some = len(failed) < len(asked)
        raise Unwell("; ".join(words), Status.DEGRADED if some else Status.UNHEALTHY)
    return "; ".join(words)


async def _probe(settings: Settings, personas: Mapping[str, Persona], kind: str, name: str) -> str:
    """Empty, or why the provider is no use now: never its own words, which may quote a key."""
    # Two seconds to load, which the control plane's start need not wait for.
    framework, probes = await asyncio.to_thread(_load)
    try:
        await probes.probe(settings, personas, kind, name)
    except framework.APIStatusError as error:
        return f"refuses ({error.status_code})"
    except (framework.APIError, OSError) as error:  # TimeoutError is an OSError
        return f"no answer ({type(error).__name__})"
    return ""


def _load() -> tuple[Any, Any]:
    return import_module("livekit.agents"), import_module("agent.probes")
