"""Which providers a persona can use, in order. Settings and persona decide; nothing is loaded.

A provider without a key is skipped; a chain that is left empty is an error of the persona that
needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from pydantic import SecretStr

from agent import log
from agent.errors import StartError
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)

KINDS = ("stt", "llm", "tts")
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


def announce(settings: Settings) -> None:
    """Log each provider that will be skipped for want of a key, once."""
    for kind in KINDS:
        for name in _order(settings, kind):
            if name != "offline" and not _key(settings, name):
                variable = f"{name.upper()}_API_KEY"
                logger.info("a provider is skipped", kind=kind, provider=name, missing=variable)


def voice_label(settings: Settings, persona: Persona) -> str:
    """Provider, model, voice, pace and language of the persona's first voice, in one string."""
    name = chains(settings, persona)["tts"][0]
    model = {
        "cartesia": settings.providers.cartesia.model,
        "openai": settings.providers.openai.tts_model,
        "offline": "espeak-ng",
    }[name]
    voice = getattr(persona.voice, name)
    return f"{name}/{model}/{voice}/{persona.voice.speed or 1}/{persona.language}"


def offline_is_installed() -> bool:
    """Whether the extra `offline` is there."""
    return all(find_spec(package) for package in OFFLINE_PACKAGES)


def _order(settings: Settings, kind: str) -> Sequence[str]:
    names: Sequence[str] = getattr(settings.speech, kind)
    return names


def _lack(settings: Settings, persona: Persona, kind: str, name: str) -> str:
    """Why `persona` cannot use the provider; empty when it can."""
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
