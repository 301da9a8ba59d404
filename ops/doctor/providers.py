"""One cheap, real request to each provider that has a key: is it good, how soon is an answer.

Deepgram tells about the key itself, OpenAI and Groq list their models, Cartesia one voice: none of
them costs anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import aiohttp
from pydantic import SecretStr

from config.settings import Settings
from ops.doctor.attempt import Check
from ops.doctor.finding import Finding, Level

CARTESIA_VERSION = "2025-04-16"


@dataclass(frozen=True, slots=True)
class Question:
    """What one provider is asked. `address` makes it of the configured `base_url`."""

    usual: str
    address: Callable[[str], str]
    headers: Callable[[str], Mapping[str, str]]
    what: str


def _bearer(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"}


QUESTIONS: Mapping[str, Question] = {
    "deepgram": Question(
        "https://api.deepgram.com/v1/listen",
        lambda base: f"{base.rstrip('/').removesuffix('/listen')}/auth/token",
        lambda key: {"Authorization": f"Token {key}"},
        "about its key",
    ),
    "openai": Question(
        "https://api.openai.com/v1", lambda base: f"{base.rstrip('/')}/models", _bearer, "models"
    ),
    "groq": Question(
        "https://api.groq.com/openai/v1",
        lambda base: f"{base.rstrip('/')}/models",
        _bearer,
        "models",
    ),
    "cartesia": Question(
        "https://api.cartesia.ai",
        lambda base: f"{base.rstrip('/')}/voices?limit=1",
        lambda key: {"X-API-Key": key, "Cartesia-Version": CARTESIA_VERSION},
        "a voice",
    ),
}


def checks(loaded: Settings) -> list[Check]:
    """One check for each provider with a key."""
    return [
        Check(
            "providers",
            f"{name} ({question.what})",
            partial(ask, loaded, name),
            todo="look at the provider's status page and at this machine's way out",
            lost=_level(loaded, name),
        )
        for name, question in QUESTIONS.items()
        if _key(loaded, name)
    ]


async def ask(loaded: Settings, name: str) -> list[Finding]:
    """One provider's answer to its question."""
    question, level = QUESTIONS[name], _level(loaded, name)
    tried = f"{name} ({question.what})"
    base = getattr(loaded.providers, name).base_url or question.usual
    began = time.monotonic()
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.get(
                question.address(_over_http(base)),
                headers=question.headers(_key(loaded, name)),
                allow_redirects=False,
            ) as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, OSError) as error:
        todo = f"check the way to it, and providers.{name}.base_url"
        return [Finding(level, tried, f"no answer: {type(error).__name__}", todo)]
    took = f"after {(time.monotonic() - began) * 1000:.0f} ms"
    if status == HTTPStatus.OK:
        return [Finding(Level.WELL, tried, f"the key is good, {took}")]
    came_back = f"{status} {_phrase(status)} {took}".replace("  ", " ")
    return [Finding(level, tried, came_back, _todo(name, status))]


def _level(loaded: Settings, name: str) -> Level:
    """Broken where a chain has nobody else who could serve."""
    chains = (loaded.speech.stt, loaded.speech.llm, loaded.speech.tts)
    others = [
        [other for other in chain if other == "offline" or _key(loaded, other)]
        for chain in chains
        if name in chain
    ]
    return Level.BROKEN if any(usable == [name] for usable in others) else Level.DEGRADED


def _todo(name: str, status: int) -> str:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return f"set {name.upper()}_API_KEY to a key that the provider knows"
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.PAYMENT_REQUIRED}:
        return "look at the account's balance and limits"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "look at the provider's status page"
    return f"check providers.{name}.base_url"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _over_http(base: str) -> str:
    """A provider may be configured by the URL of its websocket."""
    return base.replace("wss://", "https://", 1).replace("ws://", "http://", 1)


def _key(loaded: Settings, name: str) -> str:
    key: SecretStr = getattr(loaded.providers, name).api_key
    return key.get_secret_value()
