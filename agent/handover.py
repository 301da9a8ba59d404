"""Handing the caller over to a person: cold by SIP REFER, or warm after a word with a colleague."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import AgentSession, APIError
from livekit.agents.llm import LLM, ChatContext

from agent import hold, log
from agent.call import EndReason
from agent.consultation import Briefing
from agent.dialing import COLLEAGUE, Order
from agent.errors import TransferFailed
from agent.leg import Leg
from agent.phrases import Phrases
from agent.record import Record
from agent.supervisor import Supervisor
from config.persona import Persona, Transfer
from config.sections import Outbound

logger = log.get(__name__)

SUMMARY_WITHIN = 6.0
"""Seconds for the summary; the colleague's telephone rings only then."""

LONGEST_SUMMARY = 400
"""Characters: what is read to a colleague who waits with the receiver in hand."""

LAST_WORDS = 2
"""Of the caller's sentences, told as they were said when there is no summary."""

SUMMARIZE = (
    "You brief a colleague who is about to take over this telephone call. Say in {language}, in at"
    " most two short spoken sentences, what the caller wants and what has been settled. Plain"
    " words, no lists, no greeting. The conversation so far:\n{conversation}"
)
ASK = "Summarize."
LANGUAGES = {"en": "English", "ru": "Russian"}


class Handover:
    """The transfers of one call."""

    def __init__(
        self,
        persona: Persona,
        leg: Leg,
        phrases: Phrases,
        supervisor: Supervisor,
        record: Record,
        section: Outbound,
    ) -> None:
        """`section` names the trunk through which colleagues are rung (warm)."""
        self._persona = persona
        self._leg = leg
        self._phrases = phrases
        self._supervisor = supervisor
        self._record = record
        self._trunk = section.trunk

    async def run(self, session: AgentSession[Any]) -> bool:
        """Hand the caller over, which ends the call; False when that failed and the call goes on.

        Then the caller has been told. After a warm transfer nobody watches: when one side hangs
        up, the other stays in the room until it hangs up too, the colleague's leg has lasted
        `longest` seconds, and the caller's what its trunk allows (`max_call_duration`).
        """
        wanted = self._persona.transfer
        assert wanted is not None  # the persona was checked: no transfer_call without it
        self._record.note("transfer_requested", mode=wanted.mode)
        try:
            with self._supervisor.patience():
                if wanted.mode == "warm":
                    await self._warm(session, wanted)
                else:
                    await self._leg.transfer(wanted.to)
        except TransferFailed as error:
            logger.warning("the transfer failed", action="tell the caller", error=str(error))
            return self._failed(session, str(error))
        except Exception as error:
            # The boundary of a transfer: whatever broke in it, the caller is still on the line.
            logger.exception("the transfer failed", action="tell the caller")
            return self._failed(session, type(error).__name__)
        self._supervisor.end(EndReason.TRANSFERRED, wanted.mode)
        return True

    def _failed(self, session: AgentSession[Any], why: str) -> bool:
        self._record.note("transfer_failed", error=why)
        self._phrases.say(session, "transfer_failed")
        return False

    async def _warm(self, session: AgentSession[Any], wanted: Transfer) -> None:
        held = await asyncio.to_thread(hold.sound, wanted.hold_audio)
        async with hold.playing(session, held):
            said = await summary(session, self._persona, self._phrases["unknown"])
            briefing = Briefing(
                order=Order(wanted.to, self._trunk, COLLEAGUE, wanted.ringing, wanted.longest),
                words=tuple(filter(None, (self._phrases["briefing"], said))),
                question=self._phrases["briefing_question"],
                language=self._persona.language,
            )
            await self._leg.consult(session, briefing)


async def summary(session: AgentSession[Any], persona: Persona, unknown: str) -> str:
    """What the caller wants, in the persona's language, as the language model puts it.

    If that fails or takes too long, and where the model only says that it does not know: the
    caller's own last words.
    """
    said = [
        (str(message.role), message.text_content)
        for message in session.history.messages()
        if message.role in {"user", "assistant"} and message.text_content
    ]
    if isinstance(session.llm, LLM):
        conversation = "\n".join(f"{role}: {text}" for role, text in said)
        language = LANGUAGES[persona.language]
        prompt = SUMMARIZE.format(language=language, conversation=conversation)
        try:
            told = await asyncio.wait_for(_complete(session.llm, prompt), SUMMARY_WITHIN)
        except (APIError, TimeoutError) as error:
            logger.warning("no summary for the colleague", error=type(error).__name__)
        else:
            if told and told != unknown:
                return told[:LONGEST_SUMMARY]
    own = [text for role, text in said if role == "user"]
    return ". ".join(own[-LAST_WORDS:])[:LONGEST_SUMMARY]


async def _complete(mind: LLM[Any], prompt: str) -> str:
    context = ChatContext.empty()
    context.add_message(role="system", content=prompt)
    context.add_message(role="user", content=ASK)
    async with mind.chat(chat_ctx=context) as stream:
        return (await stream.collect()).text.strip()
