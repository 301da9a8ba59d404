"""One canary call: join a probe room (or ring the real number), speak, listen, read the record."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from livekit import api, rtc

from agent import canary, dialing, log
from agent.dialing import DialFailed, Order
from agent.errors import StoreError, VoiceAgentError
from agent.livekit import LiveKit
from agent.store import CallLog
from agent.store.rows import CallRecord
from config.livekit_auth import KeyRing
from config.persona import Persona, load_personas
from config.settings import Settings
from ops.canary.judgement import Heard, failing, word_accuracy
from ops.canary.phone import RoomPhone
from plugins.line import Clock
from plugins.line.caller import SimulatedCaller
from plugins.line.scenario import CallerProfile, Scenario, ScenarioError

logger = log.get(__name__)

IDENTITY = "canary"
"""Who a canary is in its room, and so in its record."""

CALLEE = "callee"

JOINED_WITHIN = 15.0
"""Seconds to be in the room."""

SPEECH = 20.0
"""Seconds that a greeting, or an answer, may take once it was begun."""

RECORDED_WITHIN = 15.0
"""Seconds after the call for its record to be closed."""

LOOK = 0.3
"""Seconds between two looks into the call log."""

LIFE = timedelta(minutes=10)
"""Of the token."""


class NotPlaced(VoiceAgentError):
    """No canary call could be made: nobody could have answered it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one canary call. Times are seconds."""

    well: bool
    why: str
    """What was wrong."""
    asked: str
    """The worker that was to answer; empty: any."""
    worker: str
    """The worker that answered, as its record says; empty: there is none."""
    call: str
    room: str
    persona: str
    greeted_after: float | None
    answered_after: float | None
    word_accuracy: float | None
    """None: there is no record of what was said (or the call rang a number)."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


async def place(settings: Settings, ring: KeyRing, worker: str = "") -> Result:
    """Make one call, for `worker` or for any. Raises NotPlaced, and VoiceAgentError."""
    section = settings.canary
    name = section.persona or settings.personas.default
    personas = load_personas(settings.personas.folder)
    if name not in personas:
        raise NotPlaced(f"canary.persona {name}: there are {', '.join(sorted(personas))}")
    caller, said = _caller(settings, name, personas[name])
    room = f"{section.prefix}{uuid4().hex[:12]}"
    by_number = bool(section.number)
    async with LiveKit.of(settings.livekit, ring.credentials) as livekit, Clock() as clock:
        token = _token(settings, ring, room, worker, by_number=by_number)
        phone = RoomPhone(settings.livekit.url, token, clock, caller, waits=by_number)
        try:
            await _on_the_line(phone, livekit, settings, room)
            record = None if by_number else await _record(settings, room)
        finally:
            await livekit.delete_room(room)
    return _result(settings, phone, record, asked=worker, room=room, persona=name, said=said)


def _caller(settings: Settings, name: str, persona: Persona) -> tuple[SimulatedCaller, str]:
    """Who calls, and what it will say. Raises NotPlaced."""
    section = settings.canary
    text = section.text or question(persona)
    if section.sound:
        speech: dict[str, Any] = {"play": str(section.sound), "text": text}
    else:
        speech = {"say": text}
    steps = [
        {"listen": {"timeout": section.greeting_within + SPEECH}},
        speech,
        {"listen": {"timeout": section.answer_within + SPEECH}},
        {"hangup": {}},
    ]
    profile = CallerProfile(voice=persona.voice.offline)
    scenario = Scenario.model_validate(
        {"name": IDENTITY, "about": "", "persona": name, "caller": profile, "steps": steps}
    )
    try:
        return SimulatedCaller(scenario), text
    except ScenarioError as error:
        raise NotPlaced(f"canary.sound: {error}") from None
    except ImportError:
        raise NotPlaced(
            "canary.sound: name a recording, or install the offline voice: pip install .[offline]"
        ) from None


def question(persona: Persona) -> str:
    """What callers may ask: the first question of several words whose answer needs no tool."""
    plain = [fact.asks[0] for fact in persona.facts if not fact.tool]
    return next((asked for asked in plain if len(asked.split()) > 1), plain[0] if plain else "")


