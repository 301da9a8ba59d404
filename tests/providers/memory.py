"""Russian for the stand-ins: the sentences of the persona's callers, known by their sound.

There is no small recogniser of Russian. What a simulated caller says is synthesised, so the
stand-in knows how each sentence sounds, and finds as much of it as is in the audio that came.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from plugins.line.g711 import RATE
from plugins.line.known import KnownSounds
from plugins.line.scenario import CallerProfile
from plugins.line.speech import offline_voice, speak
from plugins.offline.recognizer import SAMPLE_RATE, Heard, Samples

CONFIDENCE = 0.9
TAKES = 3
"""Syntheses of each sentence that are remembered: no two are equal, and parts of one are short."""
LEAST = int(0.3 * SAMPLE_RATE)
"""Samples before which nothing is looked for."""


class Memory:
    """One speaker's utterance: what `plugins.offline.Recognizer` does, by the sound alone."""

    def __init__(self, sentences: Sequence[str], voice: str) -> None:
        self._known = known(tuple(sentences), voice)
        self._heard: list[Samples] = []
        self.words: list[tuple[str, float, float]] = []
        """Word, start and end in seconds of the utterance, of the last `guess` or `finish`."""

    def start(self, pause: float = 0.0) -> None:
        """Begin an utterance."""
        self._heard = []
        self.words = []

    def feed(self, samples: Samples) -> None:
        """Hear the next samples at 16 kHz."""
        self._heard.append(samples)

    def guess(self) -> str:
        """What was said so far."""
        heard = np.concatenate(self._heard)
        told = self._known.utterance(_at_8_khz(heard)) if len(heard) > LEAST else None
        self.words = [
            (word, piece.start, piece.end)
            for piece in (told.pieces if told else ())
            for word in piece.words.split()
        ]
        return told.words if told else ""

    def finish(self) -> Heard:
        """What was said."""
        text = self.guess()
        return Heard(text, CONFIDENCE if text else 0.0)

    def close(self) -> None:
        """Hear no more."""


@cache
def known(sentences: tuple[str, ...], voice: str) -> KnownSounds:
    """The sentences as a simulated caller says them."""
    profile = CallerProfile(voice=voice)
    return KnownSounds(
        (text, speak(text, profile, offline_voice)) for _ in range(TAKES) for text in sentences
    )


def _at_8_khz(samples: Samples) -> Samples:
    from tests.providers.ears import resampled  # noqa: PLC0415 - which uses this module

    return np.frombuffer(resampled(samples.tobytes(), SAMPLE_RATE, RATE), np.int16)
