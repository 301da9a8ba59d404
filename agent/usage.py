"""What a call used, as its record keeps it: counters by provider and model, and its minutes.

The framework names a provider as its plugin does: "Deepgram", or the host of an API that speaks
OpenAI's protocol. Here they get the names that settings and price book know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from agent.call import Caller
from config.sections import Providers

TRUNK = "sip.trunkID"
"""The attribute with which LiveKit SIP names the trunk that a call came through."""

HOSTS = {"api.openai.com": "openai", "api.groq.com": "groq"}
"""Providers by the host of their own address."""


def of_call(
    models: Iterable[Any], providers: Providers, caller: Caller | None, seconds: float
) -> dict[str, Any]:
    """The usage of a call; `models` are the framework's, `seconds` how long the caller was there.

    {"models": [{"type": "llm_usage", "provider": "openai", "model": ..., counters}, ...],
    "telephony": {"trunk": "ST_...", "seconds": 61.2}}, the latter for telephone calls only.
    """
    counters = [model.model_dump(mode="json") for model in models]
    for model in counters:
        model["provider"] = _name_of(model["provider"], model["model"], providers)
    usage: dict[str, Any] = {"models": counters}
    if caller is not None and caller.kind == "sip":
        trunk = caller.attributes.get(TRUNK, "")
        usage["telephony"] = {"trunk": trunk, "seconds": round(seconds, 3)}
    return usage


def _name_of(told: str, model: str, providers: Providers) -> str:
    """Our name of the provider that the framework calls `told`."""
    name = told.lower()
    if name in Providers.model_fields or name == "offline":
        return name
    served = _served(name, providers)
    if len(served) > 1:  # one gateway for several providers: the model tells which was meant
        by_model = [known for known, models in served.items() if model in models]
        return (by_model or list(served))[0]
    return next(iter(served), HOSTS.get(name, told))


def _served(host: str, providers: Providers) -> Mapping[str, frozenset[str]]:
    """The providers whose address is set to `host`, each with its models."""
    served = {}
    for name in type(providers).model_fields:
        section = getattr(providers, name)
        url = getattr(section, "base_url", "")
        if url and urlsplit(url).netloc.lower() == host:
            values = section.model_dump().items()
            served[name] = frozenset(value for key, value in values if key.endswith("model"))
    return served
