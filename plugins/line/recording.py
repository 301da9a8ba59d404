"""The stereo recording of a call, and what was heard in it."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from plugins.line import hearing
from plugins.line.g711 import RATE, Samples
from plugins.line.hearing import Heard, Span, Timed

_STEREO = 2
_BYTES = 2


class Recording:
    """Both sides of a call at 8 kHz, in step: the caller left, the agent right.

    Time 0 is the moment at which the call was answered.
    """

    def __init__(self) -> None:
        self._frames: list[tuple[Samples, Samples]] = []
        self._sides: tuple[Samples, Samples] = (np.zeros(0, np.int16), np.zeros(0, np.int16))

    @classmethod
    def of(cls, caller: Samples, agent: Samples) -> Recording:
        """A recording of two channels; the shorter one is continued with silence."""
        length = max(len(caller), len(agent))
        recording = cls()
        recording.append(
            np.pad(caller, (0, length - len(caller))), np.pad(agent, (0, length - len(agent)))
        )
        return recording

    @classmethod
    def load(cls, path: Path) -> Recording:
        """The recording that `save` wrote. Raises ValueError for any other WAV, OSError."""
        with wave.open(str(path), "rb") as file:
            shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            if shape != (_STEREO, _BYTES, RATE):
                raise ValueError(f"{path}: not a stereo recording of 16 bits at {RATE} Hz")
            both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, _STEREO)
        return cls.of(both[:, 0].astype(np.int16), both[:, 1].astype(np.int16))

    def append(self, caller: Samples, agent: Samples) -> None:
        """The next stretch of both sides, of the same length."""
        if len(caller) != len(agent):
            raise ValueError("both sides of a recording must stay in step")
        self._frames.append((caller, agent))

    @property
    def caller(self) -> Samples:
        """All samples of the caller's side."""
        return self._joined()[0]

    @property
    def agent(self) -> Samples:
        """All samples of the agent's side."""
        return self._joined()[1]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.caller) / RATE

    def save(self, path: Path) -> None:
        """Write a stereo WAV of 16 bits. Raises OSError."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(_STEREO)
            file.setsampwidth(_BYTES)
            file.setframerate(RATE)
            file.writeframes(np.column_stack(self._joined()).astype("<i2").tobytes())

    def _joined(self) -> tuple[Samples, Samples]:
        if self._frames:
            left, right = zip(*self._frames, strict=True)
            self._sides = (
                np.concatenate((self._sides[0], *left)),
                np.concatenate((self._sides[1], *right)),
            )
            self._frames.clear()
        return self._sides


def heard_latency(
    recording: Recording, utterances: Sequence[Timed], fillers: Iterable[Span] = ()
) -> list[Heard]:
    """See `hearing.heard_latency`."""
    return hearing.heard_latency(recording.caller, recording.agent, utterances, fillers)


def silenced_after(recording: Recording, start: float) -> float | None:
    """See `hearing.silenced_after`."""
    return hearing.silenced_after(recording.agent, start)


def agent_resumed(recording: Recording, start: float) -> float | None:
    """See `hearing.agent_resumed`."""
    return hearing.agent_resumed(recording.agent, start)
