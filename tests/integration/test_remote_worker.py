"""A worker without a lasting disk: its calls are written and counted by an `ops serve` elsewhere.

Worker and control plane share neither disk nor database.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import replace

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.call import EndReason
from agent.events import CallEnded, CallOpened, TurnFinished
from agent.rehearsal.troupe import Troupe
from agent.store import CallLog
from plugins.line import Clock, Ended
from tests.callers import Ear, asks, place
from tests.programs import PATIENCE, eventually, settings
from tests.serve_process import ServeProcess, client_key
from tests.serve_process import settings as serve_settings

pytestmark = pytest.mark.clocked


@pytest.fixture
def port():
    """A port that was free just now: a control plane comes back where it was."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def control(tmp_path, port):
    """Variables of the control plane."""
    folder = tmp_path / "control"
    folder.mkdir()
    return {**serve_settings(folder), "VOICE_AGENT__SERVE__PORT": str(port)}


@pytest.fixture
def url(control):
    return control["VOICE_AGENT__STORE__URL"]


@pytest.fixture
def key(url):
    return client_key(url, "events", "metrics", "health")


@pytest.fixture
def worker(tmp_path, port, key):
    """Variables of the worker: its own database is where none can be."""
    folder = tmp_path / "worker"
    folder.mkdir()
    return {
        **settings(folder),
        "VOICE_AGENT__STORE__URL": "sqlite:////dev/null/calls.db",
        "VOICE_AGENT__WORKER__REPORT_TO": f"http://127.0.0.1:{port}",
        "VOICE_AGENT__WORKER__REPORT_KEY": key,
        "VOICE_AGENT__WORKER__IDLE_PROCESSES": "1",
        "VOICE_AGENT__SECURITY__CALLER_SALT": "a salt that is kept elsewhere",
    }


def record_of(url, call_id):
    log = CallLog.open(url, readonly=True)
    try:
        return log.get_call(call_id)
    finally:
        log.close()


def ended(url, call_id):
    """Its record once it has ended."""
    return (record := record_of(url, call_id)).call.ended_at and record


def known(url, call_id):
    """The numbers of the events that are in the call log."""
    log = CallLog.open(url, readonly=True)
    try:
        return [row.seq for row in log.histories([call_id]).get(call_id, [])]
    finally:
        log.close()


def written_locally(folder, events):
    """The record as a worker with a call log of its own writes it."""
    log = CallLog.open(f"sqlite:///{folder}/local.db")
    try:
        log.apply("", events)
        return log.get_call(events[0].call_id)
    finally:
        log.close()


def without_worker(record):
    return replace(record, call=replace(record.call, worker_id=""))


async def figures(serve):
    status, text = await serve.ask("/metrics")
    assert status == 200
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def counted(serve, reason):
    """The figures once the call has been counted, which is just after it was written."""
    async with asyncio.timeout(PATIENCE):
        while True:
            told = await figures(serve)
            if told.get(("voice_calls_total", *reason)):
                return told
            await asyncio.sleep(0.05)


HUNG_UP = "agent_hangup", "caller"


async def test_its_calls_are_written_and_counted_elsewhere(tmp_path, worker, control, key, url):
    ear = Ear()
    async with (
        ServeProcess(control, key) as serve,
        Troupe(worker, tmp_path / "worker.log", ear.hear) as troupe,
        Clock() as clock,
    ):
        await serve.url()
        placed = await place(troupe, clock, "room", asks())
        call_id = placed.events[0].call_id
        record = await eventually(lambda: ended(url, call_id), "the record is closed")
        told = await counted(serve, HUNG_UP)

    assert placed.ended is Ended.AGENT_HANGUP
    assert without_worker(record) == written_locally(tmp_path, placed.events)
    assert record.call.worker_id.count("/") == 1
    assert told["voice_calls_total", *HUNG_UP] == 1
    assert told["voice_turns_total", "caller"] == record.call.turn_count
    assert told["voice_response_latency_seconds_count", "caller"] == record.call.turn_count
    assert told["voice_reported_events_total", "new"] == len(placed.events)
    assert told["voice_pickup_seconds_count", "caller"] == 1


