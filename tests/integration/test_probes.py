"""A probe is one small real request, and tells a provider that is back from one that is not."""

from __future__ import annotations

import pytest
from livekit.agents import APIError

from agent import probes
from agent.phrases import PhraseCache
from agent.providers import voice_labels
from config.settings import load
from tests.providers import Fault, Kind, Providers
from tests.providers.clients import Clients
from tests.providers.ears import personas

pytestmark = pytest.mark.clocked

EACH = [
    ("stt", "deepgram", "listen"),
    ("stt", "openai", "transcribe"),
    ("llm", "openai", "chat"),
    ("llm", "groq", "chat"),
    ("tts", "cartesia", ""),
    ("tts", "openai", "speak"),
]
CHAINS = {
    "VOICE_AGENT__SPEECH__STT": "deepgram,openai",
    "VOICE_AGENT__SPEECH__LLM": "openai,groq",
    "VOICE_AGENT__SPEECH__TTS": "cartesia,openai",
}


@pytest.fixture
async def servers():
    async with Providers() as servers:
        yield servers


@pytest.fixture
async def settings(servers, tmp_path):
    """With the greeting in the phrase cache, as at any time after a worker's start."""
    settings = load(
        environ=servers.variables | CHAINS | {"VOICE_AGENT__DATA__FOLDER": str(tmp_path)}
    )
    async with Clients(servers) as clients:
        label = voice_labels(settings, personas()["en"])["cartesia"]
        greeting, voice = personas()["en"].phrases.greeting, clients.of("tts", "cartesia")
        await PhraseCache.of(settings).make(greeting, label, voice)
    for server in servers.all:
        server.asked.clear()
    return settings


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(probes, "LIMIT", 4.0)


@pytest.mark.parametrize(("kind", "name", "operation"), EACH)
async def test_a_provider_that_is_back_is_asked_once(servers, settings, kind, name, operation):
    await probes.probe(settings, personas(), kind, name)
    asked = getattr(servers, name).asked
    assert len([each for each in asked if operation in each.operation]) == 1


@pytest.mark.parametrize(("kind", "name", "operation"), EACH)
async def test_a_provider_that_refuses_is_not(servers, settings, kind, name, operation):
    getattr(servers, name).faults.add(Fault(kind=Kind.EXPIRED, on=operation, times=0))
    with pytest.raises(APIError) as caught:
        await probes.probe(settings, personas(), kind, name)
    assert caught.value.status_code == 401


@pytest.mark.parametrize("fault", [Kind.HALF_OPEN, Kind.MALFORMED, Kind.HANG])
async def test_a_recogniser_that_hears_nothing_is_not(servers, settings, fault):
    servers.deepgram.faults.add(Fault(kind=fault, times=0))
    with pytest.raises((APIError, TimeoutError)):
        await probes.probe(settings, personas(), "stt", "deepgram")


@pytest.mark.parametrize("name", ["deepgram", "openai"])
async def test_without_a_greeting_a_connection_that_ends_well_is_enough(
    servers, tmp_path, name, monkeypatch
):
    monkeypatch.setattr(probes, "LIMIT", 10.0)
    folder = {"VOICE_AGENT__DATA__FOLDER": str(tmp_path)}
    settings = load(environ=servers.variables | CHAINS | folder)
    await probes.probe(settings, personas(), "stt", name)


async def test_without_a_greeting_one_that_does_not_is_not(servers, tmp_path):
    folder = {"VOICE_AGENT__DATA__FOLDER": str(tmp_path)}
    settings = load(environ=servers.variables | CHAINS | folder)
    servers.deepgram.faults.add(Fault(kind=Kind.STATUS, times=0))
    with pytest.raises(APIError):
        await probes.probe(settings, personas(), "stt", "deepgram")


async def test_a_language_model_that_says_nothing_is_not(servers, settings):
    servers.openai.faults.add(Fault(kind=Kind.STALL, on="chat", times=0))
    with pytest.raises((APIError, TimeoutError)):
        await probes.probe(settings, personas(), "llm", "openai")
