"""A simulated caller of the line in a LiveKit room, by the Python SDK: it speaks, and listens."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import numpy as np
from livekit import rtc

from agent import tasks
from plugins.line import Clock, Ended
from plugins.line.caller import SimulatedCaller
from plugins.line.g711 import FRAME, RATE, Samples
from plugins.line.hearing import audible, spans
from plugins.line.jitter import JitterBuffer
from plugins.line.recording import Recording, heard_latency

LAG = 3
"""Frames that may wait to be sent."""

Why = rtc.DisconnectReason


class RoomPhone:
    """One caller with `token` in a room of the server at `url`.

    `recording` begins at the join, or where `begin` is called; `ended` is done when the caller has
    left the room or was put out of it.
    """

    def __init__(
        self, url: str, token: str, clock: Clock, caller: SimulatedCaller, *, waits: bool = False
    ) -> None:
        """With `waits`, the caller does nothing until `begin`."""
        self.recording = Recording()
        self.caller = caller
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._url, self._token, self._clock, self._waits = url, token, clock, waits
        self._room = rtc.Room()
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=200)
        self._to_say: asyncio.Queue[Samples] = asyncio.Queue()
        self._jitter = JitterBuffer()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_published = False

    async def __aenter__(self) -> Self:
        """Join. Raises rtc.ConnectError."""
        self._room.on("track_subscribed", self._on_track)
        self._room.on("disconnected", self._on_disconnected)
        await self._room.connect(self._url, self._token)
        self._tasks.append(tasks.spawn(self._speak(), "phone-mouth"))
        if not self._waits:
            self.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clock.remove(self._tick)
        await self._room.disconnect()
        await tasks.end(*self._tasks)
        await self._source.aclose()

    def begin(self) -> None:
        """The caller is on the line from now on."""
        if not self.ended.done():
            self._clock.add(self._tick)

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
