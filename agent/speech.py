"""Settings and persona become ears, mind and voice: each an ordered chain of providers.

A provider without a key is skipped. The first of a chain that is up serves; where it fails, the
next one goes on within the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from livekit.agents import (
    NOT_GIVEN,
    APIConnectOptions,
    APITimeoutError,
    inference,
    llm,
    room_io,
    stt,
    tts,
    vad,
)
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NotGivenOr
from livekit.agents.utils import AudioBuffer
from livekit.plugins import cartesia, deepgram, openai
from openai import AsyncClient

from agent import framework, openai_client, providers
from agent.availability import Availability
from agent.ears import Ears
from agent.listener import ANSWER, WORDLESS
from config.persona import Persona
from config.sections import Compatible, Groq, OpenAI
from config.settings import Settings
from plugins import chain

if providers.offline_is_installed():
    from plugins import offline

SILENCE_HEARD = 0.2
"""Seconds of silence after which the VAD says that speech has ended. How long the caller may
pause within a turn is decided later, by `endpointing`."""

HEARD = room_io.AudioInputOptions(sample_rate=16_000, auto_gain_control=False)
"""A caller in a room, as detector and recognisers take it: nothing is resampled twice for them.
Gain control would take a quarter of the event loop's time in a burst; telephones have a level."""

DEEPGRAM_URL = "https://api.deepgram.com/v1/listen"
CARTESIA_URL = "https://api.cartesia.ai"
CARTESIA_TIMES_WORDS = frozenset({"en", "de", "es", "fr"})
"""Languages in which Cartesia tells when each word is heard; asked for in others, it warns."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What a session hears, thinks and speaks with."""

    vad: vad.VAD
    stt: stt.STT[Any]
    llm: chain.LLM
    tts: chain.TTS
    first: dict[str, str]
    """The first provider of each kind: {"stt": "deepgram", ...}."""
    serving: dict[str, str]
    """The provider of each kind that was heard of last."""


def build(
    settings: Settings,
    persona: Persona,
    ears: vad.VAD,
    availability: Availability | None = None,
) -> Speech:
    """The speech of one call. Raises StartError as `providers.chains` does."""
    usable = providers.chains(settings, persona)
    availability = availability or Availability()
    serving = {kind: names[0] for kind, names in usable.items()}
    make = _Builder(settings, persona, ears)
    limits = persona.limits
    return Speech(
        vad=ears,
        stt=_hearing(make, usable["stt"], availability, serving),
        llm=chain.LLM(
            [chain.Member(name, make.llm[name]()) for name in usable["llm"]],
            standing=availability,
            patience=chain.llm.Patience(limits.first_word, limits.behind),
            closing=persona.phrases.cut_off,
            serving=serving,
        ),
        tts=chain.TTS(
            [chain.Member(name, make.tts[name]()) for name in usable["tts"]],
            standing=availability,
            patience=chain.tts.Patience(limits.first_audio, limits.audio_gap),
            serving=serving,
        ),
        first=dict(serving),
        serving=serving,
    )


def client(settings: Settings, persona: Persona, kind: str, name: str, ears: vad.VAD) -> Any:
    """One provider's client alone: for probes, which ask no chain."""
    make: Callable[[], Any] = getattr(_Builder(settings, persona, ears), kind)[name]
    return make()


def voices_of(settings: Settings, persona: Persona) -> dict[str, tts.TTS[Any]]:
    """The persona's voices by their labels, each alone: for filling the phrase cache."""
    make = _Builder(settings, persona, None)
    labels = providers.voice_labels(settings, persona)
    return {label: make.tts[name]() for name, label in labels.items()}


def preload() -> None:
    """Load what providers' clients and the offline voice need: for the forkserver."""
    with suppress(OSError):  # certificates that cannot be read are told of where they are needed
        openai_client.trust()
    if providers.offline_is_installed():
        offline.preload()


def warm(settings: Settings, personas: Iterable[Persona]) -> None:
    """Make before the first call what takes a call's time: the offline recogniser's grammars."""
    for persona in personas:
        if "offline" in providers.usable(settings, persona, "stt"):
            offline.STT(phrases=persona.listens_for(), language=persona.language)


def hearing(settings: Settings) -> vad.VAD:
    """The voice activity detector. Made once a process, before the first call.

    The framework's bundled Silero is the same network as livekit-plugins-silero, in a native
    library that costs a job process 10 MB where ONNX Runtime costs 40 MB.
    """
    if settings.speech.vad == "silero":
        from livekit.plugins import silero  # noqa: PLC0415 - ONNX Runtime only where it is wanted

        return silero.VAD.load(min_silence_duration=SILENCE_HEARD)
    return inference.VAD(model="silero", min_silence_duration=SILENCE_HEARD)


