"""The watch outside the LLM loop: it owns every timer of a call.

`Watch` and `DeadAir` decide and are pure: they are told what happens and asked what is due.
`Supervisor` carries that out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    ConversationItemAddedEvent,
    ErrorEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    UserTranscriptionTimeoutEvent,
)
from livekit.agents.llm import ChatMessage, LLMError
from livekit.agents.stt import STTError
from livekit.agents.tts import TTSError
from livekit.agents.voice import SpeechHandle

from agent import log, tasks
from agent.call import EndReason
from agent.dead_air import DeadAir, Owed, RunningTime
from agent.ears import Ears
from agent.ending import Ending
from agent.events import SILENCE_OWED
from agent.mouth import STALL, Mouth
from agent.phrases import Phrases
from agent.record import Record
from agent.rescue import Rescue
from agent.speech import SILENCE_HEARD
from agent.watch import Due, Watch
from config.persona import Limits
from plugins import chain

logger = log.get(__name__)

TICK = 0.1
"""Seconds between two looks at the clock."""

UNHEARD = 1.5
"""Seconds after the end of speech in which a transcript must have come."""

LATEST_UNHEARD = 4.0
"""Seconds after the end of speech in which the caller is asked, whatever may still be heard."""

SHORTEST_UNHEARD = 0.4
MOST_UNHEARD = 2
"""Speech without a transcript is asked about when it was this long, so many times in a row."""

FAREWELL_LIMIT = 15.0
"""Seconds after which a farewell that does not end is cut off by the end of the call."""

INTERRUPT_LIMIT = 2.0
"""Seconds of that in which the session must have fallen silent before it."""

ENDINGS = {Due.SILENCE: EndReason.SILENCE, Due.DURATION: EndReason.MAX_DURATION}


class Supervisor:
    """Watches one session until the call has ended."""

    def __init__(
        self,
        session: AgentSession[Any],
        phrases: Phrases,
        limits: Limits,
        rescue: Rescue,
        ending: Ending,
        record: Record,
    ) -> None:
        self._session = session
        self._phrases = phrases
        self._rescue = rescue
        self._ending = ending
        self._record = record
        self._watch = Watch(limits, time.monotonic())
        self._air = DeadAir(limits)
        self._running = RunningTime(time.monotonic())
        self._holds = 0
        self._task: asyncio.Task[None] | None = None
        self._filler: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._mouth: Mouth | None = None
        self._unheard = 0
        self._listened_at = float("-inf")
        self._words_at = float("-inf")
        self._asking: asyncio.TimerHandle | None = None

    def start(self, mouth: Mouth) -> None:
        """Begin: from now on the call has a maximum duration and silences are counted.

        `mouth` is where the session is heard, and where it can be spoken for.
        """
        self._mouth = mouth
        mouth.on_heard(self._on_heard)
        mouth.on_sound(self._on_sound)
        self._session.on("agent_state_changed", self._on_agent_state)
        self._session.on("user_input_transcribed", self._on_transcript)
        self._session.on("user_transcription_timeout", self._on_unheard)
        self._session.on("user_state_changed", self._on_user_state)
        self._session.on("conversation_item_added", self._on_item)
        self._session.on("error", self._on_error)
        self._task = tasks.spawn(self._run(mouth), "supervisor")
        self._preparing = self._rescue.prepare_soon(mouth)

    def caller_pressed(self) -> None:
        """A key that was pressed breaks a silence as words do."""
        self._watch.caller_spoke(time.monotonic())

    def caller_listens(self, listening: bool) -> None:  # noqa: FBT001 - a verdict
        """Whether what the caller just said over the agent asks for no answer."""
        self._listened_at = time.monotonic() if listening else float("-inf")

    @contextmanager
    def patience(self, speech: SpeechHandle | None = None) -> Iterator[None]:
        """Let no timer speak meanwhile.

        For a tool: its `speech` owes an answer afterwards, unless it was interrupted.
        """
        self._holds += 1
        if self._holds == 1:
            self._hold(True)
        try:
            yield
        finally:
            self._holds -= 1
            if speech is not None and not speech.interrupted:
                self._air.tool_done(self._now())
            if not self._holds:
                self._hold(False)

    async def say_goodbye(self, phrase: str, reason: EndReason, detail: str = "") -> None:
        """Say the farewell to its end, uninterrupted, then end the call."""
        try:
            async with asyncio.timeout(FAREWELL_LIMIT):
                await self._fall_silent()
                speech = self._phrases.say(self._session, phrase, interruptible=False)
                await speech.wait_for_playout()
        except TimeoutError:
            logger.warning("the farewell did not end in time", action="hang up")
        except RuntimeError as error:
            logger.warning("no farewell can be said", action="hang up", error=str(error))
        finally:
            self.end(reason, detail)

    async def end_after(self, speech: SpeechHandle, reason: EndReason, detail: str = "") -> bool:
        """End the call once `speech` has been heard, or has had its time.

        False when the caller spoke into it: then the call goes on.
        """
        try:
            await asyncio.wait_for(speech.wait_for_playout(), FAREWELL_LIMIT)
        except TimeoutError:
            logger.warning("the farewell did not end in time", action="hang up")
        if speech.interrupted:
            return False
        self.end(reason, detail)
        return True

    def end(self, reason: EndReason, detail: str = "") -> None:
        """End the call now."""
        self._ending.decide(reason, detail)

    @property
    def has_ended(self) -> bool:
        """Whether the call is to end already, whoever decided it."""
        return self._ending.reason is not None

    async def aclose(self) -> None:
        """Stop watching."""
        self._stop_asking()
        await tasks.end(self._task, self._filler, self._preparing)
        self._tell_owed(self._air.ends(self._now()))

    def _now(self) -> float:
        """The time of which silence is owed."""
        return self._running.at(time.monotonic())

    def _hold(self, held: bool) -> None:  # noqa: FBT001 - a state
        self._watch.hold(held, time.monotonic())
        self._air.hold(held, self._now())

    async def _fall_silent(self) -> None:
        try:
            silent = self._session.interrupt(force=True)
            await asyncio.wait_for(asyncio.shield(silent), INTERRUPT_LIMIT)
        except TimeoutError:
            logger.warning("the session does not fall silent", action="say it all the same")

    async def _run(self, mouth: Mouth) -> None:
        while True:
            await asyncio.sleep(TICK)
            if mouth.is_playing:
                self._watch.agent_is_heard(time.monotonic())
                self._air.plays(self._now())
            if self.has_ended:
                self._tell_owed(self._air.ends(self._now()))
            owed = self._air.due(self._now(), since_written=self._since_written())
            if owed is Owed.APOLOGY:
                await self._give_up(mouth)
                return
            if owed is Owed.FILLER:
                await tasks.end(self._filler)
                self._filler = tasks.spawn(self._rescue.fill(mouth), "filler")
            due = self._watch.due(time.monotonic())
            if due is None:
                continue
            self._record.note(f"said_{due.value}")
            if due in ENDINGS:
                await self.say_goodbye(due.value, ENDINGS[due])
                return
            self._phrases.say(self._session, due.value)

    def _since_written(self) -> float:
        """Seconds since a language model wrote something of an answer."""
        mind = self._session.llm
        written_at = mind.written_at if isinstance(mind, chain.LLM) else float("-inf")
        return time.monotonic() - written_at

    async def _give_up(self, mouth: Mouth) -> None:
        cause = self._air.cause
        self._record.note("gave_up", cause=cause)
        try:
            stopping = self._session.interrupt(force=True)
            stopping.add_done_callback(lambda done: done.cancelled() or done.exception())
        except RuntimeError:
            logger.debug("the session has closed by itself")
        await tasks.end(self._filler)
        await self._rescue.give_up(mouth, cause)

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, ChatMessage) and event.item.role == "user":
            self._air.asked(self._now())

    def _on_error(self, event: ErrorEvent) -> None:
        """A chain has failed as a whole: one provider of it is its own affair."""
        error = event.error
        if isinstance(error, STTError | LLMError | TTSError) and not error.recoverable:
            self._air.failed(error.type.removesuffix("_error"), self._now())

    def _on_heard(self, audible: bool) -> None:  # noqa: FBT001 - a state
        if self._mouth is not None and self._mouth.is_stalled:
            self._air.stopped_short(self._now() - STALL)
        else:
            self._air.agent_is(audible, self._now())

    def _on_sound(self) -> None:
        self._tell_owed(self._air.sounds(self._now()))

    def _tell_owed(self, seconds: float | None) -> None:
        if seconds is not None:
            self._record.note(SILENCE_OWED, seconds=round(seconds, 3))

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        self._watch.agent_is(event.new_state in ("speaking", "thinking"), time.monotonic())
        if event.new_state == "listening":
            self._air.reply_over()

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        now, speaking = time.monotonic(), event.new_state == "speaking"
        self._watch.caller_is(speaking, now)
        self._air.caller_is(speaking, self._now() - (0.0 if speaking else SILENCE_HEARD))
        if speaking:
            self._stop_asking()
        if speaking and self._mouth:
            self._mouth.hush()

    def _on_transcript(self, event: UserInputTranscribedEvent) -> None:
        if not event.transcript.strip():
            return
        if event.is_final:
            self._unheard = 0
            self._words_at = time.monotonic()
        elif self._ears is not None and self._ears.is_catching_up:
            return  # of what was said a while ago, and it may be withdrawn again
        self._watch.caller_spoke(time.monotonic())
        self._air.words_came(self._now())

    def _on_unheard(self, event: UserTranscriptionTimeoutEvent) -> None:
        """The caller spoke and nothing was understood: ask, rather than leave a silence."""
        self._stop_asking()
        self._ask_again(event, time.monotonic())

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    @property
    def _ears(self) -> Ears | None:
        return self._session.stt if isinstance(self._session.stt, Ears) else None

    def _ask_again(self, event: UserTranscriptionTimeoutEvent, since: float) -> None:
        if self._words_at > since:
            return
        ears, now = self._ears, time.monotonic()
        patient = now - since < LATEST_UNHEARD - UNHEARD
        if ears is not None and patient and (ears.is_hearing or ears.is_catching_up):
            # It is being heard, perhaps a second time: the words may still come.
            loop = asyncio.get_running_loop()
            self._asking = loop.call_later(TICK, self._ask_again, event, since)
            return
        listened = since - self._listened_at < UNHEARD + event.speech_duration + 1.0
        busy = self._session.agent_state in {"speaking", "thinking"}
        if listened or busy or event.speech_duration < SHORTEST_UNHEARD:
            return
        if self._unheard < MOST_UNHEARD:
            self._unheard += 1
            self._record.note("not_understood")
            self._phrases.say(self._session, "say_again")
