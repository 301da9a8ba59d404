"""Chains of providers: who serves, who stands behind, who is skipped and why."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web
from livekit import rtc
from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIError,
    APITimeoutError,
    llm,
)
from livekit.agents.utils import http_context
from livekit.plugins import openai

from agent import framework, openai_client, providers, speech
from agent.availability import Availability
from agent.ears import Ears
from agent.errors import StartError
from config.persona import load_personas
from config.settings import ROOT, Settings, load
from plugins import offline

KEYS = {
    "DEEPGRAM_API_KEY": "dg-key",
    "OPENAI_API_KEY": "oa-key",
    "GROQ_API_KEY": "gq-key",
    "CARTESIA_API_KEY": "ca-key",
    "COMPATIBLE_API_KEY": "co-key",
    "VOICE_AGENT__PROVIDERS__COMPATIBLE__MODEL": "llama",
}
ONCE = APIConnectOptions(max_retry=0, timeout=5)
PERSONAS = load_personas(ROOT / "config" / "personas")
EN, RU = PERSONAS["en"], PERSONAS["ru"]


@pytest.fixture(scope="module")
def ears():
    return speech.hearing(Settings())


@pytest.fixture
async def http():
    async with http_context.open():
        yield


def test_without_keys_the_offline_voice_is_all_there_is():
    assert providers.chains(load(environ={}), EN) == {
        "stt": ["offline"],
        "llm": ["offline"],
        "tts": ["offline"],
    }


def test_the_order_is_the_settings_order():
    settings = load(environ=KEYS | {"VOICE_AGENT__SPEECH__LLM": "groq,offline,openai"})
    assert providers.chains(settings, EN) == {
        "stt": ["deepgram", "openai", "offline"],
        "llm": ["groq", "offline", "openai"],
        "tts": ["cartesia", "openai", "offline"],
    }


def test_one_key_serves_every_kind_that_it_can():
    usable = providers.chains(load(environ={"OPENAI_API_KEY": "k"}), RU)
    assert usable == {"stt": ["openai"], "llm": ["openai", "offline"], "tts": ["openai", "offline"]}


def test_russian_without_keys_says_what_each_provider_lacks():
    with pytest.raises(StartError) as caught:
        providers.chains(load(environ={}), RU)
    assert str(caught.value) == (
        "persona ru: no provider is left in speech.stt: deepgram has no key (DEEPGRAM_API_KEY);"
        " openai has no key (OPENAI_API_KEY); offline speaks English only"
    )


def test_a_chain_of_skipped_providers_is_an_error():
    settings = load(environ={"VOICE_AGENT__SPEECH__TTS": "cartesia"})
    with pytest.raises(StartError, match=r"speech\.tts: cartesia has no key \(CARTESIA_API_KEY\)"):
        providers.chains(settings, EN)


def test_each_skipped_provider_is_told_in_one_line(caplog):
    caplog.set_level(logging.INFO)
    providers.announce(load(environ={"DEEPGRAM_API_KEY": "k"}))
    told = [(r.kind, r.provider, r.missing) for r in caplog.records]
    assert told == [
        ("stt", "openai", "OPENAI_API_KEY"),
        ("llm", "openai", "OPENAI_API_KEY"),
        ("llm", "groq", "GROQ_API_KEY"),
        ("tts", "cartesia", "CARTESIA_API_KEY"),
        ("tts", "openai", "OPENAI_API_KEY"),
    ]


def plugins(part):
    return [(member.name, type(member.plugin)) for member in part.members]


async def test_without_keys_the_offline_voice_is_the_whole_chain(ears):
    built = speech.build(load(environ={}), EN, ears, Availability())
    assert isinstance(built.stt, offline.STT)
    assert plugins(built.llm) == [("offline", offline.LLM)]
    assert plugins(built.tts) == [("offline", offline.TTS)]
    assert built.first == {"stt": "offline", "llm": "offline", "tts": "offline"}


async def test_with_keys_the_others_stand_behind_the_first(ears, http):
    built = speech.build(load(environ=KEYS), EN, ears, Availability())
    assert isinstance(built.stt, Ears)
    assert list(built.stt.chain) == ["deepgram", "openai", "offline"]
    assert [name for name, _ in plugins(built.llm)] == ["openai", "groq", "offline"]
    assert [name for name, _ in plugins(built.tts)] == ["cartesia", "openai", "offline"]
    assert built.first == {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}
    for part in (built.stt, built.llm, built.tts):
        await part.aclose()


async def test_openai_is_not_waited_for_as_long_as_its_plugin_would(ears, monkeypatch):
    async def hangs(self, buffer, *, language, conn_options):
        await asyncio.Event().wait()

    monkeypatch.setattr(speech, "ANSWER", 0.01)
    monkeypatch.setattr(openai.STT, "_recognize_impl", hangs)
    client = speech.client(load(environ=KEYS), EN, "stt", "openai", ears)
    silence = rtc.AudioFrame(bytes(3200), 16000, 1, 1600)
    with pytest.raises(APITimeoutError):
        await asyncio.wait_for(client.wrapped_stt.recognize(silence, conn_options=ONCE), 5)
    await framework.close_recogniser(client)


class Provider:
    """A provider's server on loopback that lets nobody in and notes who asked."""

    def __init__(self):
        self.asked = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._refuse)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _refuse(self, request):
        headers = request.headers
        key = headers.get("Authorization") or headers.get("X-API-Key", "")
        self.asked.append((request.path, key))
        return web.json_response({"error": {"message": "no"}}, status=401)


