"""What a stand-in hears: PCM of 16 kHz in, words with their times out.

English by PocketSphinx with the words that callers of the shipped personas say, Russian by the
sound of their sentences (see `memory`). Nothing counts but the audio pushed.
"""

from __future__ import annotations

import io
import wave
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from livekit import rtc

from config.persona import Persona, load_personas
from config.settings import ROOT
from plugins.offline.endpoint import BLOCK, Edge, Endpointer
from plugins.offline.recognizer import SAMPLE_RATE, Grammar, Recognizer, Samples
from plugins.offline.stt import BLOCK_SAMPLES, INTERIM_BLOCKS, LEAD_BLOCKS
from tests.providers.memory import Memory

ASKING = frozenset(
    """
    what where when who how which can could is are do does will may
    что где когда кто как какой какая какие сколько можно до со куда
    """.split()
)
FRAME = 0.01
"""Seconds of PocketSphinx's frame."""


class Word(NamedTuple):
    """One word: seconds from the beginning of all audio."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance has begun."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an utterance sounds like so far, or (`final`) as a whole. Seconds."""

    words: tuple[Word, ...]
    confidence: float
    start: float
    end: float
    final: bool

    @property
    def text(self) -> str:
        """As it is said: lower case, no punctuation."""
        return " ".join(word.text for word in self.words)


class Ears:
    """One speaker. `push` audio as it comes; what was heard in it comes back.

    Without `interim` nothing is told of an utterance before its end.
    """

    def __init__(self, language: str, *, interim: bool = True) -> None:
        self._interim = interim
        self._recognizer = (
            Memory(phrases(language), "ru")
            if is_russian(language)
            else Recognizer(grammar(language))
        )
        self._endpointer = Endpointer()
        self._rest = np.zeros(0, np.int16)
        self._lead: deque[Samples] = deque(maxlen=LEAD_BLOCKS)
        self._blocks = 0
        self._began = 0
        self._said = ""

    @property
    def speaking(self) -> bool:
        """Whether an utterance is on."""
        return self._endpointer.speaking

    @property
    def spoken(self) -> float:
        """Seconds since the utterance that is on began."""
        return (self._blocks - self._began) * BLOCK if self.speaking else 0.0

    def push(self, pcm: bytes) -> Iterator[Started | Result]:
        """Hear more."""
        samples = np.concatenate((self._rest, np.frombuffer(pcm, np.int16)))
        whole = len(samples) // BLOCK_SAMPLES * BLOCK_SAMPLES
        self._rest = samples[whole:]
        for at in range(0, whole, BLOCK_SAMPLES):
            yield from self._hear(samples[at : at + BLOCK_SAMPLES])

    def finish(self) -> Iterator[Result]:
        """Take what was said so far for all of it."""
        if self.speaking:
            self._endpointer.reset()
            yield self._result(final=True)

    def close(self) -> None:
        """Hear no more."""
        self._recognizer.close()

    def _hear(self, block: Samples) -> Iterator[Started | Result]:
        edge = self._endpointer.push(block)
        self._blocks += 1
        if edge is Edge.START:
            self._recognizer.start(pause=(self._blocks - self._began) * BLOCK)
            self._began = self._blocks - len(self._lead) - 1
            for earlier in self._lead:
                self._recognizer.feed(earlier)
            self._lead.clear()
            self._said = ""
            yield Started()
        if self.speaking or edge is Edge.END:
            self._recognizer.feed(block)
        else:
            self._lead.append(block)
        if edge is Edge.END:
            yield self._result(final=True)
        elif self._interim and self.speaking and (self._blocks - self._began) % INTERIM_BLOCKS == 0:
            result = self._result(final=False)
            if result.words and result.text != self._said:
                self._said = result.text
                yield result

    def _result(self, *, final: bool) -> Result:
        began = self._began * BLOCK
        if final:
            heard = self._recognizer.finish()
            text, confidence = heard.text, heard.confidence
        else:
            text, confidence = self._recognizer.guess(), 0.5
        if self._endpointer.steady:
            text = ""
        words = tuple(
            Word(word, began + start, began + end)
            for word, (start, end) in zip(text.split(), self._times(), strict=False)
        )
        return Result(words, confidence, began, self._blocks * BLOCK, final)

    def _times(self) -> list[tuple[float, float]]:
        """When each word was said, in seconds of the utterance."""
        if isinstance(self._recognizer, Memory):
            return [(start, end) for _, start, end in self._recognizer.words]
        segments = self._recognizer.decoder.seg() or ()
        return [
            (s.start_frame * FRAME, s.end_frame * FRAME) for s in segments if s.word[0] not in "<["
        ]


def learn(language: str) -> None:
    """Make what is needed to hear a language: seconds that the first who is heard would wait."""
    Ears(language).close()


def hear(wav: bytes, language: str) -> Result:
    """All that is said in a WAV file, as one result."""
    with wave.open(io.BytesIO(wav)) as file:
        rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    ears = Ears(language, interim=False)
    try:
        heard = [*ears.push(resampled(pcm, rate, SAMPLE_RATE)), *ears.finish()]
    finally:
        ears.close()
    finals = [part for part in heard if isinstance(part, Result) and part.final and part.words]
    words = tuple(word for part in finals for word in part.words)
    confidence = min((part.confidence for part in finals), default=0.0)
    return Result(words, confidence, 0.0, len(pcm) / 2 / rate, final=True)


def written(words: tuple[Word, ...], language: str) -> list[str]:
    """The words with capitals and punctuation, as providers write them."""
    texts = [word.text for word in words]
    if not texts:
        return []
    if " ".join(texts) in phrases(language):
        texts[-1] += "?" if texts[0] in ASKING else "."
    texts[0] = texts[0].capitalize()
    return [f"I{text[1:]}" if text.split("'")[0] == "i" else text for text in texts]


def resampled(pcm: bytes, rate: int, wanted: int) -> bytes:
    """The same sound at another rate: mono, 16 bits."""
    if rate == wanted:
        return pcm
    resampler = rtc.AudioResampler(rate, wanted)
    frames = resampler.push(rtc.AudioFrame(pcm, rate, 1, len(pcm) // 2))
    return b"".join(bytes(frame.data) for frame in (*frames, *resampler.flush()))


@cache
def personas() -> dict[str, Persona]:
    """The shipped personas: what a provider's models know of the world."""
    return load_personas(ROOT / "config" / "personas")


def is_russian(language: str) -> bool:
    """Whether a language code ("ru", "ru-RU") is Russian."""
    return language.partition("-")[0] == "ru"


@cache
def phrases(language: str) -> tuple[str, ...]:
    """What callers say in a language ("en-US" is English), each once."""
    spoken = language.partition("-")[0]
    each = [p.listens_for() for p in personas().values() if p.language == spoken]
    return tuple(dict.fromkeys(phrase for all_of_one in each for phrase in all_of_one))


@cache
def grammar(language: str) -> Grammar:
    """The words that callers say in a language."""
    return Grammar.of(phrases(language))
