"""The caller's voice: a livekit-agents AudioInput at 16 kHz in frames of 20 ms."""

from __future__ import annotations

import asyncio
from collections import deque

from livekit import rtc
from livekit.agents.voice.io import AudioInput

from plugins.line.g711 import FRAME, RATE, Samples
from plugins.line.upsample import Doubler

_LONGEST = 500
"""Frames (10 s) kept for a listener that has not come yet; the oldest are forgotten."""


class LineInput(AudioInput):
    """Yields what the caller says until the line is gone. Detached, it forgets what it hears."""

    def __init__(self) -> None:
        super().__init__(label="Line")
        self._doubler = Doubler()
        self._frames: deque[rtc.AudioFrame] = deque(maxlen=_LONGEST)
        self._news = asyncio.Event()
        self._listening = True
        self._gone = False

    async def __anext__(self) -> rtc.AudioFrame:
        """The next 320 samples. Raises StopAsyncIteration when the line is gone."""
        while not self._frames:
            if self._gone:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._frames.popleft()

    def hear(self, samples: Samples) -> None:
        """160 samples came from the phone."""
        doubled = self._doubler.push(samples)
        if self._listening:
            self._frames.append(rtc.AudioFrame(doubled.tobytes(), 2 * RATE, 1, 2 * FRAME))
            self._news.set()

    def line_gone(self) -> None:
        """Nothing more will come."""
        self._gone = True
        self._news.set()

    def on_attached(self) -> None:
        """The session listens (again)."""
        super().on_attached()
        self._listening = True

    def on_detached(self) -> None:
        """The session stops listening for a while."""
        super().on_detached()
        self._listening = False
        self._frames.clear()
