"""What a voice is to say, and how much of it has been said: plain bookkeeping, no provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from livekit import rtc
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.voice.io import TimedString

from plugins.chain.sentences import Sentences

USUAL_RATE = 16.0
"""Letters a second, of a voice that was not heard yet."""

NEARLY = 0.95
"""The part of a sentence's expected sound after which it counts as said: its end is silence."""

SURELY = 0.6
"""The part of what a text should last that even a hasty voice needs for it."""

SLACK = 0.05
"""Seconds by which the times of words may be off."""


class Script:
    """The sentences of one reply: they come one after another, and `said` of them are done."""

    def __init__(self) -> None:
        self.said = 0
        self._pieces = Sentences()
        self._sentences: list[str] = []
        self._is_over = False
        self._changed = asyncio.Event()

    def add(self, piece: str) -> None:
        """More text."""
        self._extend(self._pieces.push_whole(piece))

    def end_piece(self) -> None:
        """What came so far is whole."""
        self._extend(self._pieces.flush())

    def end(self) -> None:
        """There will be no more."""
        self.end_piece()
        self._is_over = True
        self._changed.set()

    @property
    def is_said(self) -> bool:
        """Whether nothing is left to say."""
        return self._is_over and self.said >= len(self._sentences)

    @property
    def todo(self) -> list[str]:
        """The sentences that are here and not said."""
        return self._sentences[self.said :]

    async def left(self) -> AsyncIterator[str]:
        """The sentences that are not said, those that are to come too."""
        place = self.said
        while True:
            while place < len(self._sentences):
                yield self._sentences[place]
                place += 1
            if self._is_over:
                return
            self._changed.clear()
            await self._changed.wait()

    def _extend(self, sentences: list[str]) -> None:
        self._sentences += [sentence for sentence in sentences if sentence.strip()]
        self._changed.set()


@dataclass(slots=True)
class Progress:
    """How far one attempt to speak a script has come. Times are seconds of the loop's clock."""

    script: Script
    known_rate: float | None = None
    is_by_sentence: bool = False
    """Every sentence is announced before its sound; else words are timed, or nothing is."""
    given: int = 0
    """Sentences handed over."""
    is_all_given: bool = False
    heard_before: float = 0.0
    """What of `heard` had come before the last sentence was handed over."""
    heard: float = 0.0
    """Seconds of audio."""
    ends_at: float = 0.0
    """When the audio so far will have been played, if it is played at once."""
    timed: list[TimedString] = field(default_factory=list)

    def give(self, sentence: str) -> None:
        """`sentence` was handed over."""
        self.given += 1
        if any(map(str.isalnum, sentence)):  # else there may be nothing to say in it
            self.heard_before = self.heard

    def take(self, frame: rtc.AudioFrame, now: float) -> None:
        """Some audio came."""
        self.heard += frame.duration
        self.ends_at = max(self.ends_at, now) + frame.duration
        self.timed += frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])

    def deadline(self, now: float, gap: float, lead: float) -> float | None:
        """When the next audio must have come; None while the voice may be waiting for text."""
        return max(now + gap, self.ends_at - lead) if self._owes_audio() else None

    def sentences_said(self) -> int:
        """How many sentences were said to their end, when the sound broke off."""
        given = self.script.todo[: self.given]
        if not self.heard:
            return 0
        if self.is_by_sentence:
            return max(0, min(len(given), len(self.timed)) - 1)
        if self.timed:
            words = sum(len(word.split()) for word in self.timed if self._was_heard(word))
            return _count(given, words, lambda sentence: len(sentence.split()))
        rate = self.known_rate or USUAL_RATE
        return _count(given, self.heard, lambda sentence: NEARLY * len(sentence) / rate)

    def rate(self) -> float | None:
        """Letters a second, of a script that was said to its end."""
        letters = sum(map(len, self.script.todo))
        return letters / self.heard if self.heard > 1.0 and letters else None

    def _owes_audio(self) -> bool:
        """Whether more audio must come of what was handed over."""
        if self.is_all_given or self.heard <= self.heard_before:
            return True
        letters = sum(map(len, self.script.todo[: self.given]))
        return self.heard < SURELY * letters / (self.known_rate or USUAL_RATE)

    def _was_heard(self, word: TimedString) -> bool:
        return isinstance(word.end_time, float | int) and word.end_time <= self.heard + SLACK


def _count(sentences: list[str], done: float, length: Callable[[str], float]) -> int:
    """How many of `sentences`, each as long as `length` says, fit into what is done."""
    total = 0.0
    for count, sentence in enumerate(sentences):
        total += length(sentence)
        if total > done:
            return count
    return len(sentences)
