"""Is a provider back? One small real request a probe: what it costs is told at each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, llm, stt, tts
from livekit.agents.utils import http_context

from agent import framework, providers, speech
from agent.phrases import PhraseCache, Sound
from config.persona import Persona
from config.settings import Settings

ONCE = APIConnectOptions(max_retry=0, timeout=5.0)
LIMIT = 10.0
"""Seconds for a probe as a whole."""

SOUND = 2.0
"""Seconds of speech that a recogniser is given."""

SAID = "Hello."
ASKED = "Say ok."


async def probe(
    settings: Settings, personas: Mapping[str, Persona], kind: str, provider: str
) -> None:
    """Ask `provider` for something small of `kind`.

    Raises APIError or TimeoutError when it does not answer, or answers nothing.
    """
    persona = next(p for p in personas.values() if provider in providers.usable(settings, p, kind))
    async with asyncio.timeout(LIMIT), http_context.open():
        client = speech.client(settings, persona, kind, provider, speech.hearing(settings))
        try:
            await _ask(client, _greeting(settings, persona))
        finally:
            if isinstance(client, stt.STT):
                await framework.close_recogniser(client)
            else:
                await client.aclose()


async def _ask(client: Any, greeting: Sound | None) -> None:
    if isinstance(client, stt.STT):
        await _hears(client, greeting)
    elif isinstance(client, llm.LLM):
        await _answers(client)
    else:
        await _speaks(client)


async def _hears(client: stt.STT[Any], greeting: Sound | None) -> None:
    """Two seconds of speech; of silence a connection is enough that opens and ends well."""
    sound = greeting or Sound(b"\0\0" * int(16000 * SOUND), 16000)
    samples = sound.samples[: int(sound.rate * SOUND) * 2]
    frames = [rtc.AudioFrame(samples, sound.rate, 1, len(samples) // 2)]
    if isinstance(client, stt.StreamAdapter):
        # Without the adapter's detector: it may take a greeting's first seconds for no speech.
        await client.wrapped_stt.recognize(frames, conn_options=ONCE)
        return
    async with client.stream(conn_options=ONCE) as stream:
        for frame in frames:
            stream.push_frame(frame)
        stream.flush()
        if greeting is None:
            stream.end_input()  # Deepgram's client then ends with its next keep-alive: in 5 s
        async for event in stream:
            if event.type != stt.SpeechEventType.RECOGNITION_USAGE:
                return
    if greeting is not None:
        raise APIConnectionError("nothing was heard")


async def _answers(client: llm.LLM[Any]) -> None:
    """A prompt of two words, left at the first piece of the answer."""
    context = llm.ChatContext.empty()
    context.add_message(role="user", content=ASKED)
    async with client.chat(chat_ctx=context, conn_options=ONCE) as stream:
        async for _ in stream:
            return
    raise APIConnectionError("nothing was answered")


async def _speaks(client: tts.TTS[Any]) -> None:
    """One word, left at the first piece of its sound."""
    async with client.synthesize(SAID, conn_options=ONCE) as stream:
        async for _ in stream:
            return
    raise APIConnectionError("nothing was spoken")


def _greeting(settings: Settings, persona: Persona) -> Sound | None:
    """The persona's greeting, where the phrase cache has it."""
    cache = PhraseCache.of(settings)
    labels = providers.voice_labels(settings, persona).values()
    known = (cache.find(persona.phrases.greeting, label) for label in labels)
    return next(filter(None, known), None)