def settings_at(url, name, path, kind):
    return load(
        environ=KEYS
        | {
            f"VOICE_AGENT__PROVIDERS__{name.upper()}__BASE_URL": url + path,
            f"VOICE_AGENT__SPEECH__{kind.upper()}": name,
        }
    )


@pytest.mark.parametrize(
    ("name", "path", "asked", "key"),
    [
        ("openai", "/v1", "/v1/chat/completions", "Bearer oa-key"),
        ("groq", "/openai/v1", "/openai/v1/chat/completions", "Bearer gq-key"),
        ("compatible", "/v1", "/v1/chat/completions", "Bearer co-key"),
    ],
)
async def test_a_language_model_is_asked_at_its_base_url(ears, http, name, path, asked, key):
    async with Provider() as provider:
        settings = settings_at(provider.url, name, path, "llm")
        model = speech.build(settings, EN, ears, Availability()).llm
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="hello")
        with pytest.raises(APIConnectionError, match="no language model answered"):
            await model.chat(chat_ctx=context, conn_options=ONCE).collect()
        await model.aclose()
        assert provider.asked == [(asked, key)]


async def test_only_openais_own_key_goes_to_openai_by_default(ears):
    settings = load(environ=KEYS | {"VOICE_AGENT__PROVIDERS__GROQ__BASE_URL": ""})
    clients = {name: speech.client(settings, EN, "llm", name, ears) for name in ("openai", "groq")}
    assert clients["openai"]._client.base_url.host == "api.openai.com"
    assert not clients["groq"]._client.base_url.host
    for model in clients.values():
        await model.aclose()


def test_certificates_that_cannot_be_read_do_not_keep_the_worker_from_starting(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    openai_client.trust.cache_clear()
    speech.preload()
    with pytest.raises(OSError, match="No such file"):
        openai_client.trust()
    openai_client.trust.cache_clear()


@pytest.mark.parametrize(
    ("name", "path", "asked", "key"),
    [
        ("openai", "/v1", "/v1/audio/speech", "Bearer oa-key"),
        ("cartesia", "", "/tts/bytes", "ca-key"),
    ],
)
async def test_a_voice_is_asked_at_its_base_url(http, name, path, asked, key):
    async with Provider() as provider:
        (voice,) = speech.voices_of(settings_at(provider.url, name, path, "tts"), EN).values()
        with pytest.raises(APIError):
            async with voice.synthesize("hello", conn_options=ONCE) as stream:
                await stream.collect()
        await voice.aclose()
        assert provider.asked == [(asked, key)]


@pytest.mark.parametrize(
    ("name", "path", "asked", "key"),
    [
        ("openai", "/v1", "/v1/audio/transcriptions", "Bearer oa-key"),
        ("deepgram", "/v1/listen", "/v1/listen", "Token dg-key"),
    ],
)
async def test_a_recogniser_is_asked_at_its_base_url(ears, http, name, path, asked, key):
    async with Provider() as provider:
        settings = settings_at(provider.url, name, path, "stt")
        hearing = speech.client(settings, EN, "stt", name, ears)
        frame = rtc.AudioFrame(b"\0\0" * 1600, 16000, 1, 1600)
        with pytest.raises(APIError):
            await hearing.recognize([frame], conn_options=ONCE)
        await framework.close_recogniser(hearing)
        assert provider.asked == [(asked, key)]
