"""Persona and speech become the framework's `AgentSession`, with our turn taking."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from livekit.agents import AgentSession, UserStateChangedEvent
from livekit.agents.voice.transcription.filters import filter_emoji, filter_markdown
from livekit.agents.voice.turn import (
    EndpointingOptions,
    InterruptionOptions,
    PreemptiveGenerationOptions,
    TurnHandlingOptions,
)

from agent.ears import Ears
from agent.endpointing import TextEndpointing
from agent.speech import SILENCE_HEARD, Speech
from agent.supervisor import UNHEARD
from config.persona import Persona, TurnTaking


def build(speech: Speech, persona: Persona) -> AgentSession[Any]:
    """The session of one call. It is started by the caller's leg."""
    ears = speech.stt if isinstance(speech.stt, Ears) else None
    endpointing = TextEndpointing(
        persona.language, persona.turn_taking, ears.understood if ears else None
    )
    session: AgentSession[Any] = AgentSession(
        vad=speech.vad,
        stt=speech.stt,
        llm=speech.llm,
        tts=speech.tts,
        turn_handling=_turn_handling(persona.turn_taking, endpointing),
        # The default would hold barge-in back for three seconds: a phone has no echo to learn.
        aec_warmup_duration=None,
        # Silence is the supervisor's: counted from words, not from noise.
        user_away_timeout=None,
        tts_text_transforms=[_spoken],
        max_tool_steps=persona.limits.tool_steps,
        transcription_timeout=UNHEARD,
    )

    def on_user_state(event: UserStateChangedEvent) -> None:
        if ears is not None:
            ears.caller_is(event.new_state == "speaking")
        if event.old_state == "speaking":
            endpointing.speech_ended(SILENCE_HEARD)

    session.on("user_state_changed", on_user_state)
    return session


async def _spoken(text: AsyncIterable[str]) -> AsyncIterator[str]:
    """Text without what cannot be spoken.

    Whole sentences come from the chain of language models, so each is done with at once; the
    framework's filter alone would hold back the end of each until the next one.
    """
    async for piece in text:
        yield "".join([part async for part in filter_emoji(filter_markdown(_one(piece)))])


async def _one(piece: str) -> AsyncIterator[str]:
    yield piece


def _turn_handling(turns: TurnTaking, endpointing: TextEndpointing) -> TurnHandlingOptions:
    return TurnHandlingOptions(
        turn_detection=endpointing,
        endpointing=EndpointingOptions(
            mode="fixed",
            min_delay=turns.finished,
            max_delay=max(turns.open, turns.number),
        ),
        interruption=InterruptionOptions(
            mode="vad",
            min_duration=turns.barge_in,
            # The agent pauses at the first word, and goes on when no words came of it.
            resume_false_interruption=True,
            false_interruption_timeout=turns.resume,
        ),
        preemptive_generation=PreemptiveGenerationOptions(enabled=True, preemptive_tts=True),
    )
