"""A real LiveKit server that goes away, bursts, and several workers that share the calls."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from livekit import api

from agent.call import EndReason
from plugins.line import Ended
from plugins.line.caller import SimulatedCaller
from plugins.line.judge import judge_line
from plugins.line.scenario import load_scenario
from tests.callers import asks
from tests.livekit_phone import RoomPhone, a_room, closed_record
from tests.programs import Worker, eventually, settings

pytest_plugins = ["tests.redis_server"]
pytestmark = [pytest.mark.acceptance, pytest.mark.livekit]

BACK_WITHIN = 15.0
"""Seconds from the server's return to the worker's registration."""

ATTEMPTS_A_MINUTE = 20
BURST = 10

PATIENT = """
name: patient
about: A caller whose line is dead for some seconds, and who then asks after all.
steps:
  - listen: {}
  - wait: 9
  - say: what are your opening hours
    expect: {fact: opening_hours, answered: once}
  - listen: {}
  - say: goodbye
    expect: {fact: goodbye, tool: end_call, answered: once}
  - silence: {timeout: 20}
expect:
  end_reason: agent_hangup
"""


@pytest.fixture
def killable(livekit):
    if not livekit.is_ours:
        pytest.skip("a LiveKit server of the test's own (livekit-server on PATH, no LIVEKIT_URL)")
    return livekit


@pytest.mark.parametrize("by_room", [True, False], ids=["by the room", "by the API"])
async def test_a_call_goes_on_when_the_server_was_away_for_a_moment(
    variables, killable, worker, clock, tmp_path, by_room
):
    file = tmp_path / "patient.yaml"
    file.write_text(PATIENT)
    caller, room = SimulatedCaller(load_scenario(str(file))), a_room()
    async with RoomPhone(killable, clock, caller, room, dispatch=by_room) as phone:
        if not by_room:
            await ask_for_agent(killable, room)
        await eventually(lambda: phone.greeted_after, "the greeting")
        await outage(killable, worker, 2.0)
        ended = await phone.until_ended()
    assert (ended, caller.failure) == (Ended.AGENT_HANGUP, None)
    print(f"answered after {phone.latencies}")  # noqa: T201
    assert not [verdict for verdict in judge_line(caller, phone.recording) if not verdict.met]
    call, _ = await closed_record(variables, room)
    assert (call.end_reason, call.turn_count) == (EndReason.AGENT_HANGUP, 2)
    await killable.gone(room)


async def test_a_call_ends_as_lost_when_the_server_is_away_for_longer(
    variables, killable, worker, clock
):
    room = a_room()
    async with RoomPhone(killable, clock, asks("silence"), room) as phone:
        await eventually(lambda: phone.greeted_after, "the greeting")
        await outage(killable, worker, 30.0)
        assert await phone.until_ended() is Ended.LOST
    call, _ = await closed_record(variables, room)
    assert call.end_reason is EndReason.LIVEKIT_LOST
    assert room not in await killable.rooms()


async def outage(livekit, worker, seconds):
    """The server is killed, and started again: the worker comes back by itself and in time."""
    await livekit.kill()
    assert (await worker.becomes(503))["registered"] is False
    assert (await worker.get("/live"))[0] == 200
    await asyncio.sleep(seconds)
    told = json.loads((await worker.get("/ready"))[1])["away_seconds"]
    assert told == pytest.approx(seconds, abs=3.0)
    await livekit.start()
    returned = time.monotonic()
    await worker.becomes(200)
    after = time.monotonic() - returned
    attempts = sum(record.get("event") == "LiveKit is away" for record in worker.log)
    print(f"{attempts} attempts, registered {after:.1f} s after the server's return")  # noqa: T201
    assert after <= BACK_WITHIN
    assert attempts < ATTEMPTS_A_MINUTE


async def test_a_second_worker_takes_over_when_the_first_drains_and_no_call_is_cut(
    variables, livekit, clock, tmp_path
):
    async with Worker(variables) as first:
        await first.becomes(200)
        async with RoomPhone(livekit, clock, asks("opening-hours"), a_room()) as early:
            await eventually(lambda: early.greeted_after, "the greeting")
            async with Worker(another(variables, tmp_path)) as second:
                await second.becomes(200)
                first.terminate()
                await first.said("draining worker")
                assert (await first.becomes(503))["not_draining"] is False
                async with RoomPhone(livekit, clock, asks("opening-hours"), a_room()) as late:
                    assert await early.until_ended() is Ended.AGENT_HANGUP
                    assert await first.ended() == 0
                    assert await late.until_ended() is Ended.AGENT_HANGUP
                call, _ = await closed_record(another(variables, tmp_path), late.name)
                assert call.end_reason is EndReason.AGENT_HANGUP
    assert (early.caller.failure, late.caller.failure) == (None, None)
    call, _ = await closed_record(variables, early.name)
    assert (call.end_reason, call.turn_count) == (EndReason.AGENT_HANGUP, 4)


async def test_a_burst_of_jobs_on_an_idle_worker_loses_none(variables, livekit):
    rooms = [a_room() for _ in range(BURST)]
    async with Worker({**variables, "VOICE_AGENT__CALL__CALLER_TIMEOUT": "5"}) as worker:
        await worker.becomes(200)
        await asyncio.gather(*(ask_for_agent(livekit, room) for room in rooms))
        for room in rooms:
            call, _ = await closed_record(variables, room)
            assert call.end_reason is EndReason.CALLER_NEVER_JOINED


async def test_a_full_worker_passes_jobs_on(variables, livekit, clock, tmp_path, redis_url):
    one = {"VOICE_AGENT__WORKER__MAX_CALLS": "1", "REDIS_URL": redis_url}
    other = another(variables, tmp_path)
    async with Worker({**variables, **one}) as first, Worker({**other, **one}) as second:
        await asyncio.gather(first.becomes(200), second.becomes(200))
        async with (
            RoomPhone(livekit, clock, asks("silence"), a_room()) as this,
            RoomPhone(livekit, clock, asks("silence"), a_room()) as that,
        ):
            await eventually(lambda: this.greeted_after, "the greeting of one caller")
            await eventually(lambda: that.greeted_after, "the greeting of the other")
            for worker in (first, second):
                assert (await worker.becomes(503))["not_full"] is False


def another(variables, tmp_path):
    """The settings of a second worker, with a data folder and a call log of its own."""
    folder = tmp_path / "second"
    folder.mkdir(exist_ok=True)
    return {**variables, **settings(folder)}


async def ask_for_agent(livekit, room):
    wanted = api.CreateAgentDispatchRequest(agent_name=livekit.agent_name, room=room)
    await livekit.api.agent_dispatch.create_dispatch(wanted)
