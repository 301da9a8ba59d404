"""`answer(ctx)`: one call's table of contents, and `close(ctx)`, which writes its last line.

`answer` returns as soon as the conversation runs; from then on the session, the supervisor and
the leg act on events until the `Ending` is decided. `close` runs however the job ends.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext

from agent import canary, courtesy, log, outbound, session, speech, tasks, usage
from agent import leg as legs
from agent.assistant import Assistant
from agent.call import Call, EndReason, Verdict
from agent.dialing import DialFailed
from agent.dispatch import persona_for
from agent.ending import Ending
from agent.errors import CallerNeverJoined
from agent.handover import Handover
from agent.leg import Leg
from agent.livekit import of_job
from agent.opening import Opening
from agent.phrases import PhraseCache, Phrases
from agent.pseudonym import Pseudonyms
from agent.record import Record
from agent.recording import CallRecording
from agent.rescue import Rescue
from agent.supervisor import Supervisor
from agent.turn import Turns
from config.livekit_auth import EMPTY_RING, KeyRing
from config.persona import Persona
from config.retries import RetryPolicies
from config.sections import Providers
from config.settings import Settings

logger = log.get(__name__)

LEG_END = 15.0
"""Seconds for the room to be deleted, or the line to be hung up; then the job ends all the same."""

PARTING = 5.0
"""Seconds that the leg may take to end when the job is already closing."""


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of a worker share: pickled into every job process before its call."""

    settings: Settings
    personas: dict[str, Persona]
    socket: Path
    """The worker's event channel."""
    worker_id: str
    retries: RetryPolicies
    """Of the LiveKit API, as they were when the worker started."""
    ring: KeyRing = EMPTY_RING
    """The LiveKit keys, as they were then, too."""


async def answer(ctx: JobContext) -> None:
    """Answer one call: from the dispatched job to a conversation that runs by itself."""
    house: House = ctx.proc.userdata["house"]
    call = await Ongoing.begin(ctx, house)
    try:
        await call.record.turn_to_start()
        call.leg = await legs.connect(ctx, call.ending)
        timeout = house.settings.call.caller_timeout
        placed = outbound.placed(ctx.job.metadata, ctx.job.room.name, house.settings)
        caller = placed.callee if placed else await call.leg.wait_for_caller(timeout)
        persona = persona_for(house.settings, house.personas, ctx.job.metadata, caller)
        verdict = await call.record.judged(caller, persona.name)
        if placed:
            caller = await placed.ring(call.leg, verdict, timeout)
        elif verdict is not Verdict.ADMITTED:
            call.record.turned_away(caller, persona, verdict)
            await courtesy.answer(call.leg, persona, house.settings, verdict, call.ending)
            return
        heard, vad = outbound.ears(persona, placed), ctx.proc.userdata["vad"]
        voice = speech.build(house.settings, heard, vad, call.record.availability)
        call.record.caller_joined(caller, persona, providers=voice.first)
        talk = session.build(voice, persona)
        phrases = Phrases.of(persona, house.settings, PhraseCache.of(house.settings))
        rescue = Rescue(persona, phrases, call.leg, call.ending, call.record)
        watch = Supervisor(talk, phrases, persona.limits, rescue, call.ending, call.record)
        handover = Handover(persona, call.leg, phrases, watch, call.record, house.settings.outbound)
        assistant = Assistant(persona, call.leg, phrases, watch, call.record, handover)
        turns = Turns(call.record, voice.serving, lambda: voice.llm.first_word)
        tape = call.recording(talk, persona, house.settings)
        opening = Opening(talk, phrases, call.record, outbound.greeting(placed), tape.agreed)
        call.hold(talk, turns, watch, assistant, opening, tape)
        call.leg.on_dtmf(assistant.key_pressed)
        watch.start(await call.leg.start(talk, assistant, tape.recorder))
        tape.answered()
        await outbound.open_call(placed, talk, phrases, watch, call.record, opening)
    except (CallerNeverJoined, DialFailed) as nobody:
        call.ending.decide(*_why(nobody))
    except Exception as error:
        # The boundary of a call: whatever broke, the record says so and the room is deleted.
        if call.ending.decide(EndReason.AGENT_ERROR, type(error).__name__):
            raise
        logger.info("the call ended while it was answered", error=type(error).__name__)


async def close(ctx: JobContext) -> None:
    """Close the call's record: the framework's `on_session_end`, run however the job ended."""
    call: Ongoing | None = ctx.proc.userdata.pop("call", None)
    try:
        if call is not None:
            await call.close()
    finally:
        await of_job(ctx).aclose()


