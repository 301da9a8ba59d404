"""A call that we place: what the job was told, and the first seconds after the answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.voice.amd import AMDCategory

from agent import log
from agent.call import Caller, EndReason, Verdict
from agent.dialing import DialFailed, Order
from agent.leg import Leg
from agent.opening import Opening
from agent.phrases import Phrases
from agent.record import Record
from agent.supervisor import Supervisor
from agent.voicemail import SPOKEN, who_answered
from config.persona import Persona
from config.sections import Outbound

logger = log.get(__name__)

BEFORE_MESSAGE = 1.5
"""Seconds after a machine's greeting until the message: the tone sounds in them."""

MACHINES = frozenset(
    {AMDCategory.MACHINE_VM, AMDCategory.MACHINE_IVR, AMDCategory.MACHINE_UNAVAILABLE}
)


@dataclass(frozen=True, slots=True)
class Placed:
    """What a job's metadata says about a call that is to be placed."""

    order: Order
    persona: str = ""
    listen_first: bool = True
    """Tell an answering machine from a person before speaking."""

    @property
    def callee(self) -> Caller:
        """Whom the call is placed to, before anybody has answered."""
        return Caller(self.order.identity, self.order.to, kind="standard")

    async def ring(self, leg: Leg, verdict: Verdict, timeout: float) -> Caller:  # noqa: ASYNC109
        """Who answered. Raises DialFailed, also for a call that admission refused."""
        if verdict is not Verdict.ADMITTED:
            raise DialFailed(verdict.end_reason, "not placed")
        await leg.dial(self.order)
        return await leg.wait_for_caller(timeout)


def metadata(to: str, trunk: str, persona: str) -> str:
    """The metadata of a job that is to place a call: read by `placed`."""
    return json.dumps(
        {"persona": persona, "direction": "outbound", "dial": {"to": to, "trunk": trunk}}
    )


def placed(told: str, section: Outbound) -> Placed | None:
    """The call that a job with this metadata is to place; None: it answers one."""
    try:
        body = json.loads(told) if told else {}
    except ValueError:
        return None  # whoever dispatched the job wrote something of their own
    dial = body.get("dial") if isinstance(body, dict) else None
    if not isinstance(dial, dict) or not isinstance(dial.get("to"), str):
        return None
    trunk = str(dial.get("trunk") or section.trunk)
    order = Order(dial["to"], trunk, ringing=section.ringing)
    return Placed(order, str(body.get("persona") or ""), section.voicemail_detection)


def greeting(call: Placed | None) -> str:
    """The phrase that greets."""
    return "outbound_greeting" if call else "greeting"


def ears(persona: Persona, call: Placed | None) -> Persona:
    """The persona as it listens: to answering machines, too, when we call."""
    if call is None:
        return persona
    vocabulary = (*persona.vocabulary, *SPOKEN[persona.language])
    return persona.model_copy(update={"vocabulary": vocabulary})


async def open_call(
    call: Placed | None,
    session: AgentSession[Any],
    phrases: Phrases,
    supervisor: Supervisor,
    record: Record,
    opening: Opening,
) -> None:
    """Say the first words: to a caller at once, to whom we rang when it is a person.

    On an answering machine the persona's message is left, or none, and the call ends.
    """
    if call is None:
        opening.begin()
        return
    with supervisor.patience():
        answered = AMDCategory.HUMAN
        if call.listen_first:
            answered = await who_answered(session, call.order.identity)
        if supervisor.has_ended:
            return
        record.note("answered_by", what=answered.value)
        if answered not in MACHINES:
            # A reply to the person's "hello" would come beside our first words.
            await session.interrupt(force=True)
            session.clear_user_turn()
            opening.begin()
        elif answered is AMDCategory.MACHINE_VM and "voicemail" in phrases:
            await asyncio.sleep(BEFORE_MESSAGE)
            await supervisor.say_goodbye("voicemail", EndReason.VOICEMAIL, "message left")
        else:
            supervisor.end(EndReason.VOICEMAIL, answered.value)
