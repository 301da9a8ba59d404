"""Calls in the rooms of a real LiveKit server, from the caller's join to the closed record."""

from __future__ import annotations

import asyncio
import statistics

import pytest
from livekit import api, rtc
from livekit.agents.types import TOPIC_TRANSCRIPTION

from agent.call import EndReason
from agent.pseudonym import PSEUDONYM
from config.persona import load_personas
from config.settings import load
from plugins.line import Ended
from plugins.line.judge import judge_line
from tests.callers import asks
from tests.livekit_burst import greeted_after
from tests.livekit_caller import call_at_once
from tests.livekit_phone import RoomPhone, a_room, closed_record
from tests.livekit_server import LiveKitServer
from tests.programs import PATIENCE, Worker, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.livekit]

GREETING = load_personas(load(environ={}).personas.folder)["en"].phrases.greeting

GREETED, ANSWERED = 3.0, 2.5
"""Seconds at most (median), on a machine that runs server, worker and callers and more beside.
The product's figure is 1.5 s from the join to the greeting."""

ROOMS = 4
"""With a conversation each: ten of them with their callers and the server saturate two cores."""

AT_ONE_MOMENT = 10


async def test_a_caller_in_a_room_is_greeted_and_answered_and_goodbye_ends_the_room(
    variables, livekit, worker, clock
):
    caller, room = asks("opening-hours"), a_room()
    async with RoomPhone(livekit, clock, caller, room) as phone:
        assert await phone.until_ended() is Ended.AGENT_HANGUP
    print(f"greeted after {phone.greeted_after:.2f} s, answered after {phone.latencies}")  # noqa: T201
    missed = [verdict for verdict in judge_line(caller, phone.recording) if not verdict.met]
    assert not missed
    assert phone.greeted_after <= GREETED
    assert statistics.median(phone.latencies) <= ANSWERED

    call, turns = await closed_record(variables, room)
    assert call.end_reason is EndReason.AGENT_HANGUP
    assert call.identity == "sip_caller"
    assert call.caller_number.startswith(PSEUDONYM)
    assert call.turn_count == 4
    assert "nine" in " ".join(turn.agent_text for turn in turns)
    await livekit.gone(room)


async def test_what_an_interrupted_answer_is_on_record_with_is_what_was_heard_of_it(
    variables, livekit, worker, clock
):
    caller, room = asks("barge-in"), a_room()
    async with RoomPhone(livekit, clock, caller, room) as phone:
        assert await phone.until_ended() is Ended.AGENT_HANGUP
    assert not [verdict for verdict in judge_line(caller, phone.recording) if not verdict.met]
    _, turns = await closed_record(variables, room)
    heard, greeting = turns[0].agent_text, GREETING.split()
    assert turns[0].interrupted
    assert 1 <= len(heard.split()) < len(greeting)
    assert greeting[: len(heard.split()) - 1] == heard.split()[:-1]  # the last word may be cut


async def test_a_browser_reads_along(livekit, worker):
    words: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read(stream: rtc.TextStreamReader) -> None:
        words.set_result(await stream.read_all())

    screen, tasks = rtc.Room(), set()
    screen.register_text_stream_handler(
        TOPIC_TRANSCRIPTION, lambda stream, _: tasks.add(asyncio.create_task(read(stream)))
    )
    await screen.connect(*joins(livekit, a_room(), "standard"))
    assert (await asyncio.wait_for(words, PATIENCE)).strip() == GREETING
    await screen.disconnect()


async def test_a_caller_who_does_not_take_our_audio_is_not_left_in_silence(
    variables, livekit, worker
):
    room, deaf = a_room(), rtc.Room()
    await deaf.connect(*joins(livekit, room, "sip"), rtc.RoomOptions(auto_subscribe=False))
    call, _ = await closed_record(variables, room)
    assert call.end_reason is EndReason.MEDIA_FAILURE
    await livekit.gone(room)
    await deaf.disconnect()


