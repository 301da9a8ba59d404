"""The worker as LiveKit and its operators meet it: registration, full, drain, its end."""

from __future__ import annotations

import json

import pytest

from agent.call import EndReason
from agent.roster import SEEN
from agent.store import CallLog
from agent.store.workers import Wanted, Workers
from tests import canaries
from tests.livekit_stand_in import LiveKitStandIn
from tests.programs import PATIENCE, Worker, eventually, settings

pytestmark = pytest.mark.clocked

SECONDS = 30.0
"""An idle worker ends in two or three; a busy machine is given ten times that."""

PROGRAM = """
import multiprocessing, sys
from agent import cli, worker

class Changed(worker.VoiceServer):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        {change}

if __name__ == "__main__":
    worker.VoiceServer = Changed
    sys.argv = ["agent.py", "start"]
    cli.main()
"""
"""`agent.py start` with one change that no setting offers."""

SPAWNING = PROGRAM.format(
    change='self._mp_ctx_str, self._mp_ctx = "spawn", multiprocessing.get_context("spawn")'
)

DYING = PROGRAM.format(change="from tests.programs import dies; self._entrypoint_fnc = dies")


@pytest.fixture
async def livekit():
    async with LiveKitStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def variables(tmp_path, livekit):
    return {
        **settings(tmp_path),
        **livekit.variables,
        "VOICE_AGENT__WORKER__MAX_CALLS": "2",
        "VOICE_AGENT__WORKER__IDLE_PROCESSES": "1",
    }


async def test_a_worker_is_ready_once_it_is_registered_and_ends_when_it_is_told(variables, livekit):
    async with Worker(variables) as worker:
        ports = await worker.said("the worker is ready")
        assert {ports["http"], ports["endpoints"]}.isdisjoint({"127.0.0.1:0", "127.0.0.1:8081"})
        assert (await worker.get("/live"))[0] == 200
        assert (await worker.becomes(503))["registered"] is False

        livekit.takes_workers.set()
        assert all((await worker.becomes(200)).values())
        registration = await livekit.messages.first(lambda message: message.HasField("register"))
        assert registration.register.agent_name == "voice-ai"
        status, metrics = await worker.get("/metrics")
        assert status == 200
        assert "\nlk_agents_" in metrics

        worker.terminate()
        assert await worker.ended(SECONDS) == 0
        assert not [record for record in worker.log if record.get("level") == "error"]


async def test_a_full_worker_turns_calls_away_and_a_draining_one_ends_with_its_last(
    variables, livekit
):
    livekit.takes_workers.set()
    async with Worker({**variables, "VOICE_AGENT__ADMISSION__COURTESY_SLOTS": "0"}) as worker:
        await worker.becomes(200)
        jobs = []
        for number in (1, 2):
            job, answer = await livekit.offer(f"room-{number}")
            assert (answer.available, answer.terminate) == (True, False)
            await livekit.assign(job)
            jobs.append(job)
            # Counted in calls: one of two is a half. At 1 LiveKit would not ask any more.
            load = min(0.99, number / 2)
            await livekit.messages.first(
                lambda message, load=load: message.update_worker.load == pytest.approx(load)
            )
        refused, answer = await livekit.offer("room-3")
        assert (answer.available, answer.terminate) == (False, True)
        await livekit.deleted.first(lambda room: room == "room-3")
        assert (await worker.becomes(503))["not_full"] is False

        worker.terminate()
        await worker.said("draining worker")
        checks = await worker.becomes(503)
        assert (checks["not_draining"], checks["registered"]) == (False, True)
        assert (await worker.get("/live"))[0] == 200
        _, answer = await livekit.offer("room-4")
        assert (answer.available, answer.terminate) == (False, False)
        assert worker.process.returncode is None

        livekit.lets_go.set()
        assert await worker.ended() == 0

    assert set(livekit.deleted) == {"room-1", "room-2", "room-3"}
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"], readonly=True)
    ends = {(call.job_id, call.end_reason) for call in log.list_calls()}
    log.close()
    assert ends == {
        *((job.id, EndReason.AGENT_ERROR) for job in jobs),
        (refused.id, EndReason.REJECTED_BUSY),
    }


