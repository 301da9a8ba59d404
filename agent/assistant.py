"""The persona as the framework's `Agent`: instructions, tools, and what interrupts it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator

from livekit import rtc
from livekit.agents import Agent, AgentStateChangedEvent, ModelSettings, stt

from agent import log
from agent.handover import Handover
from agent.keypad import Keypad
from agent.leg import Leg
from agent.overlap import Overlap
from agent.phrases import Phrases
from agent.record import Record
from agent.redaction import PRESSED
from agent.supervisor import Supervisor
from agent.tools import Tools
from config.persona import Persona

logger = log.get(__name__)


class Assistant(Agent):
    """One persona in one call."""

    def __init__(
        self,
        persona: Persona,
        leg: Leg,
        phrases: Phrases,
        supervisor: Supervisor,
        record: Record,
        handover: Handover,
    ) -> None:
        self._supervisor = supervisor
        self._overlap = Overlap(persona.turn_taking.backchannels)
        self._keypad = Keypad(record, self._tell_keys)
        self._tools_of_call = Tools(
            persona, leg, phrases, supervisor, record, self._keypad, handover
        )
        super().__init__(instructions=instructions(persona), tools=self._tools_of_call.offered())

    async def aclose(self) -> None:
        """End what runs in the background."""
        await self._keypad.aclose()
        await self._tools_of_call.aclose()

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
        """One DTMF key: for the tool that waits for it, else told when the caller pauses."""
        self._supervisor.caller_pressed()
        self._keypad.pressed(key)

    def _tell_keys(self, keys: str) -> None:
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


def instructions(persona: Persona) -> str:
    """What the language model is told: the persona's prompt and its facts."""
    facts = "\n".join(f"- {fact.name}: {fact.answer}" for fact in persona.facts)
    return f"{persona.prompt.strip()}\n\nWhat you know:\n{facts}\n"
