"""A warm transfer in one room: a colleague is rung, told about the caller, asked, and connected.

Both stay in the caller's room, apart until the colleague agrees: the server is told who hears
whom. The framework's WarmTransferTask moves the colleague over from a second room, which only
LiveKit Cloud can do (MoveParticipant is not implemented in livekit-server).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from livekit import api, rtc
from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentSession,
    JobContext,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    room_io,
)
from livekit.agents.voice.turn import InterruptionOptions, TurnHandlingOptions

from agent import log, tasks
from agent.dialing import DialFailed, Order, dial
from agent.ears import Ears
from agent.errors import LiveKitError, NotFound, TransferFailed
from agent.livekit import of_job

logger = log.get(__name__)

DECIDE_WITHIN = 12.0
"""Seconds for an answer after each time that the question was asked."""

ASKED = 2
"""How many times it is asked: an answering machine never agrees."""

CONSULTED_WITHIN = 120.0
"""Seconds for all of it: the caller waits, and beside a radio the colleague never falls silent."""

CLOSE_WITHIN = 5.0
"""Seconds for what is undone after a consultation that failed."""

SHORT = 5
"""Words of an answer at most: a machine's greeting is longer, and may hold a `yes`."""

YES = {
    "en": frozenset("yes yeah yep sure okay ok connect accept".split()),
    "ru": frozenset("да ага конечно хорошо давайте соединяйте соедините принимаю".split()),
}
NO = {
    "en": frozenset("no nope not busy later decline cannot can't don't".split()),
    "ru": frozenset("нет не занят занята позже потом отказ".split()),
}
ACCEPT, DECLINE = "1", "2"
"""Keys that say the same."""


@dataclass(frozen=True, slots=True)
class Briefing:
    """What a colleague is told who is asked to take a call."""

    order: Order
    words: tuple[str, ...]
    question: str
    language: str


def decision(heard: str, language: str) -> bool | None:
    """Does a colleague who says `heard` take the call? None: that was no answer."""
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", heard.lower().replace("\u2019", "'"))
    if NO[language].intersection(words):
        return False
    if len(words) <= SHORT and YES[language].intersection(words):
        return True
    return None


async def consult(
    ctx: JobContext, caller: str, session: AgentSession[Any], briefing: Briefing
) -> None:
    """Have a colleague take the call of the participant `caller`, who talks with `session`.

    Returns when both hear each other. Raises TransferFailed: then the colleague is out of the
    room, and the caller hears the agent as before.
    """
    colleague = briefing.order.identity
    apart = Apart(ctx, caller, colleague)
    try:
        async with apart.kept():
            await dial(of_job(ctx), ctx.job.room.name, briefing.order)
            apart.part()  # again: LiveKit SIP subscribes a telephone to the room when it answers
            answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            asking = tasks.spawn(_ask(ctx, answer, session, briefing), "consultation")
            try:
                await _first(apart.left, answer, asking)
            finally:
                await tasks.end(asking)
            if apart.left.done():
                raise TransferFailed("the colleague hung up")
            if not answer.done():
                raise TransferFailed("the colleague did not say whether to take the call")
            if not answer.result():
                raise TransferFailed("the colleague declined")
            await apart.join()
    except DialFailed as error:
        raise TransferFailed(f"nobody took the call: {error}") from None
    except (LiveKitError, TimeoutError) as error:
        raise TransferFailed(f"LiveKit failed: {error or type(error).__name__}") from None


class Apart:
    """Caller and colleague in one room who do not hear each other."""

    def __init__(self, ctx: JobContext, caller: str, colleague: str) -> None:
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ctx = ctx
        self._room = ctx.room
        self._caller, self._colleague = caller, colleague
        self._voice = frozenset(self._own_tracks())
        self._joined = False
        self._parting: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Lock()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep them apart meanwhile. What is raised puts the colleague out of the room."""
        handlers: dict[Any, Any] = {
            "participant_connected": self._on_joined,
            "participant_disconnected": self._on_left,
            "track_published": self._on_published,
            "local_track_published": lambda *_: self._permit(),
        }
        for event, handler in handlers.items():
            self._room.on(event, handler)
        self._permit()
        try:
            yield
        finally:
            for event, handler in handlers.items():
                self._room.off(event, handler)
            await tasks.end(*self._parting)
            if self._room.isconnected():
                self._room.local_participant.set_track_subscription_permissions(
                    allow_all_participants=True
                )
            if not self._joined:
                await self._put_out()

    def part(self) -> None:
        """Keep them apart for a moment in which they may be subscribed to each other."""
        task = tasks.spawn(self._keep_parting(), "keep-apart")
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    async def join(self) -> None:
        """Let them hear each other. Raises what the API raises."""
        async with self._asking:  # what was asked before would else part them after all
            await tasks.end(*self._parting)
            await self._subscribe(self._caller, self._tracks(self._colleague), wanted=True)
            await self._subscribe(self._colleague, self._tracks(self._caller), wanted=True)
        self._joined = True

    def _permit(self) -> None:
        """What the agent says to one is not heard by the other; a recorder hears the caller's."""
        second = [sid for sid in self._own_tracks() if sid not in self._voice]
        others = [one for one in self._room.remote_participants if one != self._colleague]
        allowed = [*((one, list(self._voice)) for one in others), (self._colleague, second)]
        self._room.local_participant.set_track_subscription_permissions(
            allow_all_participants=False,
            participant_permissions=[
                rtc.ParticipantTrackPermission(
                    participant_identity=identity, allow_all=False, allowed_track_sids=sids
                )
                for identity, sids in allowed
            ],
        )

    def _on_joined(self, participant: rtc.RemoteParticipant) -> None:
        self._permit()
        if participant.identity == self._colleague:
            self.part()

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._colleague and not self.left.done():
            self.left.set_result(None)

    def _on_published(self, _: object, participant: rtc.RemoteParticipant) -> None:
        if participant.identity in {self._caller, self._colleague}:
            self.part()

    async def _keep_parting(self) -> None:
        """Say it more than once: a bridge that subscribes to a new track may do so after us."""
        for pause in (0.0, 0.1, 0.3, 1.0):
            await asyncio.sleep(pause)
            try:
                async with self._asking:
                    await self._subscribe(self._caller, self._tracks(self._colleague), wanted=False)
                    await self._subscribe(self._colleague, self._tracks(self._caller), wanted=False)
            except LiveKitError as error:
                logger.warning("caller and colleague may hear each other", error=str(error))

    async def _subscribe(self, identity: str, tracks: list[str], *, wanted: bool) -> None:
        if not tracks:
            return
        await of_job(self._ctx).room.update_subscriptions(
            api.UpdateSubscriptionsRequest(
                room=self._ctx.job.room.name,
                identity=identity,
                track_sids=tracks,
                subscribe=wanted,
            )
        )

    async def _put_out(self) -> None:
        request = api.RoomParticipantIdentity(
            room=self._ctx.job.room.name, identity=self._colleague
        )
        try:
            livekit = of_job(self._ctx)
            await asyncio.wait_for(livekit.room.remove_participant(request), CLOSE_WITHIN)
        except NotFound:
            return
        except (LiveKitError, TimeoutError) as error:
            logger.warning("a colleague could not be put out of the room", error=str(error))

    def _own_tracks(self) -> Iterable[str]:
        return list(self._room.local_participant.track_publications)

    def _tracks(self, identity: str) -> list[str]:
        participant = self._room.remote_participants.get(identity)
        return list(participant.track_publications) if participant else []


