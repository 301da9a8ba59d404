"""What the language model may do in a call: hang up, hand over, send and collect keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from livekit.agents import RunContext, ToolError, function_tool
from livekit.agents.llm import ChatMessage, Tool, Toolset
from livekit.agents.voice import SpeechHandle

from agent import tasks
from agent.call import EndReason
from agent.errors import KeysNotSent
from agent.handover import Handover
from agent.keypad import Digits, Keypad
from agent.leg import Leg
from agent.phrases import Phrases
from agent.record import Record
from agent.redaction import PRESSED
from agent.supervisor import Supervisor
from config.persona import Persona

FIRST_KEY, NEXT_KEY = 10.0, 5.0
"""Seconds for the first key of an answer, and between two."""


class Tools:
    """The tools of one call. Owns what goes on after a tool has returned."""

    def __init__(
        self,
        persona: Persona,
        leg: Leg,
        phrases: Phrases,
        supervisor: Supervisor,
        record: Record,
        keypad: Keypad,
        handover: Handover,
    ) -> None:
        self._persona = persona
        self._leg = leg
        self._phrases = phrases
        self._supervisor = supervisor
        self._record = record
        self._keypad = keypad
        self._handover = handover
        self._is_leaving = False
        self._tasks: set[asyncio.Task[None]] = set()

    def offered(self) -> list[Tool | Toolset]:
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
            "send_dtmf": (
                self._send_dtmf,
                (
                    "Press keys on the telephone, for an automatic menu at the other end."
                    " `keys` holds 0 to 9, * and #, and w for a pause of half a second."
                ),
            ),
            "collect_digits": (
                self._collect_digits,
                (
                    "Wait for the caller to type a number on the keypad, after you asked for it."
                    " `count` is how many digits it has, 0 if that is not known: then the caller"
                    " ends it with `terminator`."
                ),
            ),
        }
        return [
            function_tool(offered[name][0], name=name, description=offered[name][1])
            for name in self._persona.tools
        ]

    async def aclose(self) -> None:
        """End farewells and transfers that were cut short."""
        await tasks.end(*self._tasks)

    async def _end_call(self, context: RunContext[Any]) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._keep(self._leave(context))

    async def _transfer_call(self, context: RunContext[Any]) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            self._keep(self._hand_over(context))

    async def _dtmf_pressed(self, context: RunContext[Any]) -> str:
        return last_keys(context)

    async def _send_dtmf(self, context: RunContext[Any], keys: str) -> str:
        await context.wait_for_playout()
        try:
            with self._supervisor.patience(context.speech_handle):
                await self._leg.send_dtmf(keys)
        except KeysNotSent as error:
            raise ToolError(str(error)) from None
        self._record.note("dtmf_sent", count=len(keys))
        return "sent"

    async def _collect_digits(
        self, context: RunContext[Any], count: int = 0, terminator: str = "#"
    ) -> str:
        await context.wait_for_playout()
        wanted = Digits(count if count > 0 else None, terminator[:1])
        speech = context.speech_handle
        with self._supervisor.patience(speech):
            collecting = asyncio.create_task(
                self._keypad.collect(wanted, first=FIRST_KEY, between=NEXT_KEY), name="digits"
            )
            try:  # a caller who speaks instead is answered, and types no more into this question
                await speech.wait_if_not_interrupted([collecting])
            finally:
                await tasks.end(collecting)
        if collecting.cancelled() or not collecting.result().keys:
            raise ToolError("the caller typed nothing")
        return " ".join(wanted.keys)

    async def _leave(self, context: RunContext[Any]) -> None:
        """Hang up after the farewell: the language model's own, or the persona's."""
        has_left = False
        try:
            farewell = await self._after_words(context, "farewell")
            has_left = await self._supervisor.end_after(farewell, EndReason.AGENT_HANGUP)
        finally:
            self._is_leaving = has_left  # whatever went wrong, the caller may ask again

    async def _hand_over(self, context: RunContext[Any]) -> None:
        has_left = False
        try:
            announced = await self._after_words(context, "transferring")
            await announced.wait_for_playout()
            # Interrupted: "no, wait".
            has_left = not announced.interrupted and await self._handover.run(context.session)
        finally:
            self._is_leaving = has_left

    async def _after_words(self, context: RunContext[Any], phrase: str) -> SpeechHandle:
        """What is said with a tool: the language model's words, else `phrase` from the cache."""
        speech = context.speech_handle
        await speech.wait_for_playout()
        spoken = any(
            isinstance(item, ChatMessage) and item.role == "assistant" and item.text_content
            for item in speech.chat_items
        )
        if spoken:
            return speech
        return self._phrases.say(context.session, phrase, interruptible=False)

    def _keep(self, work: Any) -> None:
        # The tool must return first: a speech that waits for its own tool would never end.
        task = tasks.spawn(work, "assistant-tool")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def last_keys(context: RunContext[Any]) -> str:
    """The keys that were told last, one space between; empty when there were none."""
    for item in reversed(context.session.history.items):
        text = getattr(item, "text_content", None) or ""
        if getattr(item, "role", "") == "user" and text.startswith(PRESSED):
            return text.removeprefix(PRESSED)
    return ""
