"""The last stage of the agent's voice: what is said below the session's speech queue.

A phrase given to the session is heard after the reply that hangs. Here one is put in between, and
the session never learns of it: its own segments, positions and interruptions stay as they are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from livekit import rtc
from livekit.agents.voice.io import (
    AgentOutput,
    AudioOutput,
    AudioOutputCapabilities,
    PlaybackFinishedEvent,
    PlaybackProgressedEvent,
    PlaybackStartedEvent,
)
from livekit.agents.voice.transcription import TranscriptSynchronizer

from agent.phrases import Sound

STALL = 1.0
"""Seconds with nothing to play, after which words that were not ended are not heard any more."""

Heard = Callable[[bool], None]
"""Told when something of the session's begins (True) and ends (False) to be heard."""


class Mouth(AudioOutput):
    """Stands between the session and the sink that it would speak to."""

    def __init__(self, sink: AudioOutput) -> None:
        super().__init__(
            label="Mouth",
            capabilities=AudioOutputCapabilities(pause=sink.can_pause),
            sample_rate=sink.sample_rate,
        )
        self._sink = sink
        self._segments: deque[bool] = deque()
        """What the sink has to play, in order: True for our own."""
        self._is_open = False
        self._is_taken = False
        self._is_audible = False
        self._is_stalled = False
        self._played_by = 0.0
        self._paused_at: float | None = None
        self._look: asyncio.TimerHandle | None = None
        self._was_cut = False
        self._own_over = asyncio.Event()
        self._own_over.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._heard: Heard = lambda _audible: None
        self._sounded: Callable[[], None] = lambda: None
        sink.on("playback_started", self._on_started)
        sink.on("playback_finished", self._on_finished)
        sink.on("playback_progressed", self._on_progressed)

    @classmethod
    def under(
        cls, output: AgentOutput, above: Callable[[AudioOutput], AudioOutput] = lambda sink: sink
    ) -> Mouth:
        """Put one under all that stands between a started session and its last sink.

        `above` may put something between the mouth and that sink: a recorder.
        """
        last = output.audio
        assert last is not None
        while last.next_in_chain is not None:
            last = last.next_in_chain
        mouth = cls(above(last))
        output.replace_audio_tail(mouth)
        return mouth

    def follow_words(self, output: AgentOutput) -> None:
        """Have what the history says of an interrupted answer cut to the words that were heard.

        For callers who do not read along: rooms with a screen in them get the words from RoomIO.
        """
        heard = TranscriptSynchronizer(next_in_chain_audio=self, next_in_chain_text=None)
        output.audio, output.transcription = heard.audio_output, heard.text_output

    def on_heard(self, heard: Heard) -> None:
        """Tell `heard` when the session's speech begins and ends; what is interjected is not it."""
        self._heard = heard

    def on_sound(self, sounded: Callable[[], None]) -> None:
        """Tell `sounded` when anything begins to be heard, what is interjected too."""
        self._sounded = sounded

    @property
    def is_audible(self) -> bool:
        """Whether the session's speech is being played, or paused in the middle."""
        return self._is_audible

    @property
    def is_playing(self) -> bool:
        """Whether the caller hears the session now: it is audible and not paused."""
        return self._is_audible and self._paused_at is None

    @property
    def is_stalled(self) -> bool:
        """Whether the session's speech ran dry in the middle: it is not audible, and not over."""
        return self._is_stalled

    @property
    def is_free(self) -> bool:
        """Whether nothing is being said, by the session or by us."""
        return not self._segments and not self._is_open

    async def interject(self, sound: Sound) -> bool:
        """Play `sound` to its end. False where the session speaks already, or it was cut.

        A reply that comes meanwhile is played after it.
        """
        if not self.is_free:
            return False
        self._add(own=True)
        self._own_over.clear()
        self._was_cut = False
        begun = False
        try:
            async for frame in sound.at(self.sample_rate or sound.rate).frames():
                await self._sink.capture_frame(frame)
                begun = True
        finally:  # also when it is cancelled while nobody can be heard yet
            if begun:
                self._sink.flush()
            else:
                self._own_ended(interrupted=True)
        await self._own_over.wait()
        return not self._was_cut

    def hush(self) -> None:
        """Break off what is interjected, if anything is; not once the session was taken over."""
        if self._segments and self._segments[0] and not self._is_taken:
            self._sink.clear_buffer()

    async def take_over(self) -> None:
        """From now on the session is not heard any more, only what is interjected."""
        self._is_taken = True
        if self._is_open:
            self._is_open = False
            super().flush()
            self._sink.flush()
        self._sink.clear_buffer()
        await self._empty.wait()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """The session's speech: after what is interjected, and nothing once it is taken over."""
        await self._own_over.wait()
        if self._is_taken:
            return
        await super().capture_frame(frame)
        if not self._is_open:
            self._is_open = True
            self._add(own=False)
        await self._sink.capture_frame(frame)
        self._played_by = max(self._played_by, self._now()) + frame.duration
        if self._is_stalled:
            self._is_stalled, self._is_audible = False, True
            self._sounded()
            self._heard(True)
        self._look_later()

    def flush(self) -> None:
        """The session's segment is complete."""
        super().flush()
        if self._is_open:
            self._is_open = False
            self._sink.flush()

    def clear_buffer(self) -> None:
        """The session is interrupted: what we interjected ends too."""
        if not self._is_taken:
            self._sink.clear_buffer()

    def pause(self) -> None:
        """Be silent and keep what is queued."""
        super().pause()
        self._paused_at = self._now()
        if not self._is_taken:
            self._sink.pause()

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        super().resume()
        if self._paused_at is not None:
            paused_at, self._paused_at = self._paused_at, None
            self._played_by = max(self._played_by, paused_at) + self._now() - paused_at
            self._look_later()
        self._sink.resume()

    def on_attached(self) -> None:
        """The session speaks to us."""
        super().on_attached()
        self._sink.on_attached()

    def on_detached(self) -> None:
        """The session speaks to somebody else."""
        super().on_detached()
        self._sink.on_detached()

    def _now(self) -> float:
        """The time, which stands still while nothing is played."""
        now = asyncio.get_running_loop().time()
        return now if self._paused_at is None else self._paused_at

    def _look_later(self) -> None:
        if self._look is None and self._is_open and self._paused_at is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_at(self._played_by + STALL, self._look_for_stall)

    def _look_for_stall(self) -> None:
        self._look = None
        if self._now() < self._played_by + STALL:
            self._look_later()
        elif self._is_open and self._is_audible and self._paused_at is None:
            self._is_stalled, self._is_audible = True, False
            self._heard(False)

    def _add(self, *, own: bool) -> None:
        self._segments.append(own)
        self._empty.clear()

    def _remove(self, *, own: bool) -> None:
        self._segments.remove(own)
        if not self._segments:
            self._empty.set()

    def _own_ended(self, *, interrupted: bool) -> None:
        self._remove(own=True)
        self._was_cut = interrupted
        self._own_over.set()

    def _on_started(self, event: PlaybackStartedEvent) -> None:
        if self._segments:
            self._sounded()
        if self._segments and not self._segments[0]:
            self._is_audible = True
            self._played_by = max(self._played_by, self._now())
            self._look_later()
            self.on_playback_started(created_at=event.created_at)
            self._heard(True)

    def _on_progressed(self, event: PlaybackProgressedEvent) -> None:
        if self._segments and not self._segments[0]:
            self.on_playback_progressed(
                started_at=event.started_at, offset=event.offset, duration=event.duration
            )

    def _on_finished(self, event: PlaybackFinishedEvent) -> None:
        if not self._segments:
            return
        if self._segments[0]:
            self._own_ended(interrupted=event.interrupted)
            return
        self._remove(own=False)
        was_audible = self._is_audible or self._is_stalled
        self._is_audible = self._is_stalled = False
        self.on_playback_finished(
            playback_position=event.playback_position, interrupted=event.interrupted
        )
        if was_audible:
            self._heard(False)
