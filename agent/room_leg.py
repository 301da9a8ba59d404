"""A participant of a LiveKit room as the caller's leg (`agent.leg`): a telephone, a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from livekit import api, rtc
from livekit.agents import Agent, AgentSession, JobContext, room_io
from livekit.agents.types import ATTRIBUTE_AGENT_NAME
from livekit.protocol.sip import SIPTransferReason, SIPTransferStatus

from agent import caller, dialing, dtmf, log, speech, tasks
from agent.arrivals import Arrivals
from agent.call import HANGUP_TOPIC, Caller, EndReason
from agent.consultation import Briefing, consult
from agent.dialing import DialFailed, Order
from agent.ending import Ending
from agent.errors import CallerNeverJoined, KeysNotSent, LiveKitError, TransferFailed
from agent.livekit import of_job
from agent.mouth import Mouth
from agent.parting import PARTED
from agent.quality import Link
from agent.recorder import Recorder

logger = log.get(__name__)

LAST_WORDS = 0.3
"""Seconds between the last frame of a farewell and the end of the room: its way to the phone."""

CONNECTED_WITHIN = 5.0
"""Seconds for livekit-sip to connect a telephone after the agent's audio was there to be heard."""

TELEPHONE_TAKES, BROWSER_TAKES = 10.0, 30.0
"""Seconds for the caller's client to take our audio: one that does not hears nothing, though it is
in the room. LiveKit SIP takes it before it answers; a browser may have to find a way by TCP or TURN
first, and the server has a stuck negotiation repeated after 15 s."""

RETURN = 5.0
"""Seconds for a caller to be back in the room who vanished with a connection, not by a hang-up."""

PHONE = rtc.ParticipantKind.PARTICIPANT_KIND_SIP

MAY_RETURN = frozenset({rtc.DisconnectReason.DUPLICATE_IDENTITY, rtc.DisconnectReason.MIGRATION})
"""The caller's own client reconnects: the same identity is about to join again."""


