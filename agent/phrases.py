"""Greeting, farewell, apology: synthesised once for a text, voice and model; played at once.

The cache lies on disk, so that a phrase is heard with every provider down.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import wave
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
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

LEAD = 0.6
"""Seconds of a phrase that are given to the session before they are heard."""

PIECE = 5
"""Frames of a phrase that are given without a look at the clock, or at anything else."""

AT_ONCE = 4
"""Phrases that one voice is asked for at the same time."""

PATIENCE = 10.0
"""Seconds for one phrase; a voice that takes longer is passed over."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A spoken phrase: mono 16-bit samples."""

    samples: bytes
    rate: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / 2 / self.rate

    def at(self, rate: int) -> Sound:
        """The same sound at another sample rate."""
        if rate == self.rate:
            return self
        resampler = rtc.AudioResampler(input_rate=self.rate, output_rate=rate)
        frames = resampler.push(bytearray(self.samples)) + resampler.flush()
        return Sound(b"".join(bytes(frame.data.cast("B")) for frame in frames), rate)

    async def frames(self) -> AsyncIterator[rtc.AudioFrame]:
        """The sound in frames of 20 ms; the last one is padded with silence."""
        size = self.rate * FRAME_MS // 1000 * 2
        for start in range(0, len(self.samples), size):
            piece = self.samples[start : start + size].ljust(size, b"\0")
            yield rtc.AudioFrame(piece, self.rate, 1, size // 2)

    async def spoken(self) -> AsyncIterator[rtc.AudioFrame]:
        """The same frames as a voice would bring them: each a little before it is heard.

        Given a whole greeting, the session would resample and measure all of it before the first
        frame is played: a third of the work until the greeting, while other callers wait.
        """
        clock, begun, given = asyncio.get_running_loop().time, 0.0, 0
        async for frame in self.frames():
            yield frame
            begun = begun or clock()  # until somebody hears it, the first frame is not taken
            given += 1
            if given % PIECE == 0:
                ahead = given * FRAME_MS / 1000 - (clock() - begun)
                await asyncio.sleep(max(0.0, ahead - LEAD))


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
        except (OSError, EOFError, wave.Error):
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
    """The phrases of one persona in one call, in the first of its voices that has each."""

    def __init__(self, texts: Mapping[str, str], voices: Sequence[str], cache: PhraseCache) -> None:
        self._texts = texts
        self._voices = voices
        self._cache = cache

    @classmethod
    def of(cls, persona: Persona, settings: Settings, cache: PhraseCache) -> Phrases:
        """The phrases of `persona` in the voices that it can use."""
        labels = providers.voice_labels(settings, persona)
        texts = {name: text for name, text in persona.phrases.model_dump().items() if text}
        return cls(texts, tuple(labels.values()), cache)

    def find(self, name: str) -> Sound | None:
        """The sound of the phrase `name`, if any voice has it."""
        found = (self._cache.find(self._texts[name], voice) for voice in self._voices)
        return next((sound for sound in found if sound), None)

    def lacking(self, voice: str | None = None) -> list[str]:
        """The names of the phrases that `voice` has not said yet; without one: that none has."""
        voices = self._voices if voice is None else [voice]
        return [
            name
            for name, text in self._texts.items()
            if not any(self._cache.find(text, label) for label in voices)
        ]

    async def fill(self, voices: Mapping[str, tts.TTS[Any]]) -> list[str]:
        """Have every phrase said; the names of those that the first voice could not say.

        What one of `voices` (by label, in order) fails to say in time is said by the next. The
        first is asked also for what another one has said before.
        """
        first = next(iter(voices))
        for label, voice in voices.items():
            names = self.lacking(first) if label == first else self.lacking()
            await _Round(self._texts, label, voice, self._cache).make(names)
        return self.lacking(first)

    def say(
        self, session: AgentSession[Any], name: str, *, interruptible: bool = True
    ) -> SpeechHandle:
        """Say the phrase `name` from the cache; without one the session's TTS speaks it."""
        text, sound = self._texts[name], self.find(name)
        if sound is None:
            logger.info("a phrase is not in the cache", phrase=name)
            return session.say(text, allow_interruptions=interruptible)
        return session.say(text, audio=sound.spoken(), allow_interruptions=interruptible)

    @property
    def count(self) -> int:
        """How many phrases the persona has."""
        return len(self._texts)

    def __contains__(self, name: object) -> bool:
        """Whether the persona has the phrase: `disclosure` may be left out."""
        return name in self._texts

    def __getitem__(self, name: str) -> str:
        """The text of a phrase."""
        return self._texts[name]


class _Round:
    """One voice says what is missing, some phrases at a time, until it fails."""

    def __init__(
        self, texts: Mapping[str, str], label: str, voice: tts.TTS[Any], cache: PhraseCache
    ) -> None:
        self._texts = texts
        self._label = label
        self._voice = voice
        self._cache = cache
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._is_lost = False

    async def make(self, names: Iterable[str]) -> None:
        await asyncio.gather(*(self._make(name) for name in names))

    async def _make(self, name: str) -> None:
        async with self._slots:
            if self._is_lost:
                return
            try:
                making = self._cache.make(self._texts[name], self._label, self._voice)
                await asyncio.wait_for(making, PATIENCE)
            except (APIError, TimeoutError) as error:
                self._is_lost = True  # it would keep the next voice waiting
                logger.warning(
                    "a phrase could not be synthesised",
                    phrase=name,
                    voice=self._label.partition("/")[0],
                    error=str(error) or type(error).__name__,
                )
