"""Tokens of `POST /tokens` at a real LiveKit server: revoked, they open no room for long."""

from __future__ import annotations

import asyncio
import secrets
import time

import aiohttp
import jwt
import pytest
from livekit import api, rtc
from livekit.protocol.rtc import SignalResponse

from ops.tokens import removal
from tests.control_plane import ControlPlane
from tests.livekit_server import LiveKitServer
from tests.programs import PATIENCE

pytestmark = pytest.mark.livekit

WITHIN = 2.0
"""Seconds in which whoever rejoins with a revoked token is gone."""


@pytest.fixture
async def server(tmp_path):
    async with LiveKitServer(tmp_path) as server:
        yield server


@pytest.fixture
async def plane(tmp_path, server):
    async with ControlPlane(tmp_path, **server.variables) as plane:
        yield plane


async def issued(plane, key, **asked):
    status, told = await plane.ask("/tokens", {"kind": "participant", **asked}, key)
    assert status == 200, told
    return told["token"], told["url"]


async def joined(url, token):
    there, out = rtc.Room(), asyncio.Event()
    there.on("disconnected", lambda _reason: out.set())
    await there.connect(url, token)
    return there, out


async def test_revoke_removes_and_a_rejoin_is_removed_while_a_refresh_removes_nobody(server, plane):
    key = await plane.key("tokens")
    room = f"lobby-{secrets.token_hex(4)}"
    token, url = await issued(plane, key, identity="who", room=room)
    kept, _ = await issued(plane, key, identity="other", room=room)
    there, out = await joined(url, token)
    other, other_out = await joined(url, kept)
    try:
        status, fresh = await plane.ask("/tokens/refresh", {"token": token}, key)
        assert status == 200
        _, told = await plane.ask("/tokens/refresh", {"token": kept}, key)
        assert not out.is_set()
        status, told = await plane.ask("/tokens/revoke", {"token": fresh["token"]}, key)
        assert (status, told["removed"]) == (200, True)
        await asyncio.wait_for(out.wait(), PATIENCE)
        for again in (token, fresh["token"]):  # the server takes both: they have not expired
            before = time.monotonic()
            back, gone = await joined(url, again)
            came = time.monotonic()
            await asyncio.wait_for(gone.wait(), PATIENCE)
            assert time.monotonic() - came < WITHIN * 2, "twice the product's figure"
            assert came - before < PATIENCE
            await back.disconnect()
        listed = await server.api.room.list_participants(api.ListParticipantsRequest(room=room))
        assert [one.identity for one in listed.participants] == ["other"]
        assert not other_out.is_set()
    finally:
        await there.disconnect()
        await other.disconnect()


async def test_the_token_that_the_server_hands_out_tells_the_generation_and_lives_as_we_count(
    server, plane
):
    token, url = await issued(plane, await plane.key("tokens"), identity="who", room="lobby")
    path = f"{url}/rtc?access_token={token}&protocol=15"
    async with aiohttp.ClientSession() as client, client.ws_connect(path) as socket:
        async for message in socket:
            if handed := SignalResponse.FromString(message.data).refresh_token:
                break
    own, theirs = (jwt.decode(one, options={"verify_signature": False}) for one in (token, handed))
    assert theirs["attributes"] == own["attributes"]
    assert theirs["exp"] - time.time() <= removal.SERVERS_OWN.total_seconds() - 60


async def test_each_kind_is_taken_for_what_it_is(server, plane):
    key = await plane.key("tokens", "tokens:agent", "tokens:sip")
    room = f"lobby-{secrets.token_hex(4)}"
    admin, url = await issued(plane, key, kind="admin", identity="boss", room=room)
    viewer, _ = await issued(plane, key, kind="viewer", identity="eye", room=room)
    there, _ = await joined(url, viewer)
    try:
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        with pytest.raises(rtc.participant.PublishTrackError):
            await there.local_participant.publish_track(track, rtc.TrackPublishOptions())
        await source.aclose()
        listed = await _participants(url, admin, room)
        assert [(one.identity, one.permission.can_publish_data) for one in listed] == [
            ("eye", False)
        ]
        with pytest.raises(api.ServerError):
            await _participants(url, admin, f"{room}-of-another")
        with pytest.raises(api.ServerError):
            await _participants(url, viewer, room)
    finally:
        await there.disconnect()
    with pytest.raises(rtc.ConnectError):
        await rtc.Room().connect(url, admin, rtc.RoomOptions(connect_timeout=PATIENCE))


async def _participants(url, token, room):
    async with api.LiveKitAPI(url, token=token, failover=False) as client:
        told = await client.room.list_participants(api.ListParticipantsRequest(room=room))
        return told.participants
