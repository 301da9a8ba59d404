"""The agent's voice on the line: a livekit-agents AudioOutput whose clock is the phone's."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from livekit import rtc
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities

from plugins.line.g711 import FRAME, RATE, Samples

_FRAME_BYTES = 2 * FRAME


@dataclass(slots=True)
class _Segment:
    """What is said between two flushes. `sent` and `audio` count in bytes of 16-bit samples."""

    audio: bytearray = field(default_factory=bytearray)
    sent: int = 0
    complete: bool = False

    @property
    def position(self) -> float:
        """Seconds that went out on the line."""
        return self.sent / (2 * RATE)


class LineOutput(AudioOutput):
    """Takes speech at 8 kHz as fast as it comes and plays 20 ms of it for each frame asked for.

    Like the framework's room output it does not hold back whoever pushes. Unlike that one it
    loses nothing in a pause. Segments queue: a second one is played after the first. A segment is
    finished when its last sample has been on the line for 20 ms, when it is cleared, or when the
    line is gone; what is pushed into a cleared segment until its flush is discarded.
    """

    def __init__(self) -> None:
        super().__init__(
            label="Line", capabilities=AudioOutputCapabilities(pause=True), sample_rate=RATE
        )
        self._segments: deque[_Segment] = deque()
        self._open: _Segment | None = None
        self._discarding = False
        self._paused = False
        self._gone = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Queue mono audio at 8 kHz. Raises ValueError for any other."""
        if frame.sample_rate != RATE or frame.num_channels != 1:
            raise ValueError(f"the line plays {RATE} Hz mono, got {frame!r}")
        await super().capture_frame(frame)
        if self._discarding:
            return
        if self._open is None:
            self._open = _Segment()
            self._segments.append(self._open)
        self._open.audio += frame.data.cast("B")

    def flush(self) -> None:
        """The segment is complete; it goes on playing."""
        super().flush()
        self._discarding = False
        if self._open is not None:
            self._open.complete = True
            self._open = None
        if self._gone:
            self._finish_all()

    def clear_buffer(self) -> None:
        """Be silent from the next frame on; everything unfinished is finished as interrupted."""
        self._discarding = self._open is not None
        self._finish_all()

    def pause(self) -> None:
        """Be silent and keep what is queued."""
        super().pause()
        self._paused = True

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        super().resume()
        self._paused = False

    def play(self) -> Samples:
        """The next 160 samples for the line; silence if nothing is to be said."""
        samples = np.zeros(FRAME, np.int16)
        if self._paused:
            return samples
        self._finish_played()
        if not self._segments:
            return samples
        segment = self._segments[0]
        ready = len(segment.audio) - segment.sent
        if ready < _FRAME_BYTES and not segment.complete:
            return samples
        chunk = bytes(segment.audio[segment.sent : segment.sent + _FRAME_BYTES])
        samples[: len(chunk) // 2] = np.frombuffer(chunk, np.int16)
        first = segment.sent == 0
        segment.sent += len(chunk)
        if first:
            self.on_playback_started(created_at=time.time())
        return samples

    def line_gone(self) -> None:
        """Nobody hears anything any more: whatever waits for playback to finish must not hang."""
        self._gone = True
        self.clear_buffer()

    def _finish_played(self) -> None:
        while self._segments and self._segments[0].complete:
            segment = self._segments[0]
            if segment.sent < len(segment.audio):
                return
            self._segments.popleft()
            self.on_playback_finished(playback_position=segment.position, interrupted=False)

    def _finish_all(self) -> None:
        segments, self._open = tuple(self._segments), None
        self._segments.clear()
        for segment in segments:
            # Everything was heard already, and the clearing came within the last 20 ms.
            whole = segment.complete and segment.sent == len(segment.audio)
            self.on_playback_finished(playback_position=segment.position, interrupted=not whole)
