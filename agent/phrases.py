"""Greeting, farewell, apology: synthesised once for a text, voice and model; played at once.

The cache lies on disk, so that a phrase is heard with every provider down.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import wave
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, APIError, tts
from livekit.agents.voice import SpeechHandle

from agent import log, providers
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)

FRAME_MS = 20


@dataclass(frozen=True, slots=True)
class Sound:
    """A spoken phrase: mono 16-bit samples."""

    samples: bytes
    rate: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / 2 / self.rate

    async def frames(self) -> AsyncIterator[rtc.AudioFrame]:
        """The sound in frames of 20 ms; the last one is padded with silence."""
        size = self.rate * FRAME_MS // 1000 * 2
        for start in range(0, len(self.samples), size):
            piece = self.samples[start : start + size].ljust(size, b"\0")
            yield rtc.AudioFrame(piece, self.rate, 1, size // 2)


class PhraseCache:
    """Sounds on disk, one WAV a phrase. Safe to share between processes: files appear whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> PhraseCache:
        """The cache in the data folder."""
        return cls(settings.data.folder / "phrases")

    def find(self, text: str, voice: str) -> Sound | None:
        """The sound of `text` in `voice` (provider, model and voice in one string), if cached."""
        try:
            with wave.open(str(self._path(text, voice)), "rb") as file:
                return Sound(file.readframes(file.getnframes()), file.getframerate())
        except (FileNotFoundError, EOFError, wave.Error):
            return None

    async def make(self, text: str, voice: str, synthesiser: tts.TTS[Any]) -> Sound:
        """Return the cached sound of `text`, or synthesise it and keep it.

        Raises APIError when the provider fails.
        """
        if known := await asyncio.to_thread(self.find, text, voice):
            return known
        async with synthesiser.synthesize(text) as stream:
            frame = await stream.collect()
        sound = Sound(bytes(frame.data), frame.sample_rate)
        await asyncio.to_thread(self._keep, text, voice, sound)
        return sound

    def _keep(self, text: str, voice: str, sound: Sound) -> None:
        path = self._path(text, voice)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        with wave.open(str(partial), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sound.rate)
            file.writeframes(sound.samples)
        partial.replace(path)

    def _path(self, text: str, voice: str) -> Path:
        return self._folder / f"{hashlib.sha256(f'{voice}|{text}'.encode()).hexdigest()}.wav"


class Phrases:
    """The phrases of one persona in one call."""

    def __init__(
        self, texts: Mapping[str, str], voice: str, synthesiser: tts.TTS[Any], cache: PhraseCache
    ) -> None:
        self._texts = texts
        self._voice = voice
        self._synthesiser = synthesiser
        self._cache = cache

    @classmethod
    def of(
        cls, persona: Persona, settings: Settings, cache: PhraseCache, synthesiser: tts.TTS[Any]
    ) -> Phrases:
        """The phrases of `persona` in its first voice."""
        label = providers.voice_label(settings, persona)
        texts = {name: text for name, text in persona.phrases.model_dump().items() if text}
        return cls(texts, label, synthesiser, cache)

    async def fill(self) -> int:
        """Synthesise what the cache lacks; how many phrases are missing still."""
        missing = 0
        for name, text in self._texts.items():
            try:
                await self._cache.make(text, self._voice, self._synthesiser)
            except APIError as error:
                missing += 1
                logger.warning("a phrase could not be synthesised", phrase=name, error=str(error))
        return missing

    def say(
        self, session: AgentSession[Any], name: str, *, interruptible: bool = True
    ) -> SpeechHandle:
        """Say the phrase `name` from the cache; without one the session's TTS speaks it."""
        text = self._texts[name]
        sound = self._cache.find(text, self._voice)
        if sound is None:
            logger.info("a phrase is not in the cache", phrase=name)
            return session.say(text, allow_interruptions=interruptible)
        return session.say(text, audio=sound.frames(), allow_interruptions=interruptible)

    def __contains__(self, name: object) -> bool:
        """Whether the persona has the phrase: `disclosure` may be left out."""
        return name in self._texts

    def __getitem__(self, name: str) -> str:
        """The text of a phrase."""
        return self._texts[name]
