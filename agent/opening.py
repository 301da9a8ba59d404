"""The first words of a call: the disclosure, where the persona has one, then the greeting.

The disclosure comes first, since the greeting ends with a question that the caller answers. How
much of it was heard is in the record. A caller who speaks into it is answered, not greeted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.io import PlaybackFinishedEvent, PlaybackStartedEvent

from agent import tasks
from agent.events import GREETED
from agent.phrases import Phrases
from agent.record import Record

DISCLOSURE = "disclosure"


class Opening:
    """Says the first words of one call."""

    def __init__(
        self,
        session: AgentSession[Any],
        phrases: Phrases,
        record: Record,
        greeting: str = "greeting",
        agreed: Callable[[], None] = lambda: None,
    ) -> None:
        """`agreed` is told when a disclosure was heard to its end."""
        self._session = session
        self._phrases = phrases
        self._record = record
        self._greeting = greeting
        self._agreed = agreed
        self._task: asyncio.Task[None] | None = None
        self._heard = 0.0

    def begin(self) -> None:
        """Begin to speak, at once."""
        if output := self._session.output.audio:
            output.once("playback_started", self._on_playback_started)
        if DISCLOSURE not in self._phrases:
            self._phrases.say(self._session, self._greeting)
            return
        if output := self._session.output.audio:
            output.on("playback_finished", self._on_playback_finished)
        disclosure = self._phrases.say(self._session, DISCLOSURE)
        self._task = tasks.spawn(self._greet_after(disclosure), "opening")

    async def aclose(self) -> None:
        """Stop waiting; a disclosure that the end of the call cut off is in the record too."""
        if self._task and not self._task.done():
            self._note(complete=False)
        self._stop_listening()
        await tasks.end(self._task)

    async def _greet_after(self, disclosure: SpeechHandle) -> None:
        await disclosure.wait_for_playout()
        self._stop_listening()
        self._note(complete=not disclosure.interrupted)
        if not disclosure.interrupted:
            self._agreed()
            self._phrases.say(self._session, self._greeting)

    def _on_playback_started(self, _event: PlaybackStartedEvent) -> None:
        self._record.note(GREETED, after=round(self._record.seconds, 2))

    def _on_playback_finished(self, event: PlaybackFinishedEvent) -> None:
        self._heard += event.playback_position

    def _stop_listening(self) -> None:
        if output := self._session.output.audio:
            output.off("playback_finished", self._on_playback_finished)

    def _note(self, *, complete: bool) -> None:
        self._record.note("disclosure_heard", seconds=round(self._heard, 2), complete=complete)
