"""Every event that a real LiveKit server sends of a call, received with a valid signature."""

from __future__ import annotations

from collections import Counter

import pytest
from livekit import api, rtc

from tests.livekit_server import LiveKitServer

pytestmark = pytest.mark.livekit

ROOM = "voice-ai-call-webhooks"


@pytest.fixture
async def server(tmp_path):
    async with LiveKitServer(tmp_path) as server:
        if not server.is_ours:
            pytest.skip("a LiveKit server of the test's own (livekit-server on PATH)")
        yield server


async def test_every_event_of_a_call_is_received_once(server):
    first, second = await join(server, "agent"), await join(server, "caller")
    for place, there in enumerate((first, second), 1):
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        published = await there.local_participant.publish_track(track, rtc.TrackPublishOptions())
        await told(server, "track_published", place)  # else the server tells of neither
        await there.local_participant.unpublish_track(published.sid)
        await told(server, "track_unpublished", place)
        await source.aclose()
    await second.disconnect()
    await server.webhooks.first(lambda hook: hook.event == "participant_left")
    await server.api.room.delete_room(api.DeleteRoomRequest(room=ROOM))
    await server.webhooks.first(lambda hook: hook.event == "room_finished")
    await first.disconnect()

    hooks = list(server.webhooks)
    assert {hook.room.name for hook in hooks} == {ROOM}
    assert len({hook.id for hook in hooks}) == len(hooks)
    assert Counter(hook.event for hook in hooks) == {
        "room_started": 1,
        "participant_joined": 2,
        "track_published": 2,
        "track_unpublished": 2,
        "participant_left": 2,
        "room_finished": 1,
    }
    joined = [hook.participant.identity for hook in hooks if hook.event == "participant_joined"]
    assert sorted(joined) == ["agent", "caller"]


async def told(server, event, times):
    """Wait until so many of an event have come."""
    seen = lambda _: sum(hook.event == event for hook in server.webhooks) >= times  # noqa: E731
    await server.webhooks.first(seen)


async def join(server, identity):
    grants = api.VideoGrants(room_join=True, room=ROOM)
    there = rtc.Room()
    token = server.token(grants).with_identity(identity).to_jwt()
    await there.connect(server.variables["LIVEKIT_URL"], token)
    return there