async def test_a_control_plane_that_is_killed_in_mid_call_misses_nothing(
    tmp_path, worker, control, key, url
):
    ear = Ear()
    async with (
        Troupe(worker, tmp_path / "worker.log", ear.hear) as troupe,
        Clock() as clock,
    ):
        async with ServeProcess(control, key) as serve:
            await serve.url()
            call = asyncio.create_task(place(troupe, clock, "room", asks()))
            first = await ear.when(lambda e: isinstance(e, TurnFinished) and e.turn == 1)
            call_id = first.call_id
            await eventually(lambda: first.seq in known(url, call_id), "the turn is written")
            before = await figures(serve)
            os.kill(serve.process.pid, signal.SIGKILL)
            await serve.process.wait()
        second = await ear.when(lambda e: isinstance(e, TurnFinished) and e.turn == 2)
        assert second.seq not in known(url, call_id)
        async with ServeProcess(control, key) as serve:
            placed = await call
            record = await eventually(lambda: ended(url, call_id), "the record is closed")
            after = await counted(serve, HUNG_UP)

    assert placed.ended is Ended.AGENT_HANGUP
    assert without_worker(record) == written_locally(tmp_path, placed.events)
    assert record.call.turn_count == 4
    turns = "voice_turns_total", "caller"
    assert before[turns] + after[turns] == record.call.turn_count
    assert after["voice_calls_total", *HUNG_UP] == 1
    assert list((tmp_path / "worker" / "data").glob("outbox/*/*")) == []


async def test_a_killed_job_is_closed_with_its_reason(tmp_path, worker, control, key, url):
    ear = Ear()
    async with (
        ServeProcess(control, key) as serve,
        Troupe(worker, tmp_path / "worker.log", ear.hear) as troupe,
        Clock() as clock,
    ):
        await serve.url()
        call = asyncio.create_task(place(troupe, clock, "room", asks()))
        first = await ear.when(lambda e: isinstance(e, TurnFinished) and e.turn == 0)
        opened = next(e for e in ear.of(first.call_id) if isinstance(e, CallOpened))
        os.kill(opened.pid, signal.SIGKILL)
        await ear.when(lambda e: isinstance(e, CallEnded))
        record = await eventually(lambda: ended(url, first.call_id), "the record is closed")
        told = await counted(serve, ("caller", "process_killed"))
        await call

    assert record.call.end_reason is EndReason.PROCESS_KILLED
    assert told["voice_calls_total", "caller", "process_killed"] == 1


async def test_the_calls_of_a_killed_worker_are_closed_by_the_next_one_of_its_folder(
    tmp_path, worker, control, key, url
):
    ear = Ear()
    async with ServeProcess(control, key) as serve, Clock() as clock:
        await serve.url()
        async with Troupe(worker, tmp_path / "first.log", ear.hear) as troupe:
            process = psutil.Process(troupe._process.pid)
            call = asyncio.create_task(place(troupe, clock, "room", asks()))
            first = await ear.when(lambda e: isinstance(e, TurnFinished) and e.turn == 0)
            await eventually(lambda: first.seq in known(url, first.call_id), "it is written")
            family = process.children(recursive=True)
            process.kill()
            lost = await call
        _, left = await asyncio.to_thread(psutil.wait_procs, family, 30)
        assert (left, lost.ended) == ([], Ended.LOST)
        assert record_of(url, first.call_id).call.ended_at is None
        async with Troupe(worker, tmp_path / "second.log", Ear().hear):
            record = await eventually(lambda: ended(url, first.call_id), "the record is closed")
        told = await counted(serve, ("caller", "worker_killed"))

    assert record.call.end_reason is EndReason.WORKER_KILLED
    assert not record.call.end_provisional
    assert told["voice_calls_total", "caller", "worker_killed"] == 1
