"""The persona as the framework's `Agent`: instructions, tools, and what interrupts it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from livekit import rtc
from livekit.agents import (
    Agent,
    AgentStateChangedEvent,
    ModelSettings,
    RunContext,
    function_tool,
    stt,
)
from livekit.agents.llm import ChatMessage, Tool, Toolset
from livekit.agents.voice import SpeechHandle

from agent import log, tasks
from agent.call import EndReason
from agent.ending import Ending
from agent.errors import TransferFailed
from agent.leg import Leg
from agent.overlap import Overlap
from agent.phrases import Phrases
from agent.record import Record
from agent.redaction import PRESSED
from agent.supervisor import Supervisor
from config.persona import Persona

logger = log.get(__name__)

DTMF_PAUSE = 1.5
"""Seconds without a key after which the keys pressed so far are one input."""


class Assistant(Agent):
    """One persona in one call."""

    def __init__(
        self,
        persona: Persona,
        leg: Leg,
        phrases: Phrases,
        supervisor: Supervisor,
        record: Record,
        ending: Ending,
    ) -> None:
        self._leg = leg
        self._phrases = phrases
        self._supervisor = supervisor
        self._record = record
        self._ending = ending
        self._persona = persona
        self._overlap = Overlap(persona.turn_taking.backchannels)
        self._keys = ""
        self._keys_pause: asyncio.TimerHandle | None = None
        self._is_leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__(instructions=instructions(persona), tools=self._offered_tools())

    async def aclose(self) -> None:
        """End what runs in the background: farewells and transfers that were cut short."""
        if self._keys_pause:
            self._keys_pause.cancel()
        if self._keys:
            self._record.keys_pressed(self._keys)
        await tasks.end(*self._tasks)

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncIterator[stt.SpeechEvent]:
        """Pass transcripts on, without the sounds of listening while the agent speaks."""
        async for event in Agent.default.stt_node(self, audio, model_settings):
            if isinstance(event, stt.SpeechEvent) and not self._is_backchannel(event):
                yield event

    async def on_enter(self) -> None:
        """The framework's hook: the session runs."""
        self.session.on("agent_state_changed", self._on_agent_state)

    def key_pressed(self, key: str) -> None:
        """One DTMF key: kept, and told to the language model when the caller pauses."""
        self._supervisor.caller_pressed()
        self._keys += key
        if self._keys_pause:
            self._keys_pause.cancel()
        loop = asyncio.get_running_loop()
        self._keys_pause = loop.call_later(DTMF_PAUSE, self._tell_keys)

    def _tell_keys(self) -> None:
        keys, self._keys = self._keys, ""
        self._record.keys_pressed(keys)
        try:
            self.session.interrupt()
            self.session.generate_reply(user_input=f"{PRESSED}{' '.join(keys)}")
        except RuntimeError:
            logger.debug("keys were pressed into the end of the call")

    def _is_backchannel(self, event: stt.SpeechEvent) -> bool:
        speech = self.session.current_speech
        if speech is None or speech.interrupted or not event.alternatives:
            return False
        said = event.alternatives[0].text
        listening = self._overlap.is_listening(said, time.monotonic())
        if said.strip():
            self._supervisor.caller_listens(listening)
        return listening

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        if event.old_state == "speaking" and event.new_state == "listening":
            # Paused or finished? The framework settles that after this event.
            asyncio.get_running_loop().call_soon(self._answer_overlap)

    def _answer_overlap(self) -> None:
        speech = self.session.current_speech
        if speech is not None and not speech.done():
            return
        if answer := self._overlap.answer(time.monotonic()):
            self.session.generate_reply(user_input=answer)

    def _offered_tools(self) -> list[Tool | Toolset]:
        """The tools that the persona allows, described for the language model."""
        offered: dict[str, tuple[Callable[..., Any], str]] = {
            "end_call": (
                self._end_call,
                "Say goodbye and hang up. Use it when the caller says goodbye or is done.",
            ),
            "transfer_call": (
                self._transfer_call,
                "Connect the caller with a human colleague. Use it when the caller asks for one.",
            ),
            "dtmf_pressed": (
                self._dtmf_pressed,
                "Tell which keys the caller has pressed on the telephone's keypad.",
            ),
        }
        return [
            function_tool(offered[name][0], name=name, description=offered[name][1])
            for name in self._persona.tools
        ]

    async def _end_call(self, context: RunContext[Any]) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._keep(self._leave(context.speech_handle))

    async def _transfer_call(self, context: RunContext[Any]) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._keep(self._hand_over(self._persona.transfer_to or "", context.speech_handle))

    async def _dtmf_pressed(self, context: RunContext[Any]) -> str:
        return _last_keys(context)

    async def _leave(self, speech: SpeechHandle) -> None:
        """Hang up after the farewell: the language model's own, or the persona's."""
        farewell = await self._after_words(speech, "farewell")
        self._is_leaving = await self._supervisor.end_after(farewell, EndReason.AGENT_HANGUP)

    async def _hand_over(self, to: str, speech: SpeechHandle) -> None:
        announced = await self._after_words(speech, "transferring")
        await announced.wait_for_playout()
        if announced.interrupted:
            self._is_leaving = False  # "no, wait"
            return
        self._record.note("transfer_requested")
        try:
            with self._supervisor.patience():
                await self._leg.transfer(to)
        except TransferFailed as error:
            logger.warning("the transfer failed", action="tell the caller", error=str(error))
            self._record.note("transfer_failed", error=str(error))
            self._is_leaving = False
            self._phrases.say(self.session, "transfer_failed")
            return
        self._ending.decide(EndReason.TRANSFERRED)

    async def _after_words(self, speech: SpeechHandle, phrase: str) -> SpeechHandle:
        """What is said with a tool: the language model's words, else `phrase` from the cache."""
        await speech.wait_for_playout()
        spoken = any(
            isinstance(item, ChatMessage) and item.role == "assistant" and item.text_content
            for item in speech.chat_items
        )
        return speech if spoken else self._phrases.say(self.session, phrase, interruptible=False)

    def _keep(self, work: Any) -> None:
        # The tool must return first: a speech that waits for its own tool would never end.
        task = tasks.spawn(work, "assistant-tool")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def instructions(persona: Persona) -> str:
    """What the language model is told: the persona's prompt and its facts."""
    facts = "\n".join(f"- {fact.name}: {fact.answer}" for fact in persona.facts)
    return f"{persona.prompt.strip()}\n\nWhat you know:\n{facts}\n"


def _last_keys(context: RunContext[Any]) -> str:
    for item in reversed(context.session.history.items):
        text = getattr(item, "text_content", None) or ""
        if getattr(item, "role", "") == "user" and text.startswith(PRESSED):
            return text.removeprefix(PRESSED)
    return ""
