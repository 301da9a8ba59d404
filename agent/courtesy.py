"""A call that is not admitted: the reason is said from the cache, and the call ends.

No speech to text, language model or text to speech is made for it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import Agent, AgentSession
from livekit.agents.voice.turn import InterruptionOptions, TurnHandlingOptions

from agent import log
from agent.call import Verdict
from agent.ending import Ending
from agent.leg import Leg
from agent.phrases import PhraseCache, Phrases, Sound
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)

SAID: dict[Verdict, str] = {Verdict.BUSY: "busy", Verdict.CLOSED: "closed"}
"""What is said; to a caller of any other verdict nobody picks up."""

LONGEST = 30.0
"""Seconds for the phrase, at most."""


async def answer(
    leg: Leg, persona: Persona, settings: Settings, verdict: Verdict, ending: Ending
) -> None:
    """Say why the caller cannot be served, in the persona's voice, and end the call."""
    if verdict in SAID:
        phrases = Phrases.of(persona, settings, PhraseCache.of(settings))
        text = phrases[SAID[verdict]]
        sound = await asyncio.to_thread(phrases.find, SAID[verdict])
        if sound is None:
            logger.warning("a phrase is not in the cache", phrase=SAID[verdict], action="hang up")
        else:
            await _say(leg, text, sound)
    ending.decide(verdict.end_reason)


async def _say(leg: Leg, text: str, sound: Sound) -> None:
    """Play the phrase to its end; a caller who leaves ends it, too."""
    session: AgentSession[Any] = AgentSession(
        vad=None,
        user_away_timeout=None,
        turn_handling=TurnHandlingOptions(
            turn_detection="manual", interruption=InterruptionOptions(enabled=False)
        ),
    )
    await leg.start(session, Agent(instructions=""))
    speech = session.say(text, audio=sound.spoken(), allow_interruptions=False)
    try:
        await asyncio.wait_for(speech.wait_for_playout(), LONGEST)
    except TimeoutError:
        logger.warning("the phrase did not end in time", action="hang up")
