"""The services beside the LiveKit server, SIP and egress, and who is dispatched."""

from __future__ import annotations

import asyncio
import contextlib

from livekit import api
from livekit.protocol.sip import SIPOutboundConfig

from agent.errors import LiveKitError
from config.errors import SettingsError
from config.settings import Settings
from config.sip import SIP_FILE, owner_in
from ops.doctor.attempt import WITHIN
from ops.doctor.finding import Finding, Level
from ops.doctor.livekit import Answer, asked, client_of, nobody
from ops.sip import doctor as telephone
from ops.sip.options import WITHIN as OPTIONS_WITHIN
from ops.sip.server import Server, SipError
from ops.sip.thing import Kind, Thing

NOWHERE = "doctor.invalid"
"""A host that can never be (RFC 6761, section 6.4): a call to it ends before it begins."""


async def egress(loaded: Settings) -> list[Finding]:
    """Whether an egress service takes requests: one without a URL, which it must refuse."""
    tried = "egress service (a recording of nothing)"
    async with client_of(loaded) as client:
        try:
            request = client.egress.start_web_egress(api.WebEgressRequest())
            answer = await asyncio.wait_for(asked(request), WITHIN)
        except TimeoutError:
            answer = Answer("unavailable", f"nobody took it within {WITHIN:g} s")
    return [_service(tried, answer, "recording", "egress")]


async def sip(loaded: Settings) -> list[Finding]:
    """Whether a SIP service takes calls out: one to a host that cannot be."""
    tried = f"SIP service (a call to {NOWHERE})"
    room = nobody()
    dial = api.CreateSIPParticipantRequest(
        trunk=SIPOutboundConfig(hostname=NOWHERE),
        sip_call_to="0",
        sip_number="0",
        room_name=room,
        participant_identity="doctor",
    )
    dial.ringing_timeout.seconds = 1
    async with client_of(loaded) as client:
        try:
            answer = await asyncio.wait_for(asked(client.sip.create_sip_participant(dial)), WITHIN)
        except TimeoutError:
            answer = Answer("unavailable", f"nobody took it within {WITHIN:g} s")
        finally:
            # The service has made the room by now; nobody is in it.
            with contextlib.suppress(LiveKitError):
                await client.room.delete_room(api.DeleteRoomRequest(room=room))
    return [_service(tried, answer, "telephone calls", "SIP")]


async def trunks(loaded: Settings, variables: dict[str, str]) -> list[Finding]:
    """Trunks and rules that the server has, against the worker's name; trunks that answer."""
    tried = "trunks and rules"
    try:
        owner = owner_in(variables, SIP_FILE)
    except SettingsError:
        owner = "voice-ai"  # the file is told of elsewhere; only names of trunks depend on it
    async with client_of(loaded) as client:
        try:
            things = await Server(client.sip, loaded.livekit.url).things(owner)
        except SipError as error:
            todo = "telephone calls need it; browsers do not"
            return [Finding(Level.DEGRADED, tried, str(error), todo)]
    inbound = [thing for thing in things if thing.kind is Kind.INBOUND]
    if not things or not (inbound or _rules(things)):
        todo = "declare them in config/sip.yaml and run `python -m ops sip apply`"
        return [Finding(Level.DEGRADED, tried, "there are none: no telephone call arrives", todo)]
    found = []
    if not inbound:
        todo = "declare one in config/sip.yaml and run `python -m ops sip apply`"
        found.append(Finding(Level.DEGRADED, "inbound trunks", "there are none", todo))
    answered = await telephone.probed(things, (), OPTIONS_WITHIN)
    examined = telephone.examine(things, owner, None, loaded.worker.agent_name)
    return [*found, *examined.findings, *answered]


def _rules(things: list[Thing]) -> list[Thing]:
    return [thing for thing in things if thing.kind is Kind.RULE]


def _service(tried: str, answer: Answer, what: str, name: str) -> Finding:
    if answer.lacks_redis:
        todo = f"give the LiveKit server a `redis` section, and run {name} on the same Redis"
        return Finding(Level.DEGRADED, tried, answer.said, f"{todo}: {what} needs it")
    if answer.is_refused:
        todo = "see the grants"
        return Finding(Level.DEGRADED, tried, f"refused ({answer.status})", todo)
    if answer.code in {"unavailable", "deadline_exceeded", "resource_exhausted"}:
        todo = f"start {name} on the server's own Redis, or look why it takes nothing: {what}"
        return Finding(Level.DEGRADED, tried, answer.said or answer.code, f"{todo} need it")
    return Finding(Level.WELL, tried, "it answers")