class RoomLeg:
    """A participant of a LiveKit room: a telephone through SIP, a browser, an SDK client."""

    def __init__(self, ctx: JobContext, ending: Ending) -> None:
        self._ctx = ctx
        self._ending = ending
        self._caller: rtc.RemoteParticipant | None = None
        self._dialled: Order | None = None
        self._connected, self._here = asyncio.Event(), asyncio.Event()
        self._connected.set()
        self._returning: asyncio.Task[None] | None = None
        self._arrivals = Arrivals()
        self._counting: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._takes_audio = asyncio.Event()
        self._link_told: Callable[[Link], None] = lambda _link: None
        self._picked_up = asyncio.Event()
        self._is_taken_over = False
        self._is_transferring = self._is_handed_over = False
        self._departure: tuple[EndReason, str] | None = None
        ctx.room.on("participant_connected", self._on_participant_joined)
        ctx.room.on("participant_disconnected", self._on_participant_left)
        ctx.room.on("participant_attributes_changed", self._on_attributes)
        ctx.room.on("reconnecting", self._connected.clear)
        ctx.room.on("reconnected", self._on_reconnected)
        ctx.room.on("disconnected", self._on_disconnected)
        ctx.room.on("data_received", self._on_data)
        ctx.room.on("local_track_subscribed", lambda _track: self._takes_audio.set())

    async def wait_for_caller(self, timeout: float) -> Caller:  # noqa: ASYNC109
        """See `Leg`."""
        rung = self._dialled
        # Whoever else is in the room has not answered our call.
        whom: dict[str, Any] = {"identity": rung.identity, "kind": PHONE} if rung else {}
        try:
            self._caller = await asyncio.wait_for(self._ctx.wait_for_participant(**whom), timeout)
        except TimeoutError as error:
            raise CallerNeverJoined from error
        found = caller.from_participant(self._caller)
        return replace(found, number=rung.to) if rung else found

    async def start(
        self, session: AgentSession[Any], agent: Agent, recorder: Recorder | None = None
    ) -> Mouth:
        """See `Leg`. The session is bound to the caller: nobody else in the room is heard."""
        assert self._caller is not None
        is_telephone = self._caller.kind == PHONE
        options = room_io.RoomOptions(
            participant_identity=self._caller.identity,
            audio_input=speech.HEARD,
            text_input=False,
            text_output=not is_telephone,
            close_on_disconnect=False,  # the ending decides, and closes in one place
        )
        await session.start(
            agent, room=self._ctx.room, room_options=options, session_host=False, record=False
        )
        if recorder and session.input.audio:
            session.input.audio = recorder.hearing(session.input.audio)
        looking = self._arrivals.watch(self._ctx.room, self._caller.identity, self._link_told)
        self._counting = tasks.spawn(looking, "caller-arrivals")
        mouth = (
            Mouth.under(session.output, recorder.above) if recorder else Mouth.under(session.output)
        )
        if is_telephone:
            mouth.follow_words(session.output)  # a telephone has no screen
            await self._until_picked_up(self._caller)
        within = TELEPHONE_TAKES if is_telephone else BROWSER_TAKES
        self._hearing = tasks.spawn(self._until_heard(within), "caller-hears")
        return mouth

    async def _until_picked_up(self, telephone: rtc.RemoteParticipant) -> None:
        """Wait until the telephone hears: livekit-sip drops what is said while it still rings."""
        if not caller.is_ringing(telephone):
            return
        try:
            await asyncio.wait_for(self._picked_up.wait(), CONNECTED_WITHIN)
        except TimeoutError:
            logger.warning("the telephone was not said to be connected", action="speak")

    async def _until_heard(self, within: float) -> None:
        while not self._takes_audio.is_set():
            try:
                await asyncio.wait_for(self._takes_audio.wait(), within)
            except TimeoutError:
                if self._is_apart:
                    await self._connected.wait()  # in vain: then `disconnected` decides
                elif self._ending.decide(EndReason.MEDIA_FAILURE, "our audio was never taken"):
                    logger.error("the caller does not take our audio", action="end the call")
                    return

    @property
    def _is_apart(self) -> bool:
        """Whether we or the caller may be about to come back: then all begins anew."""
        is_returning = self._returning is not None and not self._returning.done()
        return is_returning or not self._connected.is_set()

    def on_dtmf(self, pressed: Callable[[str], None]) -> None:
        """See `Leg`."""

        def on_key(key: rtc.SipDTMF) -> None:
            who = key.participant
            if who is None or (self._caller and who.identity == self._caller.identity):
                pressed(key.digit)  # a colleague in a warm transfer has keys, too

        self._ctx.room.on("sip_dtmf_received", on_key)

    def on_link(self, told: Callable[[Link], None]) -> None:
        """See `Leg`."""
        self._link_told = told

    async def dial(self, order: Order) -> None:
        """See `Leg`: through the outbound trunk. A call that has ended already does not ring."""
        if self._ending.reason is not None:
            raise DialFailed(self._ending.reason, "ended before it rang")
        await dialing.dial(of_job(self._ctx), self._ctx.job.room.name, order)
        self._dialled = order  # the participant hides its number from the room

    async def send_dtmf(self, keys: str) -> None:
        """See `Leg`: LiveKit SIP plays them as telephone events."""
        if self._caller is None or self._caller.kind != PHONE:
            raise KeysNotSent("only a telephone call can be sent keys")
        for key, wait in dtmf.sequence(keys):
            await asyncio.sleep(wait)
            try:
                await self._ctx.room.local_participant.publish_dtmf(code=dtmf.CODES[key], digit=key)
            except rtc.participant.PublishDTMFError as error:
                raise KeysNotSent(f"LiveKit refused a key: {error}") from error

    async def transfer(self, to: str) -> None:
        """See `Leg`: a SIP REFER."""
        self._is_transferring, failure = True, "an unexpected error"
        try:
            failure = await self._refer(to)
        finally:
            self._is_transferring = False
            if failure:
                self._decide_departure()
        if failure:
            raise TransferFailed(failure)
        self._is_handed_over = True

    async def consult(self, session: AgentSession[Any], briefing: Briefing) -> None:
        """See `Leg`: in the caller's own room."""
        assert self._caller is not None
        await consult(self._ctx, self._caller.identity, session, briefing)

    async def _refer(self, to: str) -> str:
        """Ask LiveKit to transfer; why that failed, or nothing."""
        assert self._caller is not None
        if self._caller.kind != PHONE:
            return "only a telephone call can be transferred"
        request = api.TransferSIPParticipantRequest(
            room_name=self._ctx.job.room.name,
            participant_identity=self._caller.identity,
            transfer_to=to,
        )
        try:
            outcome = await of_job(self._ctx).sip.transfer_sip_participant(request)
        except LiveKitError as error:
            return f"LiveKit refused the transfer: {error}"
        failed = outcome.status == SIPTransferStatus.STS_TRANSFER_FAILED
        return f"the transfer failed: {SIPTransferReason.Name(outcome.reason)}" if failed else ""

    async def end(self, reason: EndReason) -> None:
        """See `Leg`: the room is deleted, so that every leg ends."""
        handed_over = reason is EndReason.TRANSFERRED or self._is_handed_over
        if handed_over or self._is_taken_over or self._ctx.is_fake_job():
            return
        await asyncio.sleep(LAST_WORDS)
        await of_job(self._ctx).delete_room(self._ctx.job.room.name)

    async def aclose(self) -> None:
        """See `Leg`: the framework owns the room."""
        await tasks.end(self._returning, self._counting, self._hearing)

    def _on_participant_left(self, participant: rtc.RemoteParticipant) -> None:
        if self._caller is None or participant.identity != self._caller.identity:
            return
        why = participant.disconnect_reason
        if not self._connected.is_set():
            # Not the caller left, but we: a restarted connection begins with an empty room.
            self._await_return(EndReason.LIVEKIT_LOST)
        elif why in MAY_RETURN:
            self._await_return(EndReason.CALLER_LOST)
        else:
            self._departure = PARTED.get(why) or self._left()
            if not self._is_transferring:  # a caller who is handed over leaves before the answer
                self._decide_departure()

    def _on_attributes(self, _changed: Mapping[str, str], participant: rtc.Participant) -> None:
        is_caller = self._caller is not None and participant.identity == self._caller.identity
        if is_caller and not caller.is_ringing(participant):
            self._picked_up.set()

    def _left(self) -> tuple[EndReason, str]:
        """The caller left, as far as the room knows."""
        silent = self._arrivals.stopped_for
        if silent is None or self._caller is None or self._caller.kind != PHONE:
            return EndReason.CALLER_HANGUP, ""  # a browser that is muted sends nothing either
        return EndReason.MEDIA_FAILURE, f"no audio for {silent:.0f} s"

    def _decide_departure(self) -> None:
        self._picked_up.set()  # in vain, but nobody has to wait for it
        if self._departure:
            self._ending.decide(*self._departure)

    def _await_return(self, otherwise: EndReason) -> None:
        self._here.clear()
        if self._returning is None or self._returning.done():
            self._returning = tasks.spawn(self._until_back(otherwise), "caller-return")

    async def _until_back(self, otherwise: EndReason) -> None:
        logger.warning("the caller vanished", action="wait", cause=otherwise.value)
        await self._connected.wait()  # in vain: then `disconnected` decides
        try:
            await asyncio.wait_for(self._here.wait(), RETURN)
        except TimeoutError:
            self._ending.decide(otherwise, "the caller did not come back")

    def _on_reconnected(self) -> None:
        """After a restart the server knows of no subscription, and none was asked for again."""
        for participant in self._ctx.room.remote_participants.values():
            for publication in participant.track_publications.values():
                if publication.kind == rtc.TrackKind.KIND_AUDIO:
                    publication.set_subscribed(True)
        self._connected.set()

    def _on_participant_joined(self, participant: rtc.RemoteParticipant) -> None:
        if self._caller and participant.identity == self._caller.identity:
            self._here.set()
        if self._returning and participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            # LiveKit forgot the room, and dispatched the caller who came back to a new job.
            name = self._ctx.room.local_participant.attributes.get(ATTRIBUTE_AGENT_NAME)
            self._is_taken_over = participant.attributes.get(ATTRIBUTE_AGENT_NAME) == name
            if self._is_taken_over:
                self._ending.decide(EndReason.LIVEKIT_LOST, "a new job has the caller")

    def _on_data(self, packet: rtc.DataPacket) -> None:
        if packet.topic == HANGUP_TOPIC and packet.participant is None:
            self._ending.decide(EndReason.AGENT_HANGUP, "operator")

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if reason == rtc.DisconnectReason.ROOM_DELETED:
            self._ending.decide(EndReason.AGENT_HANGUP, "room deleted")
        else:
            self._ending.decide(EndReason.LIVEKIT_LOST, rtc.DisconnectReason.Name(reason))
