"""The phone's jitter buffer: evens out late frames at the price of a little delay."""

from __future__ import annotations

from collections import deque

import numpy as np

from plugins.line.g711 import FRAME, Samples
from plugins.line.hearing import audible

_CALM = 3
"""Frames that may wait before silence is cut out to get the delay back."""


class JitterBuffer:
    """Frames of 160 samples: pushed as they arrive, taken once a tick.

    `underruns` counts the ticks that found nothing, after the first frame had come; `dropped`
    the silent frames cut out; `deepest` is the largest number of frames that waited.
    """

    def __init__(self) -> None:
        self.underruns = 0
        self.dropped = 0
        self.deepest = 0
        self._frames: deque[Samples] = deque()
        self._started = False

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, frame: Samples) -> None:
        """A frame arrived."""
        self._started = True
        self._frames.append(frame)
        self.deepest = max(self.deepest, len(self._frames))
        if len(self._frames) > _CALM:
            self._shorten()

    def take(self) -> Samples:
        """The next frame to be heard; silence if none has arrived."""
        if self._frames:
            return self._frames.popleft()
        self.underruns += self._started
        return np.zeros(FRAME, np.int16)

    def _shorten(self) -> None:
        for index, frame in enumerate(self._frames):
            if not audible(frame)[0]:
                del self._frames[index]
                self.dropped += 1
                return
