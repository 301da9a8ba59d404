"""What the caller has said that nobody has understood yet: the audio, and how long it waits.

Pure: places are seconds of audio since the stream began, times are those of a clock that the
caller passes in. The voice activity detector says when there is speech; final transcripts say how
far it was understood.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from livekit import rtc

LONGEST = 30.0
"""Seconds of audio that are kept at most."""

LEAD = 0.8
"""Seconds kept before speech: the detector notices it late, and words begin softly."""

ROUGH = 0.6
"""Seconds by which the detector's end of speech and the last word's may differ."""

SPEECHES = 50
"""Stretches of speech whose ends are remembered."""

SAME = 0.1
"""Seconds by which two transcripts of the same words may differ in their end."""

SHORTEST = 0.2
"""Seconds of speech below which no transcript is missed."""

QUIET_SPEAKING, QUIET_AFTER = 2.0, 0.7
"""Seconds without a word from a recogniser that gives interim results: while the caller speaks,
and after the detector has noticed the end."""

QUIET_WHOLE = 2.5
"""The same after the end for a recogniser that hears whole utterances only."""


@dataclass(slots=True)
class Speech:
    """A stretch of speech; `end` is None while it goes on."""

    start: float
    end: float | None = None


class Unheard:
    """The caller's last seconds."""

    def __init__(self, settling: float, now: float) -> None:
        """`settling` is the silence in seconds after which the detector says that speech ended."""
        self._settling = settling
        self._frames: deque[tuple[float, rtc.AudioFrame]] = deque()
        self._speech: list[Speech] = []
        self._understood = 0.0
        self._given_up = 0.0
        self._last_word = now
        self._fell_silent = now
        self.position = 0.0
        """Seconds of audio so far."""
        self.ends: deque[float] = deque(maxlen=SPEECHES)
        """Where the last stretches of speech ended."""

    @property
    def is_pending(self) -> bool:
        """Whether speech waits for its transcript."""
        return bool(self._speech)

    @property
    def is_speaking(self) -> bool:
        """Whether the caller speaks now."""
        return bool(self._speech) and self._speech[-1].end is None

    @property
    def spoken(self) -> float:
        """Seconds of speech that wait for their transcript."""
        return sum((speech.end or self.position) - speech.start for speech in self._speech)

    def push(self, frame: rtc.AudioFrame) -> None:
        """Keep one more frame."""
        self._frames.append((self.position, frame))
        self.position += frame.duration
        oldest = self.replay_from
        while self._frames and self._frames[0][0] + self._frames[0][1].duration <= oldest:
            self._frames.popleft()

    def speaks(self, speaking: bool, now: float) -> None:  # noqa: FBT001 - a state
        """The detector hears speech begin or end."""
        if speaking and not self.is_speaking:
            if not self._speech:
                self._last_word = now
            self._speech.append(Speech(self.position))
        elif not speaking and self.is_speaking:
            self._fell_silent = now
            last = self._speech[-1]
            last.end = max(last.start, self.position - self._settling)
            self.ends.append(last.end)
            self._forget()

    def word(self, now: float) -> None:
        """A recogniser shows that it hears: an interim or a final transcript."""
        self._last_word = now

    def understood(self, until: float) -> None:
        """A final transcript covers all that was said before `until`."""
        self._understood = max(self._understood, min(until, self.position))
        self._forget()

    def was_understood(self, until: float) -> bool:
        """Whether a final transcript that ends there tells nothing new."""
        return until <= self._understood + SAME

    def was_noise(self) -> None:
        """What waits is no speech: wait for it no longer."""
        self._speech = [speech for speech in self._speech if speech.end is None]
        if self._speech:
            self._speech[-1].start = self.position
        self._given_up = self.position - LEAD

    def is_overdue(self, now: float, *, interims: bool) -> bool:
        """Whether a recogniser that listens should have told something by now."""
        return self._is_late(now, interims) and self._is_audible()

    def is_expected(self, now: float, *, interims: bool) -> bool:
        """Whether a transcript may still come without anything being wrong."""
        return self.is_pending and not self._is_late(now, interims)

    def has_told(self, told_at: float, now: float) -> bool:
        """Whether what was told at `told_at` may be about the speech that waits."""
        began = now - (self.position - self._speech[0].start) if self._speech else now
        return told_at >= began - LEAD

    def quiet_for(self, now: float) -> float:
        """Seconds since the last word, or since speech began if that was later."""
        return now - self._last_word

    def silent_for(self, now: float) -> float:
        """Seconds since the caller fell silent, or since the last word if that was later."""
        return 0.0 if self.is_speaking else now - max(self._last_word, self._fell_silent)

    def since_speech(self, now: float) -> float:
        """Seconds since the caller fell silent; 0 while the caller speaks."""
        return 0.0 if self.is_speaking else now - self._fell_silent

    @property
    def silent_at(self) -> float:
        """When the caller fell silent last, as the detector noticed it."""
        return self._fell_silent

    @property
    def replay_from(self) -> float:
        """Where a new recogniser must begin so that nothing is lost."""
        begin = self._speech[0].start if self._speech else self.position
        oldest = max(self._understood, self._given_up, self.position - LONGEST)
        return max(oldest, begin - LEAD)

    def kept(self) -> tuple[float, list[rtc.AudioFrame]]:
        """The audio that a new recogniser must hear, and the place where it begins."""
        since = self.replay_from
        frames = [(at, frame) for at, frame in self._frames if at + frame.duration > since]
        return (frames[0][0] if frames else self.position), [frame for _, frame in frames]

    def _is_late(self, now: float, interims: bool) -> bool:  # noqa: FBT001 - as the callers'
        if not self._speech:
            return False
        if self.is_speaking:
            return interims and now - self._last_word >= QUIET_SPEAKING
        return self.silent_for(now) >= (QUIET_AFTER if interims else QUIET_WHOLE)

    def _is_audible(self) -> bool:
        """Whether there is enough sound in the speech.

        While the agent must not be interrupted, the session hands silence to recognisers.
        """
        since, until = self._speech[0].start - LEAD, self._speech[-1].end or self.position
        sounding = sum(
            frame.duration
            for at, frame in self._frames
            if since <= at < until and np.any(np.frombuffer(frame.data, np.int16))
        )
        return min(self.spoken, sounding) >= SHORTEST

    def _forget(self) -> None:
        """Wait no longer for what was understood."""
        left = []
        for speech in self._speech:
            if speech.end is None or speech.end > self._understood + ROUGH:
                speech.start = max(speech.start, self._understood)
                left.append(speech)
        self._speech = left
