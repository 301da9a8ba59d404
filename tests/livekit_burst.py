"""Callers of the SDK who join their rooms at one moment: one light process for all of them.

`python -m tests.livekit_burst` reads a line of JSON, {url, tokens}, says "ready", joins all rooms
at the next line, and tells when each heard the agent (seconds since the epoch), or null. Each
caller sends silence, as a telephone does, and hangs up when all have been greeted or time is over.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
from livekit import api, rtc
from livekit.protocol.models import ParticipantInfo

from agent import framework
from plugins.line.g711 import FRAME, RATE
from plugins.line.hearing import audible
from tests.livekit_phone import CALLER
from tests.livekit_server import LiveKitServer
from tests.programs import INHERITED, ROOT

PATIENCE = 20.0
"""Seconds for a greeting."""
STAYS = 3.0
"""Seconds that the callers stay after the last greeting: so many calls are up at once."""


async def greeted_after(server: LiveKitServer, rooms: Sequence[str]) -> list[float | None]:
    """Seconds from each caller's join, as the server tells it, to what was heard first."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.livekit_burst"),
        cwd=ROOT,
        env={**INHERITED, "RUST_LOG": "off"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    tokens = [_token(server, room) for room in rooms]
    order = json.dumps({"url": server.variables["LIVEKIT_URL"], "tokens": tokens})
    process.stdin.write(order.encode() + b"\n")
    assert await process.stdout.readline() == b"ready\n"
    told, _ = await process.communicate(b"\n")
    heard = dict(zip(rooms, json.loads(told), strict=True))
    joins: Mapping[str, float] = {
        hook.room.name: hook.participant.joined_at_ms / 1000
        for hook in server.webhooks
        if hook.event == "participant_joined" and hook.participant.kind == ParticipantInfo.Kind.SIP
    }
    return [at and at - joins[room] for room, at in heard.items()]


def _token(server: LiveKitServer, room: str) -> str:
    agents = [api.RoomAgentDispatch(agent_name=server.agent_name)]
    token = server.token(api.VideoGrants(room_join=True, room=room))
    token = token.with_identity(CALLER).with_kind("sip")
    token = token.with_attributes({"sip.callStatus": "active"})
    return token.with_room_config(api.RoomConfiguration(agents=agents)).to_jwt()


class Caller:
    """Joins, sends silence, and notes when something is heard."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._room = rtc.Room()
        self._tasks: list[asyncio.Task[None]] = []
        self._source = rtc.AudioSource(RATE, 1)
        self._room.on("track_subscribed", self._on_track)

    async def call(self, url: str, token: str) -> None:
        await self._room.connect(url, token)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)

    async def hang_up(self) -> None:
        await self._room.disconnect()
        await asyncio.gather(*self._tasks)

    def _on_track(self, track: rtc.Track, *_: object) -> None:
        self._tasks.append(asyncio.create_task(self._listen(track), name="burst-ear"))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=20)
        async for event in stream:
            samples = np.frombuffer(event.frame.data, np.int16)
            if len(samples) == FRAME and audible(samples)[0]:
                self.heard.set_result(time.time())
                break
        # What is heard later is not looked at: ten callers in one Python would be the load.
        await stream.aclose()


async def main() -> None:
    framework.start_native_runtime()
    order = json.loads(await asyncio.to_thread(sys.stdin.readline))
    callers = [Caller() for _ in order["tokens"]]
    print("ready", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.readline)
    calls = zip(callers, order["tokens"], strict=True)
    await asyncio.gather(*(one.call(order["url"], token) for one, token in calls))
    await asyncio.wait([one.heard for one in callers], timeout=PATIENCE)
    heard = [one.heard.result() if one.heard.done() else None for one in callers]
    await asyncio.sleep(STAYS)
    await asyncio.gather(*(one.hang_up() for one in callers))
    print(json.dumps(heard), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
