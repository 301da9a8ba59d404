"""Which providers a persona can use, in order. Settings and persona decide; nothing is loaded.

A provider without a key is skipped; a chain that is left empty is an error of the persona that
needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from pydantic import SecretStr

from agent import log
from agent.errors import StartError
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)

KINDS = ("stt", "llm", "tts")
KEYLESS = frozenset({"compatible", "offline"})
"""What may need no key."""

OFFLINE_STT_LANGUAGES = frozenset({"en"})
OFFLINE_PACKAGES = ("pocketsphinx", "espeakng_loader")


def chains(settings: Settings, persona: Persona) -> dict[str, list[str]]:
    """The providers of each kind that `persona` can use, in order.

    Raises StartError when a kind has none, with what each provider lacks.
    """
    chosen: dict[str, list[str]] = {}
    for kind in KINDS:
        chosen[kind] = usable(settings, persona, kind)
        if not chosen[kind]:
            reasons = "; ".join(
                f"{name} {_lack(settings, persona, kind, name)}" for name in _order(settings, kind)
            )
            raise StartError(
                f"persona {persona.name}: no provider is left in speech.{kind}: {reasons}"
            )
    return chosen


def usable(settings: Settings, persona: Persona, kind: str) -> list[str]:
    """The providers of one kind that lack nothing, in order."""
    return [name for name in _order(settings, kind) if not _lack(settings, persona, kind, name)]


def places(settings: Settings, personas: Iterable[Persona]) -> set[tuple[str, str]]:
    """Every (kind, provider) that a call may use."""
    return {
        (kind, name)
        for persona in personas
        for kind in KINDS
        for name in usable(settings, persona, kind)
    }


def announce(settings: Settings) -> None:
    """Log each provider that will be skipped for want of a key, once."""
    for kind in KINDS:
        for name in _order(settings, kind):
            if name not in KEYLESS and not _key(settings, name):
                variable = f"{name.upper()}_API_KEY"
                logger.info("a provider is skipped", kind=kind, provider=name, missing=variable)


def voice_labels(settings: Settings, persona: Persona) -> dict[str, str]:
    """Provider, model, voice, pace and language of each voice that the persona can use, in order.

    By the provider's name. Raises StartError as `chains` does.
    """
    models = {
        "cartesia": settings.providers.cartesia.model,
        "openai": settings.providers.openai.tts_model,
        "offline": "espeak-ng",
    }
    manner = f"{persona.voice.speed or 1}/{persona.language}"
    return {
        name: f"{name}/{models[name]}/{getattr(persona.voice, name)}/{manner}"
        for name in chains(settings, persona)["tts"]
    }


def offline_is_installed() -> bool:
    """Whether the extra `offline` is there."""
    return all(find_spec(package) for package in OFFLINE_PACKAGES)


def _order(settings: Settings, kind: str) -> Sequence[str]:
    names: Sequence[str] = getattr(settings.speech, kind)
    return names


def _lack(settings: Settings, persona: Persona, kind: str, name: str) -> str:
    """Why `persona` cannot use the provider; empty when it can."""
    if name == "compatible":
        section = settings.providers.compatible
        told = section.base_url and section.model
        return "" if told else "has no providers.compatible.base_url or model"
    if name != "offline":
        return "" if _key(settings, name) else f"has no key ({name.upper()}_API_KEY)"
    if not offline_is_installed():
        return "is not installed (in the checkout: pip install -e '.[offline]')"
    if kind == "stt" and persona.language not in OFFLINE_STT_LANGUAGES:
        return "speaks English only"
    return ""


def _key(settings: Settings, name: str) -> str:
    key: SecretStr = getattr(settings.providers, name).api_key
    return key.get_secret_value()