def _token(settings: Settings, ring: KeyRing, room: str, worker: str, *, by_number: bool) -> str:
    """A token whose room asks for the agent, as a dispatch rule does; for a number, for nobody."""
    key, secret = ring.credentials()
    token = api.AccessToken(key, secret).with_identity(IDENTITY).with_ttl(LIFE)
    token = token.with_grants(api.VideoGrants(room_join=True, room=room))
    if by_number:
        return token.to_jwt()
    dispatch = api.RoomAgentDispatch(
        agent_name=settings.worker.agent_name,
        metadata=canary.metadata(ring, room, worker, settings.canary.persona),
    )
    return token.with_room_config(api.RoomConfiguration(agents=[dispatch])).to_jwt()


async def _on_the_line(phone: RoomPhone, livekit: LiveKit, settings: Settings, room: str) -> None:
    """The call from the join to the hang-up. Raises NotPlaced."""
    section = settings.canary
    longest = section.greeting_within + section.answer_within + 3 * SPEECH
    try:
        async with asyncio.timeout(JOINED_WITHIN):
            await phone.__aenter__()
    except (rtc.ConnectError, TimeoutError) as error:
        raise NotPlaced(
            f"{settings.livekit.url} let nobody in: {str(error) or type(error).__name__}"
        ) from None
    try:
        if section.number:
            await _ring(livekit, settings, room)
            phone.begin()
        await asyncio.wait([phone.ended], timeout=longest)
    finally:
        await phone.__aexit__(None, None, None)


async def _ring(livekit: LiveKit, settings: Settings, room: str) -> None:
    outbound = settings.outbound
    order = Order(
        settings.canary.number or "",
        outbound.trunk,
        identity=CALLEE,
        ringing=outbound.ringing,
        longest=3 * SPEECH,
    )
    try:
        await dialing.dial(livekit, room, order)
    except DialFailed as error:
        raise NotPlaced(f"canary.number: {error.reason.value}: {error}") from None


async def _record(settings: Settings, room: str) -> CallRecord | None:
    """The record of the call in `room`, once it is closed; as far as it is, if it never is."""
    until = time.monotonic() + RECORDED_WITHIN
    found: CallRecord | None = None
    while time.monotonic() < until:
        found = await asyncio.to_thread(_look, settings.store.url, room) or found
        if found is not None and found.call.ended_at is not None:
            break
        await asyncio.sleep(LOOK)
    return found


def _look(url: str, room: str) -> CallRecord | None:
    try:
        call_log = CallLog.open(url, readonly=True)
    except StoreError:
        return None
    try:
        call = next((call for call in call_log.list_calls(200) if call.room == room), None)
        return call_log.get_call(call.id) if call else None
    except StoreError as error:
        logger.debug("the record of a canary call is not there", error=str(error))
        return None
    finally:
        call_log.close()


def _result(
    settings: Settings,
    phone: RoomPhone,
    record: CallRecord | None,
    *,
    asked: str,
    room: str,
    persona: str,
    said: str,
) -> Result:
    section = settings.canary
    latencies = phone.latencies
    heard = Heard(
        greeted_after=phone.greeted_after, answered_after=latencies[0] if latencies else None
    )
    why = failing(heard, section.greeting_within, section.answer_within)
    turns = [turn for turn in record.turns if turn.number] if record else []
    if turns and not why and not any(turn.agent_text for turn in turns):
        why = "what was heard was no answer: the record has none"
    understood = " ".join(turn.user_text for turn in turns)
    has_spoken = bool(phone.caller.log)
    return Result(
        well=not why,
        why=why,
        asked=asked,
        worker=record.call.worker_id if record else "",
        call=record.call.id if record else "",
        room=room,
        persona=persona,
        greeted_after=_rounded(heard.greeted_after),
        answered_after=_rounded(heard.answered_after),
        word_accuracy=_rounded(word_accuracy(said, understood)) if record and has_spoken else None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
