"""A worker takes as many calls as it may, and passes the others on."""

from __future__ import annotations

import asyncio

import pytest
from livekit.agents import JobRequest
from livekit.protocol.agent import Job

from agent.admission import Admission


class Server:
    """LiveKit's side of job requests; with `slow`, an acceptance waits for the test."""

    def __init__(self):
        self.answers = []
        self.assigned = asyncio.Event()
        self.assigned.set()

    def request(self):
        return JobRequest(job=Job(id="AJ_1"), on_reject=self._reject, on_accept=self._accept)

    async def _reject(self, terminate):
        self.answers.append("dropped" if terminate else "passed on")

    async def _accept(self, arguments):
        self.answers.append("accepted")
        await self.assigned.wait()


@pytest.fixture
def server():
    return Server()


async def test_a_worker_with_room_accepts(server):
    await Admission(2).decide(server.request(), running=1)
    assert server.answers == ["accepted"]


async def test_a_full_worker_passes_the_job_on_to_another(server, caplog):
    await Admission(2).decide(server.request(), running=2)
    assert server.answers == ["passed on"]
    assert "a job was passed on" in caplog.messages


async def test_calls_that_are_being_accepted_count(server):
    admission = Admission(2)
    server.assigned.clear()
    burst = [asyncio.create_task(admission.decide(server.request(), running=0)) for _ in range(3)]
    await asyncio.wait(burst, return_when=asyncio.FIRST_COMPLETED)
    assert sorted(server.answers) == ["accepted", "accepted", "passed on"]
    server.assigned.set()
    await asyncio.gather(*burst)


async def test_an_acceptance_that_fails_gives_its_place_back(server):
    async def refuse(_arguments):
        raise TimeoutError

    admission = Admission(1)
    failing = JobRequest(job=Job(id="AJ_2"), on_reject=server._reject, on_accept=refuse)
    with pytest.raises(TimeoutError):
        await admission.decide(failing, running=0)
    await admission.decide(server.request(), running=0)
    assert server.answers == ["accepted"]
