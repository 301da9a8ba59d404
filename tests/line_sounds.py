"""Sounds and people for the tests of the line."""

from __future__ import annotations

import numpy as np
from livekit import rtc

from plugins.line.g711 import FRAME, RATE, Samples
from plugins.line.phone import Moment


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def tone(seconds: float, dbfs: float = -12.0, hertz: float = 440.0, rate: int = RATE) -> Samples:
    time = np.arange(round(seconds * rate)) / rate
    wave = 32768 * np.sqrt(2) * 10 ** (dbfs / 20) * np.cos(2 * np.pi * hertz * time)
    return wave.astype(np.int16)


def chain(*parts: Samples) -> Samples:
    return np.concatenate(parts)


def frame_of(samples: Samples) -> rtc.AudioFrame:
    return rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))


def spelled(text: str, voice: str, speed: int) -> tuple[Samples, int]:
    """A voice of tones: 0.2 s a word, between silences, at a rate that is not the line's."""
    quiet = np.zeros(1600, np.int16)
    return np.concatenate((quiet, tone(0.2 * len(text.split()), rate=16000), quiet)), 16000


class Speaker:
    """Plays samples, notes what it hears, presses keys at the start, hangs up at the end."""

    def __init__(self, samples: Samples, digits: str = "") -> None:
        self.samples = samples
        self.digits = digits
        self.heard: list[Samples] = []

    def tick(self, heard: Samples) -> Moment:
        start = len(self.heard) * FRAME
        self.heard.append(heard)
        chunk = self.samples[start : start + FRAME]
        last = start + FRAME >= len(self.samples)
        moment = Moment(np.pad(chunk, (0, FRAME - len(chunk))), self.digits, hang_up=last)
        self.digits = ""
        return moment
