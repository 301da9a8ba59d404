"""Speech and language providers, each by one small real request: they cost, so they are rare."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from livekit.agents import APIError, APIStatusError

from agent import probes
from agent.providers import usable
from config.persona import Persona, load_personas
from config.settings import Settings
from ops.health.check import Check, Status, Unwell

KINDS = ("stt", "llm", "tts")
OFFLINE = "offline"
"""The voice within the worker's own processes: no server that could be asked."""


def checks(settings: Settings) -> list[Check]:
    """One check a kind."""
    every, within = settings.health.paid_every, probes.LIMIT + 1.0
    return [Check(kind, partial(_ask, settings, kind), every, within) for kind in KINDS]


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
    try:
        await probes.probe(settings, personas, kind, name)
    except APIStatusError as error:
        return f"refuses ({error.status_code})"
    except (APIError, OSError) as error:  # TimeoutError is an OSError
        return f"no answer ({type(error).__name__})"
    return ""
