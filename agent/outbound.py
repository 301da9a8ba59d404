"""A call that we place: what the job was told, and the first seconds after the answer."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.voice.amd import AMDCategory

from agent import log
from agent.call import Caller, EndReason, Verdict
from agent.dialing import DialFailed, Order
from agent.leg import Leg
from agent.opening import Opening
from agent.orders import body_of, is_signed, signature
from agent.phrases import Phrases
from agent.record import Record
from agent.supervisor import Supervisor
from agent.voicemail import SPOKEN, who_answered
from config.livekit_auth import KeyRing
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)

NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
"""What can be ordered to be rung: E.164. A SIP URI would reach any host through a trunk."""

DIRECTION = "outbound"
PURPOSE = "voice-ai order"

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


def metadata(ring: KeyRing, room: str, to: str, trunk: str, persona: str) -> str:
    """The metadata of a job that is to place a call from `room`: read by `placed`.

    It is signed, since others write metadata of jobs, too: a token server may copy a browser's.
    Raises NoKeys.
    """
    _, secret = ring.credentials()
    told = {
        "persona": persona,
        "direction": DIRECTION,
        "dial": {"to": to, "trunk": trunk},
        "signature": signature(secret, PURPOSE, room, to, trunk, persona),
    }
    return json.dumps(told)


def placed(told: str, room: str, settings: Settings) -> Placed | None:
    """The call that a job in `room` with this metadata is to place; None: it answers one.

    Raises DialFailed for an order that nobody with an API secret of our ring made: so a job's
    metadata alone makes no telephone ring. An order counts for its room, and not once: whoever can
    read it and dispatch into that room can have the same number rung again.
    """
    body = body_of(told)
    dial = body.get("dial")
    if not isinstance(dial, dict):
        return None
    to, trunk = str(dial.get("to")), str(dial.get("trunk"))
    persona = str(body.get("persona"))
    if not is_signed(settings, body.get("signature"), PURPOSE, room, to, trunk, persona):
        raise _refused("the order is not signed with an API secret of this worker")
    if body.get("direction") != DIRECTION or not NUMBER.fullmatch(to):
        raise _refused("the order is not for an outbound call to an E.164 number")
    section = settings.outbound
    order = Order(to, trunk or section.trunk, ringing=section.ringing)
    return Placed(order, persona, section.voicemail_detection)


def _refused(why: str) -> DialFailed:
    logger.warning("a call is not placed", why=why, action="end the job")
    return DialFailed(EndReason.REJECTED_BLOCKED, why)


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