def _hearing(
    make: _Builder, names: list[str], availability: Availability, serving: dict[str, str]
) -> stt.STT[Any]:
    """The offline recogniser alone has no connection to lose."""
    if names == ["offline"]:
        return make.stt["offline"]()
    chain = [(name, make.stt[name]()) for name in names]
    return Ears(chain, availability, serving, settling=SILENCE_HEARD)


class Whole(openai.STT):
    """OpenAI's recogniser of whole utterances; its plugin waits half a minute for an answer."""

    async def recognize(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        """Hear one utterance. Raises APITimeoutError when its words do not come in time."""
        try:
            async with asyncio.timeout(ANSWER):
                heard = await super().recognize(
                    buffer, language=language, conn_options=conn_options
                )
        except TimeoutError:
            raise APITimeoutError("the transcript did not come in time") from None
        for alternative in heard.alternatives:
            alternative.text = alternative.text or WORDLESS
        return heard


def _client(section: OpenAI | Groq | Compatible, no_key: str = "") -> AsyncClient:
    # Only OpenAI's own key may go to where OpenAI's client goes by default.
    default = None if isinstance(section, OpenAI) else ""
    key = section.api_key.get_secret_value() or no_key
    return openai_client.client(key, section.base_url or default)


def _model(section: OpenAI | Groq | Compatible, name: str, no_key: str = "") -> llm.LLM[Any]:
    model = openai.LLM(client=_client(section, no_key), model=name)
    framework.own_client(model)
    return model


class _Builder:
    """One function a provider and kind."""

    def __init__(self, settings: Settings, persona: Persona, ears: vad.VAD | None) -> None:
        self._settings = settings
        self._providers = settings.providers
        self._persona = persona
        self._ears = ears
        self.stt: dict[str, Callable[[], stt.STT[Any]]] = {
            "deepgram": self._deepgram,
            "openai": self._openai_stt,
            "offline": self._offline_stt,
        }
        self.llm: dict[str, Callable[[], llm.LLM[Any]]] = {
            "openai": self._openai_llm,
            "groq": self._groq,
            "compatible": self._compatible,
            "offline": self._offline_llm,
        }
        self.tts: dict[str, Callable[[], tts.TTS[Any]]] = {
            "cartesia": self._cartesia,
            "openai": self._openai_tts,
            "offline": self._offline_tts,
        }

    def _deepgram(self) -> stt.STT[Any]:
        section = self._providers.deepgram
        return deepgram.STT(
            api_key=section.api_key.get_secret_value(),
            model=section.model,
            language=self._persona.language,
            base_url=section.base_url or DEEPGRAM_URL,
        )

    def _openai_stt(self) -> stt.STT[Any]:
        section = self._providers.openai
        whole = Whole(
            client=_client(section),
            model=section.stt_model,
            language=self._persona.language,
            use_realtime=False,
        )
        assert self._ears is not None
        return stt.StreamAdapter(stt=whole, vad=self._ears)

    def _openai_llm(self) -> llm.LLM[Any]:
        section = self._providers.openai
        return _model(section, section.llm_model)

    def _groq(self) -> llm.LLM[Any]:
        section = self._providers.groq
        return _model(section, section.llm_model)

    def _compatible(self) -> llm.LLM[Any]:
        section = self._providers.compatible
        return _model(section, section.model, no_key="none")  # a server at home may want none

    def _cartesia(self) -> tts.TTS[Any]:
        section = self._providers.cartesia
        return cartesia.TTS(
            api_key=section.api_key.get_secret_value(),
            model=section.model,
            voice=self._persona.voice.cartesia,
            language=self._persona.language,
            speed=self._persona.voice.speed,
            word_timestamps=self._persona.language in CARTESIA_TIMES_WORDS,
            base_url=section.base_url or CARTESIA_URL,
            tokenizer=chain.Whole(),
        )

    def _openai_tts(self) -> tts.TTS[Any]:
        section = self._providers.openai
        voice = openai.TTS(
            client=_client(section),
            model=section.tts_model,
            voice=self._persona.voice.openai,
            speed=self._persona.voice.speed or 1.0,
        )
        framework.own_client(voice)
        return voice

    def _offline_stt(self) -> stt.STT[Any]:
        persona = self._persona
        return offline.STT(phrases=persona.listens_for(), language=persona.language)

    def _offline_llm(self) -> llm.LLM[Any]:
        topics = [
            offline.Topic(fact.name, fact.asks, fact.answer, fact.tool)
            for fact in self._persona.facts
        ]
        return offline.LLM(topics=topics, unknown=self._persona.phrases.unknown)

    def _offline_tts(self) -> tts.TTS[Any]:
        return offline.TTS(voice=self._persona.voice.offline)
