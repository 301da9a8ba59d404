"""The simulated callers of the line, in a LiveKit room: with the kind and attributes of SIP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self
from uuid import uuid4

import numpy as np
from livekit import api, rtc

from agent import tasks
from agent.store import CallLog
from agent.store.rows import CallRecord, CallRow, TurnRow
from plugins.line import Clock, Ended
from plugins.line.caller import SimulatedCaller
from plugins.line.g711 import FRAME, RATE, Samples
from plugins.line.hearing import audible, spans
from plugins.line.jitter import JitterBuffer
from plugins.line.recording import Recording, heard_latency
from tests.callers import CALL_LIMIT
from tests.livekit_server import LiveKitServer
from tests.programs import eventually

CALLER = "sip_caller"
LAG = 3
"""Frames that may wait to be sent."""

Why = rtc.DisconnectReason


def a_room() -> str:
    """A room's name of its own."""
    return f"voice-ai-call-{uuid4().hex[:8]}"


async def closed_record(
    variables: Mapping[str, str], room: str
) -> tuple[CallRow, tuple[TurnRow, ...]]:
    """The last call of `room` and its turns, once every record of the room is closed."""

    def look() -> CallRecord | None:
        log = CallLog.open(variables["VOICE_AGENT__STORE__URL"], readonly=True)
        try:
            calls = [call for call in log.list_calls(100) if call.room == room]
            closed = calls and all(call.ended_at for call in calls)
            return log.get_call(calls[0].id) if closed else None
        finally:
            log.close()

    record = await eventually(look, f"the record of {room} is closed")
    return record.call, record.turns


class RoomPhone:
    """One caller who joins `room`; with `dispatch`, the room that this makes asks for the agent.

    That is what LiveKit SIP does by a dispatch rule. `recording` begins at the join; `ended` is
    done when the caller has left the room or was put out of it.
    """

    def __init__(
        self,
        server: LiveKitServer,
        clock: Clock,
        caller: SimulatedCaller,
        room: str,
        *,
        dispatch: bool = True,
    ) -> None:
        self.recording = Recording()
        self.caller = caller
        self.name = room
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._server, self._clock, self._dispatch = server, clock, dispatch
        self._room = rtc.Room()
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=200)
        self._to_say: asyncio.Queue[Samples] = asyncio.Queue()
        self._jitter = JitterBuffer()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_published = False

    async def __aenter__(self) -> Self:
        self._room.on("track_subscribed", self._on_track)
        self._room.on("disconnected", self._on_disconnected)
        await self._room.connect(self._server.variables["LIVEKIT_URL"], self._token())
        self._clock.add(self._tick)
        self._tasks.append(tasks.spawn(self._speak(), "phone-mouth"))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._clock.remove(self._tick)
        await self._room.disconnect()
        await tasks.end(*self._tasks)
        await self._source.aclose()

    async def until_ended(self) -> Ended:
        """How the caller came out of the room. Raises TimeoutError."""
        return await asyncio.wait_for(asyncio.shield(self.ended), CALL_LIMIT)

    async def hang_up(self) -> None:
        """Leave the room."""
        await self._room.disconnect()
        self._on_disconnected(Why.CLIENT_INITIATED)  # the SDK does not always emit it

    @property
    def greeted_after(self) -> float | None:
        """Seconds from the join to the agent's first audible sample."""
        heard = spans(self.recording.agent)
        return heard[0][0] if heard else None

    @property
    def latencies(self) -> list[float | None]:
        """For each utterance, seconds to the answer, as the caller hears it; None: none came."""
        return [heard.latency for heard in heard_latency(self.recording, self.caller.log)]

    def _token(self) -> str:
        number = self.caller.scenario.caller
        grants = api.VideoGrants(room_join=True, room=self.name)
        attributes = {
            "sip.phoneNumber": number.number,
            "sip.trunkPhoneNumber": number.called,
            "sip.callStatus": "active",
        }
        token = self._server.token(grants).with_identity(CALLER).with_kind("sip")
        token = token.with_attributes(attributes)
        if self._dispatch:
            agents = [api.RoomAgentDispatch(agent_name=self._server.agent_name)]
            token = token.with_room_config(api.RoomConfiguration(agents=agents))
        return token.to_jwt()

    def _tick(self) -> None:
        heard = self._jitter.take()
        moment = self.caller.tick(heard)
        self.recording.append(moment.samples, heard)
        # A late clock catches up in bursts: silence makes room, or the caller would lag for good.
        lags = self._to_say.qsize() > LAG and not audible(moment.samples)[0]
        if self._is_published and not lags:
            self._to_say.put_nowait(moment.samples)
        if moment.hang_up:
            self._clock.remove(self._tick)
            self._tasks.append(tasks.spawn(self.hang_up(), "phone-hang-up"))

    async def _speak(self) -> None:
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)
        self._is_published = True
        while True:
            samples = await self._to_say.get()
            await self._source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, FRAME))

    def _on_track(self, track: rtc.Track, *_: object) -> None:
        self._tasks.append(tasks.spawn(self._listen(track), "phone-ear"))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=20)
        try:
            async for event in stream:
                self._jitter.push(np.frombuffer(event.frame.data, np.int16).copy())
        finally:
            await stream.aclose()

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._clock.remove(self._tick)
        how = {
            Why.ROOM_DELETED: Ended.AGENT_HANGUP,
            Why.CLIENT_INITIATED: Ended.CALLER_HANGUP,
        }
        if not self.ended.done():
            self.ended.set_result(how.get(reason, Ended.LOST))
