"""Tokens of each kind at a real LiveKit server: what they open, and what stays closed."""

from __future__ import annotations

import contextlib
import secrets
from datetime import timedelta
from http import HTTPStatus

import aiohttp
import pytest
from livekit import api, rtc

from tests.livekit_server import LiveKitServer
from tests.programs import PATIENCE

pytestmark = pytest.mark.livekit

CLOSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
LEEWAY = timedelta(seconds=60)
"""What the server forgives after a token's end."""


@pytest.fixture
async def server(tmp_path):
    async with LiveKitServer(tmp_path) as server:
        yield server


@pytest.fixture
def room():
    return f"voice-ai-call-{secrets.token_hex(4)}"


def participant(server, room, **grants):
    return server.token(api.VideoGrants(room_join=True, room=room, **grants)).with_identity("who")


async def door(server, path, token):
    """The status of an HTTP door of the server, asked with a token."""
    url = server.variables["LIVEKIT_URL"].replace("ws", "http", 1) + path
    headers = {"Authorization": f"Bearer {token.to_jwt()}"}
    async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as answer:
        return answer.status


@contextlib.asynccontextmanager
async def workers_door(server, token):
    url = server.variables["LIVEKIT_URL"] + "/agent"
    headers = {"Authorization": f"Bearer {token.to_jwt()}"}
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url, headers=headers) as socket,
    ):
        yield socket


async def refusal(server, token, ask):
    """The status with which an API call is refused, 0 when it is let in."""
    url = server.variables["LIVEKIT_URL"]
    async with api.LiveKitAPI(url, token=token.to_jwt(), failover=False) as client:
        try:
            await ask(client)
        except api.ServerError as error:
            return error.status if error.status in CLOSED else 0
    return 0


@contextlib.asynccontextmanager
async def joined(server, token):
    there = rtc.Room()
    await there.connect(server.variables["LIVEKIT_URL"], token.to_jwt())
    try:
        yield there
    finally:
        await there.disconnect()


async def publish(there):
    source = rtc.AudioSource(48000, 1)
    try:
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        await there.local_participant.publish_track(track, rtc.TrackPublishOptions())
    finally:
        await source.aclose()


async def test_a_participant_joins_its_room_and_speaks(server, room):
    token = participant(server, room)
    async with joined(server, token) as there:
        assert there.name == room
        await publish(there)
    assert await refusal(server, token, participants_of(room)) in CLOSED
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with workers_door(server, token):
            pass
    assert refused.value.status in CLOSED


async def test_a_viewer_joins_and_cannot_speak(server, room):
    token = participant(server, room, can_publish=False, can_publish_data=False, hidden=True)
    async with joined(server, token) as there:
        with pytest.raises(rtc.participant.PublishTrackError):
            await publish(there)
        listed = await server.api.room.list_participants(api.ListParticipantsRequest(room=room))
        assert [len(one.tracks) for one in listed.participants] in ([0], [])


async def test_an_admin_is_bound_to_its_room(server, room):
    token = server.token(api.VideoGrants(room_admin=True, room=room)).with_identity("admin")
    assert await refusal(server, token, participants_of(room)) == 0
    assert await refusal(server, token, participants_of(f"{room}-of-another")) in CLOSED
    assert await refusal(server, token, lists_rooms) in CLOSED
    assert await refusal(server, token, deletes(room)) in CLOSED  # that is room create
    assert await door(server, "/rtc/validate", token) in CLOSED  # it may not join


async def test_an_agent_is_a_worker_and_nothing_else(server, room):
    token = server.token(api.VideoGrants(agent=True))
    async with workers_door(server, token) as socket:
        assert not socket.closed
    assert await refusal(server, token, lists_rooms) in CLOSED
    assert await door(server, "/rtc/validate", token) in CLOSED


async def test_sip_admin_and_sip_call_are_two_rights(server, room):
    admin = server.token(api.VideoGrants()).with_sip_grants(api.SIPGrants(admin=True))
    call = server.token(api.VideoGrants()).with_sip_grants(api.SIPGrants(call=True))
    neither = server.token(api.VideoGrants(room_admin=True, room=room))
    told = [
        [await refusal(server, token, ask) for ask in (lists_trunks, dials(room))]
        for token in (admin, call, neither)
    ]
    assert [[status == 0 for status in row] for row in told] == [
        [True, False],
        [False, True],
        [False, False],
    ]


@pytest.mark.parametrize("over", [timedelta(minutes=-1), LEEWAY])
async def test_an_expired_token_is_refused(server, room, over):
    token = participant(server, room).with_ttl(-(LEEWAY + over + timedelta(seconds=5)))
    status = await door(server, "/rtc/validate", token)
    # Up to a minute after its end a token is taken: clocks differ.
    assert status in (CLOSED if over == LEEWAY else {HTTPStatus.OK})


async def test_wrong_keys_are_refused(server, room):
    url, key, secret = server.variables.values()
    assert url
    for wrong in ((key, secrets.token_hex(24)), ("key-of-nobody", secret)):
        token = api.AccessToken(*wrong).with_identity("who")
        token = token.with_grants(api.VideoGrants(room_join=True, room=room))
        assert await door(server, "/rtc/validate", token) in CLOSED
        there = rtc.Room()
        with pytest.raises(rtc.ConnectError):
            await there.connect(url, token.to_jwt(), rtc.RoomOptions(connect_timeout=PATIENCE))
    assert await door(server, "/rtc/validate", participant(server, room)) == HTTPStatus.OK


def participants_of(room):
    return lambda client: client.room.list_participants(api.ListParticipantsRequest(room=room))


def deletes(room):
    return lambda client: client.room.delete_room(api.DeleteRoomRequest(room=room))


def lists_rooms(client):
    return client.room.list_rooms(api.ListRoomsRequest())


def lists_trunks(client):
    return client.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())


def dials(room):
    request = api.CreateSIPParticipantRequest(
        sip_trunk_id="ST_none", sip_call_to="0", room_name=room, participant_identity="who"
    )
    return lambda client: client.sip.create_sip_participant(request)
