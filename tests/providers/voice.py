"""What a stand-in says: text in, PCM at the wanted rate and the times of its words out."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Iterator

import av
import numpy as np

from plugins import offline
from tests.providers.ears import Word, resampled

VOICES = {"en": "en-us"}
USUAL = 165
"""Words a minute at speed 1."""
PIECE = 0.1
"""Seconds of audio in a piece of an answer."""


async def speak(text: str, language: str, rate: int, speed: float = 1.0) -> bytes:
    """Mono PCM of 16 bits; empty when there is nothing to say."""
    voice = VOICES.get(language, language)
    samples = await asyncio.to_thread(offline.synthesize, text, voice, round(USUAL * speed))
    return resampled(samples.tobytes(), offline.SAMPLE_RATE, rate)


def pieces(pcm: bytes, rate: int) -> Iterator[bytes]:
    """The sound in pieces of `PIECE` seconds."""
    size = int(rate * PIECE) * 2
    return (pcm[at : at + size] for at in range(0, len(pcm), size))


def timed(text: str, began: float, duration: float) -> list[Word]:
    """The words of a text, each as long as its share of the letters. Seconds."""
    words = text.split()
    edges = np.cumsum([0, *map(len, words)]) / max(1, sum(map(len, words))) * duration + began
    return [
        Word(word, round(float(edges[n]), 3), round(float(edges[n + 1]), 3))
        for n, word in enumerate(words)
    ]


def encoded(pcm: bytes, rate: int, container: str) -> bytes:
    """The sound as `pcm`, `wav` or `mp3`. Raises ValueError for anything else."""
    if container == "pcm":
        return pcm
    buffer = io.BytesIO()
    if container == "wav":
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(pcm)
        return buffer.getvalue()
    if container != "mp3":
        raise ValueError(container)
    with av.open(buffer, "w", format="mp3") as output:
        stream = output.add_stream("mp3", rate=rate)
        stream.layout = "mono"
        samples = np.frombuffer(pcm, np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16p", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return buffer.getvalue()