async def test_an_operator_takes_a_worker_out_of_dispatch_and_back_and_has_it_leave(
    variables, livekit
):
    livekit.takes_workers.set()
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"])
    workers = Workers(log.engine)
    async with Worker(variables) as worker:
        await worker.becomes(200)
        (row,) = await eventually(lambda: workers.seen(SEEN), "the worker is in the list")
        _, answer = await livekit.offer("room-1")
        assert answer.available

        workers.want(row.id, Wanted.REST, "operator")
        assert (await worker.becomes(503))["not_draining"] is False
        _, answer = await livekit.offer("room-2")
        assert (answer.available, answer.terminate) == (False, False)

        workers.want(row.id, Wanted.SERVE, "operator")
        await worker.becomes(200)
        _, answer = await livekit.offer("room-3")
        assert answer.available

        workers.want(row.id, Wanted.LEAVE, "operator")
        assert await worker.ended() == 0
    assert workers.seen(SEEN) == []
    log.close()


async def test_a_call_whose_process_dies_before_its_record_is_open_is_turned_away(
    variables, livekit
):
    livekit.takes_workers.set()
    async with Worker(variables, "-c", DYING) as worker:
        await worker.becomes(200)
        job, _ = await livekit.offer("room-1")
        await livekit.assign(job, joins=False)
        await livekit.deleted.first(lambda room: room == "room-1")
        worker.terminate()
        assert await worker.ended() == 0
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"], readonly=True)
    ((recorded, reason),) = [(call.job_id, call.end_reason) for call in log.list_calls()]
    log.close()
    assert (recorded, reason) == (job.id, EndReason.PROCESS_KILLED)


async def test_a_worker_that_may_not_wait_for_livekit_any_longer_ends_as_failed(variables):
    nobody = {"LIVEKIT_URL": "ws://127.0.0.1:9", "VOICE_AGENT__WORKER__GIVE_UP_AFTER": "2"}
    async with Worker({**variables, **nobody}) as worker:
        await worker.said("LiveKit is away")
        assert await worker.ended() == 1
    (failure,) = [r for r in worker.log if r["event"] == "the worker gives up"]
    assert "LiveKit has been away for 2 s" in failure["error"]


async def test_a_worker_whose_key_is_refused_says_so_in_one_line_and_ends(variables, livekit):
    wrong = {"LIVEKIT_API_SECRET": canaries.secret()}
    async with Worker({**variables, **wrong}) as worker:
        assert await worker.ended() == 2
    (line,) = [r["event"] for r in worker.log if "LIVEKIT_API_SECRET" in r["event"]]
    assert line.startswith("voice-ai: LIVEKIT_API_KEY, LIVEKIT_API_SECRET: ")
    assert "Traceback" not in str(list(worker.log))


async def test_a_server_that_goes_away_is_found_again_without_a_storm(variables, livekit):
    livekit.takes_workers.set()
    async with Worker(variables) as worker:
        await worker.becomes(200)
        livekit.closes_at_once.set()
        await livekit.hang_up()
        assert (await worker.becomes(503))["registered"] is False
        await eventually(lambda: list(livekit.attempts) == [True, False, False], "two attempts")
        assert (await worker.get("/live"))[0] == 200
        away = json.loads((await worker.get("/ready"))[1])["away_seconds"]
        assert 0.5 <= away < PATIENCE
        livekit.closes_at_once.clear()
        assert all((await worker.becomes(200)).values())
        assert json.loads((await worker.get("/ready"))[1])["away_seconds"] == 0
        back = await worker.said("LiveKit is back")
        assert back["away_seconds"] >= away
        worker.terminate()
        assert await worker.ended(SECONDS) == 0


async def test_a_job_process_that_did_not_inherit_the_preload_says_so(variables):
    async with Worker(variables, "-c", SPAWNING) as worker:
        warning = await worker.said("did not inherit the preload")
        assert warning["level"] == "warning"
        worker.terminate()
        await worker.ended(PATIENCE)
