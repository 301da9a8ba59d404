"""When nobody is left who could answer: apologise, then transfer the caller or say goodbye.

All of it comes from the phrase cache, below the session: it is heard with every provider down.
"""

from __future__ import annotations

import asyncio

from agent import log, tasks
from agent.call import EndReason
from agent.ending import Ending
from agent.errors import TransferFailed
from agent.leg import Leg
from agent.mouth import Mouth
from agent.phrases import Phrases, Sound
from agent.record import Record
from config.persona import Persona

logger = log.get(__name__)

NEEDED = ("filler", "apology", "transferring", "farewell")
"""The phrases that must be at hand at once."""

GREETING_FIRST = 2.0
"""Seconds after the answer in which nobody needs rescue yet: other callers are being answered."""

LONGEST_PHRASE = 15.0
"""Seconds after which a phrase that does not end is left."""

TAKE_OVER = 0.5
"""Seconds for the session to fall silent."""


class Rescue:
    """The last resort of one call."""

    def __init__(
        self, persona: Persona, phrases: Phrases, leg: Leg, ending: Ending, record: Record
    ) -> None:
        transfer = persona.transfer if "transfer_call" in persona.tools else None
        self._transfer_to = transfer.to if transfer else None
        self._phrases = phrases
        self._leg = leg
        self._ending = ending
        self._record = record
        self._sounds: dict[str, Sound] = {}

    def prepare_soon(self, mouth: Mouth) -> asyncio.Task[None]:
        """Prepare once the greeting has begun; the caller keeps the task."""

        async def later() -> None:
            await asyncio.sleep(GREETING_FIRST)
            await self.prepare(mouth)

        return tasks.spawn(later(), "rescue-prepare")

    async def prepare(self, mouth: Mouth) -> None:
        """Read from disk what may be needed, as the line plays it."""
        for name in NEEDED:
            sound = await asyncio.to_thread(self._phrases.find, name)
            if sound is not None:
                rate = mouth.sample_rate or sound.rate
                self._sounds[name] = await asyncio.to_thread(sound.at, rate)

    async def say(self, mouth: Mouth, phrase: str) -> bool:
        """Say a phrase below the session. False where it was not heard to its end."""
        if not self._sounds:
            await self.prepare(mouth)  # nobody expected to need it so soon
        sound = self._sounds.get(phrase)
        if sound is None:
            logger.error("a phrase is not in the cache", phrase=phrase, action="stay silent")
            return False
        if not mouth.is_free:
            return False
        self._record.note(f"said_{phrase}")
        try:
            return await asyncio.wait_for(mouth.interject(sound), LONGEST_PHRASE)
        except TimeoutError:
            logger.warning("a phrase did not end in time", phrase=phrase)
            return False

    async def fill(self, mouth: Mouth) -> None:
        """Let the caller hear that we are there."""
        await self.say(mouth, "filler")

    async def give_up(self, mouth: Mouth, cause: str) -> None:
        """Apologise, hand the caller over or say goodbye, and decide the ending."""
        logger.error("the caller cannot be answered", cause=cause, action="apologise and end")
        try:
            await self._apologise(mouth)
            if self._transfer_to and await self._hand_over(mouth, self._transfer_to):
                cause = f"{cause}, transferred"
            else:
                await self.say(mouth, "farewell")
        finally:
            self._ending.decide(EndReason.PROVIDER_FAILURE, cause)

    async def _apologise(self, mouth: Mouth) -> None:
        try:
            await asyncio.wait_for(mouth.take_over(), TAKE_OVER)
        except TimeoutError:
            logger.warning("the session does not fall silent")
        await self.say(mouth, "apology")

    async def _hand_over(self, mouth: Mouth, to: str) -> bool:
        await self.say(mouth, "transferring")
        self._record.note("transfer_requested")
        try:
            await self._leg.transfer(to)
        except TransferFailed as error:
            logger.warning("the transfer failed", action="say goodbye", error=str(error))
            self._record.note("transfer_failed", error=str(error))
            return False
        return True