def _why(nobody: CallerNeverJoined | DialFailed) -> tuple[EndReason, str]:
    """How a call ends in which nobody was there to talk to."""
    if isinstance(nobody, DialFailed):
        return nobody.reason, str(nobody)
    return EndReason.CALLER_NEVER_JOINED, ""


class Part(Protocol):
    """Something that a call holds and must let go."""

    async def aclose(self) -> None: ...  # noqa: D102 - named by the class


@dataclass(slots=True)
class Ongoing:
    """One call while it lasts: what `answer` began and `close` must end."""

    ctx: JobContext
    record: Record
    ending: Ending
    providers: Providers
    leg: Leg | None = None
    session: AgentSession[Any] | None = None
    parts: list[Part] = field(default_factory=list)
    parting: asyncio.Task[None] | None = None

    @classmethod
    async def begin(cls, ctx: JobContext, house: House) -> Ongoing:
        """Open the record, and wait in the background for the ending.

        What it raises ends the room, too: without a record there is no ending to wait for.
        """
        try:
            return await cls._open(ctx, house)
        except Exception:
            # The boundary of the beginning: the caller is not left in a room where nobody comes.
            logger.error("a call could not begin", action="end the room")
            try:
                await asyncio.wait_for(legs.end(ctx, None, EndReason.AGENT_ERROR), LEG_END)
            finally:
                ctx.shutdown(EndReason.AGENT_ERROR.value)
            raise

    @classmethod
    async def _open(cls, ctx: JobContext, house: House) -> Ongoing:
        job = ctx.job
        call = Call.new(
            room=job.room.name,
            room_sid=job.room.sid,
            job_id=job.id,
            agent_name=house.settings.worker.agent_name,
        )
        ctx.log_context_fields = {"call": call.id, "room": call.room}
        spool = house.settings.data.folder / "spool"
        record = await Record.open(
            call,
            socket=house.socket,
            spool=spool,
            worker_id=house.worker_id,
            pid=os.getpid(),
            pseudonyms=Pseudonyms.of(house.settings),
        )
        record.is_for(canary.kind_of(job.metadata, job.room.name, house.settings))
        of_job(ctx).report(record.requested)
        ongoing = ctx.proc.userdata["call"] = cls(ctx, record, Ending(), house.settings.providers)
        ongoing.parting = tasks.spawn(ongoing.part_when_ended(), "parting")
        return ongoing

    async def part_when_ended(self) -> None:
        """As soon as the call is to end: end every leg, then the job."""
        reason = await self.ending.wait()
        logger.info("the call ends", reason=reason.value, detail=self.ending.detail)
        try:
            await asyncio.wait_for(legs.end(self.ctx, self.leg, reason), LEG_END)
        finally:
            self.ctx.shutdown(reason.value)

    def hold(self, session: AgentSession[Any], turns: Turns, *parts: Part) -> None:
        """Keep what the call is made of, to be let go in this order; follow its turns and link."""
        assert self.leg is not None
        self.leg.on_link(self.record.linked)
        self.session = session
        self.parts += [turns, *parts]
        session.on("close", self.on_session_closed)
        turns.follow(session)

    def on_session_closed(self, event: CloseEvent) -> None:
        """A session that closes by itself has lost its providers."""
        if event.reason is CloseReason.ERROR:
            self.ending.decide(EndReason.PROVIDER_FAILURE, type(event.error).__name__)

    def recording(
        self, talk: AgentSession[Any], persona: Persona, settings: Settings
    ) -> CallRecording:
        """What is recorded of the call: of a simulated one by us alone, since it has no room."""
        job = self.ctx.job
        if canary.target(job.metadata, job.room.name, settings) is not None:
            persona = persona.model_copy(update={"recording": "never"})
        livekit = None if self.ctx.is_fake_job() else of_job(self.ctx)
        return CallRecording(persona, settings, self.record, talk, self.ending, livekit)

    async def close(self) -> None:
        """End what still runs and write the end of the record."""
        self.ending.decide(EndReason.WORKER_SHUTDOWN)
        if self.parting:
            await asyncio.wait([self.parting], timeout=PARTING)
            await tasks.end(self.parting)
        for part in [*self.parts, self.leg]:
            try:
                if part is not None:
                    await part.aclose()
            except Exception:
                # The boundary of a part: whatever it cannot let go, the record is closed.
                logger.exception("a part of the call did not close", part=type(part).__name__)
        used = self.session.usage.model_usage if self.session else []
        counted = usage.of_call(used, self.providers, self.record.caller, self.record.seconds)
        assert self.ending.reason is not None
        await self.record.close(self.ending.reason, self.ending.detail, counted)