async def _ask(
    ctx: JobContext, answer: asyncio.Future[bool], callers: AgentSession[Any], briefing: Briefing
) -> None:
    """Tell the colleague and wait for `answer`; without one in time, it is left open."""
    colleague = briefing.order.identity

    def decide(taken: bool | None) -> None:  # noqa: FBT001 - the answer itself
        if taken is not None and not answer.done():
            answer.set_result(taken)

    def on_said(event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            decide(decision(event.transcript, briefing.language))

    def on_key(key: rtc.SipDTMF) -> None:
        if key.participant is not None and key.participant.identity == colleague:
            decide({ACCEPT: True, DECLINE: False}.get(key.digit))

    talk = _session(callers)
    talk.on("user_input_transcribed", on_said)
    ctx.room.on("sip_dtmf_received", on_key)
    options = room_io.RoomOptions(
        participant_identity=colleague,
        audio_input=room_io.AudioInputOptions(pre_connect_audio=False),  # the caller's session has
        text_input=False,
        text_output=False,
        close_on_disconnect=False,
    )
    try:
        await talk.start(
            Agent(instructions=""),
            room=ctx.room,
            room_options=options,
            session_host=False,
            record=False,
        )
        async with asyncio.timeout(CONSULTED_WITHIN):
            await _put(talk, briefing, answer)
    except TimeoutError:
        logger.warning("the colleague did not hear it all in time", action="take no answer")
    finally:
        ctx.room.off("sip_dtmf_received", on_key)
        await _close(talk)


async def _put(talk: AgentSession[Any], briefing: Briefing, answer: asyncio.Future[bool]) -> None:
    """Say what there is to say, and ask."""
    for words in briefing.words:
        await _tell(talk, words, answer)
    for _ in range(ASKED):
        await _tell(talk, briefing.question, answer)
        await asyncio.wait({answer}, timeout=DECIDE_WITHIN)
        if answer.done():
            return


async def _tell(talk: AgentSession[Any], words: str, answer: asyncio.Future[bool]) -> None:
    """Say it until there is an answer; what a colleague's hello cut off once more, to its end."""
    for may_be_cut in (True, False):
        if answer.done():
            return
        said = talk.say(words, allow_interruptions=may_be_cut)
        await _first(answer, asyncio.ensure_future(said.wait_for_playout()))
        if answer.done():
            said.interrupt(force=True)
        elif not said.interrupted:
            return


def _session(callers: AgentSession[Any]) -> AgentSession[Any]:
    """The colleague's, with ears of their own: the caller's are told of one voice only."""
    ears = callers.stt.twin() if isinstance(callers.stt, Ears) else None

    def on_voice(event: UserStateChangedEvent) -> None:
        if ears is not None:
            ears.caller_is(event.new_state == "speaking")

    talk: AgentSession[Any] = AgentSession(
        vad=callers.vad or NOT_GIVEN,
        stt=ears or callers.stt or NOT_GIVEN,
        tts=callers.tts or NOT_GIVEN,
        turn_handling=TurnHandlingOptions(
            turn_detection="vad",
            # An answer counts over words, too, that it does not cut off.
            interruption=InterruptionOptions(discard_audio_if_uninterruptible=False),
        ),
        aec_warmup_duration=None,
        user_away_timeout=None,
    )
    talk.on("user_state_changed", on_voice)
    return talk


async def _close(talk: AgentSession[Any]) -> None:
    await talk.aclose()
    if isinstance(talk.stt, Ears):
        await talk.stt.aclose()


async def _first(*waiting: asyncio.Future[Any]) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
