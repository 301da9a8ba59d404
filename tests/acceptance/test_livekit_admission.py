"""One worker of a real LiveKit server, and more callers than it may take."""

from __future__ import annotations

import json

import pytest
import yaml
from livekit import api

from agent.call import VERDICT_ATTRIBUTE, EndReason
from plugins.line import Ended, spans
from tests.callers import asks
from tests.livekit_phone import RoomPhone, a_room, closed_record
from tests.programs import ROOT, Worker, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.livekit]

PHRASE = 2.0
"""Seconds that the busy and the closed phrase take at least; both take about twice that."""


def heard(phone):
    """Seconds from the agent's first sound to its last."""
    found = spans(phone.recording.agent)
    return found[-1][1] - found[0][0] if found else 0.0


async def test_a_second_caller_hears_that_all_is_busy_and_a_third_is_not_left_ringing(
    variables, livekit, clock
):
    one = {
        "VOICE_AGENT__WORKER__MAX_CALLS": "1",
        "VOICE_AGENT__WORKER__IDLE_PROCESSES": "2",
        "VOICE_AGENT__ADMISSION__COURTESY_SLOTS": "1",
    }
    rooms = a_room(), a_room(), a_room()
    async with Worker({**variables, **one}) as worker:
        await worker.becomes(200)
        async with RoomPhone(livekit, clock, asks("silence"), rooms[0]) as first:
            await eventually(lambda: first.greeted_after, "the greeting")
            async with RoomPhone(livekit, clock, asks("silence"), rooms[1]) as second:
                await eventually(lambda: second.greeted_after, "the busy phrase")
                here = await livekit.api.room.list_participants(
                    api.ListParticipantsRequest(room=rooms[1])
                )
                told = {guest.attributes.get(VERDICT_ATTRIBUTE) for guest in here.participants}
                assert "busy" in told
                async with RoomPhone(livekit, clock, asks("silence"), rooms[2]) as third:
                    assert await third.until_ended() is Ended.AGENT_HANGUP
                assert await second.until_ended() is Ended.AGENT_HANGUP
            assert not first.ended.done()
            await first.hang_up()
        ends = [(await closed_record(variables, room))[0].end_reason for room in rooms]
    assert ends == [
        EndReason.CALLER_HANGUP,
        EndReason.REJECTED_BUSY,
        EndReason.REJECTED_BUSY,
    ]
    assert heard(second) >= PHRASE
    assert heard(third) == 0
    for room in rooms[1:]:
        await livekit.gone(room)


async def test_the_dispatch_chooses_the_persona_and_its_hours_hold(
    variables, livekit, clock, tmp_path
):
    personas = tmp_path / "personas"
    personas.mkdir()
    body = yaml.safe_load((ROOT / "config" / "personas" / "en.yaml").read_text("utf-8"))
    (personas / "en.yaml").write_text(yaml.safe_dump(body))
    body["hours"] = {"zone": "UTC", "week": {}}
    (personas / "never.yaml").write_text(yaml.safe_dump(body))
    room = a_room()
    async with Worker({**variables, "VOICE_AGENT__PERSONAS__FOLDER": str(personas)}) as worker:
        await worker.becomes(200)
        async with RoomPhone(livekit, clock, asks("silence"), room, dispatch=False) as phone:
            wanted = api.CreateAgentDispatchRequest(
                agent_name=livekit.agent_name, room=room, metadata=json.dumps({"persona": "never"})
            )
            await livekit.api.agent_dispatch.create_dispatch(wanted)
            assert await phone.until_ended() is Ended.AGENT_HANGUP
        call, _ = await closed_record(variables, room)
    assert (call.persona, call.end_reason) == ("never", EndReason.REJECTED_CLOSED)
    assert heard(phone) >= PHRASE
