"""Canary calls against a real LiveKit server: who answers, what is heard, who is taken out."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.call import EndReason
from agent.roster import SEEN
from agent.store import CallLog
from agent.store.recordings import Recordings
from agent.store.workers import Workers, WorkerState
from config import settings as configuration
from ops.canary.dispatch import Outcome
from ops.canary.watch import Watch, call_by_process
from ops.front.alerts import Alerts
from ops.front.database import Database
from ops.lease import Lease
from tests.programs import PATIENCE, Worker, eventually, run
from tests.recordings import persona

pytestmark = [pytest.mark.acceptance, pytest.mark.livekit]

PATIENT = {
    "VOICE_AGENT__CANARY__GREETING_WITHIN": "10",
    "VOICE_AGENT__CANARY__ANSWER_WITHIN": "8",
    "VOICE_AGENT__CANARY__ATTEMPTS": "1",
}
"""Twice the product's limits: the machine runs server, workers and callers."""

DYING = """
import sys
from agent import cli, worker
from tests.programs import dies

class Changed(worker.VoiceServer):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._entrypoint_fnc = dies

if __name__ == "__main__":
    worker.VoiceServer = Changed
    sys.argv = ["agent.py", "start"]
    cli.main()
"""
"""A worker that is registered and ready, and whose every call dies at once."""


@pytest.fixture
def told(variables, tmp_path, monkeypatch):
    """What the callers must be told, too; here it is the environment of their processes."""
    told = {**variables, **PATIENT, "VOICE_AGENT__WORKER__IDLE_PROCESSES": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return told


@pytest.fixture
def log(variables):
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"])
    yield log
    log.close()


def serving(log, count):
    rows = Workers(log.engine).seen(SEEN)
    return rows if [row.state for row in rows] == [WorkerState.SERVING] * count else None


async def test_a_canary_call_is_greeted_answered_understood_and_leaves_no_recording(
    told, livekit, log, tmp_path
):
    persona(tmp_path / "personas", "always")
    recorded = {
        "VOICE_AGENT__RECORDING__BY": "worker",
        "VOICE_AGENT__PERSONAS__FOLDER": str(tmp_path / "personas"),
    }
    async with Worker({**told, **recorded}) as worker:
        await worker.becomes(200)
        (row,) = await eventually(lambda: serving(log, 1), "the worker is in the list")
        command = ("-m", "ops", "canary", "--json", "--worker", row.id.rpartition("/")[2])
        done = await asyncio.to_thread(run, *command, variables=told, within=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        result = json.loads(done.stdout)
        print(result)  # noqa: T201
        assert (result["well"], result["worker"], result["asked"]) == (True, row.id, row.id)
        assert result["word_accuracy"] >= 0.8
        call = log.get_call(result["call"]).call
        assert (call.end_reason, call.identity) == (EndReason.CALLER_HANGUP, "canary")
        assert Recordings(log.engine).listed() == []
        await livekit.gone(result["room"])


async def test_of_two_workers_the_one_that_alone_fails_is_taken_out_and_can_come_back(
    told, livekit, log
):
    settings = configuration.load()
    database, alerts, heard = Database(settings.store.url), Alerts(), []
    alerts.listeners.append(lambda alert: heard.append((alert.name, alert.level)))
    watch = Watch(settings, database, alerts, Lease(database, "canary"))
    async with Worker(told) as good, Worker(told, "-c", DYING) as bad:
        await asyncio.gather(good.becomes(200), bad.becomes(200))
        rows = await eventually(lambda: serving(log, 2), "both workers are in the list")
        outcomes = await watch.round()
        (failed,) = [worker for worker, how in outcomes.items() if how is Outcome.FAILED]
        assert sorted(outcomes.values()) == [Outcome.FAILED, Outcome.WELL]
        assert set(outcomes) == {row.id for row in rows}
        assert (await bad.becomes(503))["not_draining"] is False
        assert ("CanaryFailed", "critical") in heard
        assert ("WorkerOutOfDispatch", "warning") in heard
        assert [(line.who, line.what) for line in log.audit_trail()] == [("canary", "worker.drain")]
        # Whom LiveKit asks now, it is the other one that answers.
        answered = await call_by_process("")
        assert (answered["well"], answered["worker"]) == (True, *(set(outcomes) - {failed}))
    await watch.aclose()
    await database.aclose()
