"""One connection to one provider's speech to text, begun somewhere in the caller's audio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, stt
from livekit.agents.types import NotGivenOr

from agent import tasks
from agent.unheard import Unheard

CONNECT = 1.5
"""Seconds to connect to a provider that streams."""

REQUEST = 2.5
"""Seconds to connect to a provider that is sent whole utterances."""

ANSWER = 4.0
"""Seconds for it to answer: then the caller has waited long enough."""

MARGIN = 0.2
"""Seconds by which the news of a request that took too long may be late."""

WORDLESS = " "
"""The transcript of an utterance in which a recogniser of whole utterances heard no words: of an
empty one the framework's adapter would tell nothing, and nobody would know that it was heard."""

NOTICED = 0.5
"""Seconds in which it notices an end of speech that the session's detector has heard."""

REPLAYED = 3.0
"""Seconds after which what was played to a new connection has been heard."""

News = stt.SpeechEvent | Exception | None
"""An event, why the connection broke, or None when it ended."""


def words_of(event: stt.SpeechEvent) -> str:
    """What `event` tells of what was said; empty when it tells nothing."""
    return event.alternatives[0].text.strip() if event.alternatives else ""


def is_blank(event: stt.SpeechEvent) -> bool:
    """Whether `event` tells that there were no words in an utterance."""
    return event.type == stt.SpeechEventType.FINAL_TRANSCRIPT and not words_of(event)


class Listener:
    """A connection that tells its news until it is closed."""

    def __init__(
        self,
        name: str,
        recogniser: stt.STT[Any],
        language: NotGivenOr[str],
        tell: Callable[[tuple[Listener, News]], None],
    ) -> None:
        self.name = name
        self.interims = recogniser.capabilities.interim_results
        """Whether it tells words while they are said."""
        self.opened_at = time.monotonic()
        self.told_at = float("-inf")
        """When it told anything last."""
        self.has_withdrawn = False
        """Whether it told words of the last speech that ended, and no final transcript."""
        self._recogniser = recogniser
        self._language = language
        self._tell = tell
        self._stream: stt.RecognizeStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._begins = self._replayed = 0.0
        self._words = self._final = True
        self._asked_at = float("-inf")
        self._utterances = 0

    def begin(self, begins: float, offset: float, frames: Sequence[rtc.AudioFrame]) -> None:
        """Hear `frames` at once, the first of which lies `begins` seconds into the audio.

        `offset` is what the session adds to all times of its transcripts.
        """
        self._begins = begins
        timeout = CONNECT if self.interims else REQUEST
        options = APIConnectOptions(max_retry=0, timeout=timeout)
        try:
            self._stream = self._recogniser.stream(language=self._language, conn_options=options)
        except Exception as error:  # noqa: BLE001 - the boundary of a plugin: told, not lost
            self._tell((self, error))
            return
        self._stream.start_time_offset = offset + begins
        self._replayed = begins + sum(frame.duration for frame in frames)
        for frame in frames:
            self.push(frame)
        self._task = tasks.spawn(self._read(self._stream), f"listen-{self.name}")

    def push(self, frame: rtc.AudioFrame) -> None:
        """Hear one more frame. A connection that has ended hears nothing, and has told so."""
        with contextlib.suppress(RuntimeError):
            if self._stream is not None:
                self._stream.push_frame(frame)

    def flush(self) -> None:
        """Tell what was heard so far."""
        with contextlib.suppress(RuntimeError):
            if self._stream is not None:
                self._stream.flush()

    def end_input(self) -> None:
        """There is no more audio: it ends by itself when it has told all."""
        with contextlib.suppress(RuntimeError):
            if self._stream is not None:
                self._stream.end_input()

    @property
    def has_answered(self) -> bool:
        """Whether it told anything yet."""
        return self.told_at > float("-inf")

    def is_asking(self, now: float) -> bool:
        """Whether the answer about a whole utterance may still come."""
        return now - self._asked_at < ANSWER + MARGIN

    def is_wordless(self, event: stt.SpeechEvent) -> bool:
        """Whether `event` ends speech of which no words were made. To be asked of each event."""
        if event.type == stt.SpeechEventType.START_OF_SPEECH:
            self._words = self._final = False
        elif words_of(event):
            self._words = True
            self._final = event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
        ended = event.type == stt.SpeechEventType.END_OF_SPEECH
        self._utterances += ended
        if not self.interims:
            self._asked_at = time.monotonic() if ended else float("-inf")
            return is_blank(event)
        self.has_withdrawn = ended and self._words and not self._final
        return ended and not self._words

    def is_awaited(self, silent_at: float, now: float) -> bool:
        """Whether words of speech that waits, and ended at `silent_at`, are about to come.

        Only for one that hears whole utterances: it asks as soon as it notices the same end.
        """
        return self.is_asking(now) or now - max(silent_at, self.told_at) < NOTICED

    def is_news(self, event: stt.SpeechEvent, offset: float) -> bool:
        """Whether `event` tells more than an interim of what was played at once.

        A recogniser can tell such an interim of the same audio as often as it is played to it.
        """
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            return True
        return event.alternatives[0].end_time - offset > self._replayed

    def end_of(self, event: stt.SpeechEvent, offset: float, unheard: Unheard) -> tuple[float, bool]:
        """How far into the audio a final transcript reaches, and whether that is exact.

        A recogniser without times of words tells when speech ended on the clock, or nothing. One
        that is sent whole utterances cuts them as the session's detector does; while it hears
        old audio at once, the clock tells nothing and their number does.
        """
        end = event.alternatives[0].end_time - offset
        if end > self._begins:
            return end, True
        if not self.interims and time.monotonic() - self.opened_at < REPLAYED:
            ends = [at for at in unheard.ends if at > self._begins]
            if 0 < self._utterances <= len(ends):
                return ends[self._utterances - 1], False
        ago = time.time() - event.speech_end_time if event.speech_end_time else 0.0
        return unheard.position - max(0.0, ago), False

    async def aclose(self) -> None:
        """End the connection. One that does not answer takes as long as its client waits."""
        await tasks.end(self._task)
        if self._stream is not None:
            await self._stream.aclose()

    async def _read(self, stream: stt.RecognizeStream) -> None:
        try:
            async for event in stream:
                self._tell((self, event))
        except Exception as error:  # noqa: BLE001 - the boundary of a plugin: told, not lost
            self._tell((self, error))
        else:
            self._tell((self, None))