async def test_a_dispatch_by_the_api_brings_the_agent_and_webhooks_tell_the_story(
    variables, livekit, worker, clock
):
    room = a_room()
    async with RoomPhone(
        livekit, clock, asks("hangup-mid-sentence"), room, dispatch=False
    ) as phone:
        wanted = api.CreateAgentDispatchRequest(agent_name=livekit.agent_name, room=room)
        await livekit.api.agent_dispatch.create_dispatch(wanted)
        assert await phone.until_ended() is Ended.CALLER_HANGUP
    assert phone.caller.failure is None
    call, _ = await closed_record(variables, room)
    assert (call.end_reason, call.turn_count > 0) == (EndReason.CALLER_HANGUP, True)
    await livekit.gone(room)
    if livekit.is_ours:
        finished = lambda hook: (hook.event, hook.room.name) == ("room_finished", room)  # noqa: E731
        await livekit.webhooks.first(finished)
        told = [hook.event for hook in livekit.webhooks if hook.room.name == room]
        assert {"room_started", "participant_joined", "track_published"} <= set(told)


async def test_a_caller_who_never_joins_costs_a_record_and_no_room(variables, livekit):
    room = a_room()
    async with Worker({**variables, "VOICE_AGENT__CALL__CALLER_TIMEOUT": "2"}) as worker:
        await worker.becomes(200)
        wanted = api.CreateAgentDispatchRequest(agent_name=livekit.agent_name, room=room)
        await livekit.api.agent_dispatch.create_dispatch(wanted)
        call, _ = await closed_record(variables, room)
        assert call.end_reason is EndReason.CALLER_NEVER_JOINED
        await livekit.gone(room)


async def test_a_room_that_is_deleted_from_outside_is_the_houses_hangup(
    variables, livekit, worker, clock
):
    room = a_room()
    async with RoomPhone(livekit, clock, asks("silence"), room) as phone:
        await eventually(lambda: phone.greeted_after, "the greeting")
        await livekit.api.room.delete_room(api.DeleteRoomRequest(room=room))
        assert await phone.until_ended() is Ended.AGENT_HANGUP
    call, _ = await closed_record(variables, room)
    assert (call.end_reason, call.end_detail) == (EndReason.AGENT_HANGUP, "room deleted")


async def test_a_caller_who_is_put_out_of_the_room_ends_the_call(variables, livekit, worker, clock):
    room = a_room()
    async with RoomPhone(livekit, clock, asks("silence"), room) as phone:
        await eventually(lambda: phone.greeted_after, "the greeting")
        who = api.RoomParticipantIdentity(room=room, identity="sip_caller")
        await livekit.api.room.remove_participant(who)
        await phone.until_ended()
    call, _ = await closed_record(variables, room)
    assert (call.end_reason, call.end_detail) == (EndReason.AGENT_HANGUP, "caller removed")
    await livekit.gone(room)


async def test_rooms_at_once_are_all_answered_and_recorded(variables, livekit, worker):
    rooms = [a_room() for _ in range(ROOMS)]
    told = await call_at_once(livekit.variables, livekit.agent_name, "opening-hours", rooms)
    assert {(one["ended"], one["failure"]) for one in told} == {(Ended.AGENT_HANGUP, None)}
    greeted = sorted(one["greeted_after"] for one in told)
    latencies = sorted(latency for one in told for latency in one["latencies"] if latency)
    print(f"{ROOMS} calls: greeted {greeted}, answered {latencies}")  # noqa: T201
    print(f"the callers' clocks were late {[one['clock_lateness'] for one in told]}")  # noqa: T201
    assert statistics.median(greeted) <= GREETED
    assert statistics.median(latencies) <= ANSWERED
    for room in rooms:
        assert (await closed_record(variables, room))[0].end_reason is EndReason.AGENT_HANGUP
        await livekit.gone(room)


async def test_ten_callers_who_join_at_one_moment_are_greeted_soon_and_recorded(
    variables, livekit, worker
):
    if not livekit.is_ours:
        pytest.skip("a LiveKit server whose webhooks come here (no LIVEKIT_URL)")
    rooms = [a_room() for _ in range(AT_ONE_MOMENT)]
    greeted = await greeted_after(livekit, rooms)
    print(f"greeted {greeted}")  # noqa: T201
    assert None not in greeted
    assert statistics.median(greeted) <= GREETED
    for room in rooms:
        assert (await closed_record(variables, room))[0].end_reason is EndReason.CALLER_HANGUP


def joins(livekit: LiveKitServer, room: str, kind: str) -> tuple[str, str]:
    """Where a participant of this kind joins, and the token for it, which brings the agent."""
    agents = [api.RoomAgentDispatch(agent_name=livekit.agent_name)]
    token = livekit.token(api.VideoGrants(room_join=True, room=room)).with_identity(kind)
    token = token.with_kind(kind).with_room_config(api.RoomConfiguration(agents=agents))
    return livekit.variables["LIVEKIT_URL"], token.to_jwt()
