"""Events reach the worker over a real Unix socket, or the spool: never nowhere, never twice."""

from __future__ import annotations

import asyncio
import contextlib
import stat

import pytest

from agent.availability import ALL_KINDS, State
from agent.call import Call, EndReason
from agent.channel import Channel, ChannelServer
from agent.events import CallEnded, CallNote, CallOpened, encode
from agent.pseudonym import Pseudonyms
from agent.record import Record
from agent.spool import Spool
from tests.programs import eventually

CALL = "c4" * 16


class Worker:
    """A worker's end of the channel: keeps what it is told; `hold` delays its acknowledgements."""

    def __init__(self, path):
        self.events, self.lost = [], []
        self.hold = asyncio.Event()
        self.hold.set()
        self._changed = asyncio.Condition()
        self.server = ChannelServer(path, self._keep, self._lose)

    async def _keep(self, event):
        self.events.append(event.seq)
        async with self._changed:
            self._changed.notify_all()
        await self.hold.wait()

    async def _lose(self, job):
        self.lost.append(job)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition):
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(condition)


@pytest.fixture
async def worker(tmp_path):
    worker = Worker(tmp_path / "events.sock")
    await worker.server.start()
    yield worker
    worker.hold.set()
    await worker.server.aclose()


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
async def channel(worker, spool, tmp_path):
    return await Channel.open(tmp_path / "events.sock", CALL, spool)


def opened():
    return CallOpened(
        call_id=CALL, seq=1, room="room-1", room_sid="", job_id="j", agent_name="a", pid=4711
    )


def note(seq):
    return CallNote(call_id=CALL, seq=seq, name="x")


def ended(seq):
    return CallEnded(call_id=CALL, seq=seq, reason=EndReason.CALLER_HANGUP)


def spooled(spool):
    found = []
    spool.replay(lambda _worker, events: found.extend(event.seq for event in events))
    return found


async def test_events_arrive_in_order_and_a_goodbye_is_no_loss(worker, channel, spool):
    for event in (opened(), note(2), note(3), ended(4)):
        channel.send(event)
    await channel.aclose()
    assert worker.events == [1, 2, 3, 4]
    await worker.server.aclose()
    assert (worker.lost, spooled(spool)) == ([], [])


async def test_the_socket_is_the_workers_own(worker, tmp_path):
    assert stat.S_IMODE((tmp_path / "events.sock").stat().st_mode) == 0o600


async def test_a_goodbye_in_mid_call_is_no_loss(worker, channel):
    channel.send(opened())
    await channel.aclose()
    await worker.server.aclose()
    assert worker.lost == []


async def test_a_job_that_ends_without_goodbye_is_lost_exactly_once(worker, tmp_path):
    reader, writer = await asyncio.open_unix_connection(tmp_path / "events.sock")
    writer.write(encode(opened()).encode() + b"\n" + encode(note(2)).encode() + b"\n")
    assert [await reader.readline() for _ in range(2)] == [b'{"ack":1}\n', b'{"ack":2}\n']
    writer.close()
    await worker.until(lambda: worker.lost)
    await worker.server.aclose()
    (job,) = worker.lost
    assert (job.call_id, job.room, job.pid) == (CALL, "room-1", 4711)
    assert worker.events == [1, 2]


async def test_what_a_job_sent_before_it_was_killed_is_not_lost(worker, tmp_path):
    _, writer = await asyncio.open_unix_connection(tmp_path / "events.sock")
    for event in (opened(), note(2), note(3)):
        writer.write(encode(event).encode() + b"\n")
    writer.close()  # before any acknowledgement
    await worker.until(lambda: worker.lost)
    assert worker.events == [1, 2, 3]


async def test_a_job_that_wrote_its_end_and_dies_is_not_lost(worker, tmp_path):
    reader, writer = await asyncio.open_unix_connection(tmp_path / "events.sock")
    writer.write(encode(opened()).encode() + b"\n" + encode(ended(2)).encode() + b"\n")
    assert [await reader.readline() for _ in range(2)] == [b'{"ack":1}\n', b'{"ack":2}\n']
    writer.close()
    await worker.server.aclose()
    assert worker.lost == []


async def test_who_connects_and_leaves_without_a_call_is_nobody(worker, tmp_path):
    reader, writer = await asyncio.open_unix_connection(tmp_path / "events.sock")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert worker.lost == []


async def test_a_line_that_is_no_event_is_passed_over(worker, tmp_path, caplog):
    reader, writer = await asyncio.open_unix_connection(tmp_path / "events.sock")
    writer.write(b'{"kind":"gossip"}\n' + encode(opened()).encode() + b"\n")
    assert await reader.readline() == b'{"ack":1}\n'
    writer.write(b'{"bye":true}\n')
    assert await reader.read() == b""
    writer.close()
    assert "a job sent what is not an event" in caplog.messages
    assert worker.lost == []


async def test_closing_waits_for_the_last_acknowledgement(worker, channel, spool):
    worker.hold.clear()
    channel.send(opened())
    closing = asyncio.create_task(channel.aclose())
    await worker.until(lambda: worker.events)
    assert not closing.done()
    worker.hold.set()
    await closing
    assert spooled(spool) == []


async def test_what_is_not_acknowledged_in_time_is_spooled(worker, channel, spool):
    worker.hold.clear()
    channel.send(opened())
    channel.send(note(2))
    await channel.aclose(timeout=0.05)
    assert spooled(spool) == [1, 2]


async def test_when_the_worker_goes_the_spool_has_the_rest_in_order(spool, tmp_path):
    async def acknowledge_one_and_die(reader, writer):
        await reader.readline()
        await reader.readline()
        writer.write(b'{"ack":1}\n')
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(acknowledge_one_and_die, tmp_path / "dying.sock")
    channel = await Channel.open(tmp_path / "dying.sock", CALL, spool)
    channel.send(opened())
    channel.send(note(2))
    await asyncio.wait([channel._reading], timeout=5)
    assert spool.pending() == 1
    channel.send(note(3))
    channel.send(ended(4))
    await channel.aclose()
    assert spooled(spool) == [2, 3, 4]
    server.close()


async def test_events_sent_into_a_broken_socket_are_not_lost(spool, tmp_path):
    connected = asyncio.Event()

    async def hang_up(reader, writer):
        writer.transport.abort()
        connected.set()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "rude.sock")
    channel = await Channel.open(tmp_path / "rude.sock", CALL, spool)
    await connected.wait()
    for event in (opened(), note(2), ended(3)):
        channel.send(event)  # the job has not noticed yet
    await channel.aclose()
    assert spooled(spool) == [1, 2, 3]
    server.close()


async def test_without_a_worker_everything_is_spooled(spool, tmp_path, caplog):
    channel = await Channel.open(tmp_path / "nobody.sock", CALL, spool)
    for event in (opened(), note(2), ended(3)):
        channel.send(event)
    await channel.aclose()
    assert spooled(spool) == [1, 2, 3]
    assert "no worker on the event channel" in caplog.messages


async def test_a_worker_that_closes_ends_the_conversations(worker, channel, spool):
    channel.send(opened())
    await worker.until(lambda: worker.events)
    await worker.server.aclose()
    with contextlib.suppress(FileNotFoundError):
        await Channel.open(worker.server._path, CALL, spool)
    channel.send(ended(2))
    await channel.aclose()
    assert spooled(spool) == [2]
    assert worker.lost == []


async def asked(tmp_path, answer):
    """A channel to a worker that answers by `answer`."""

    async def keep(_event): ...

    async def lose(_job): ...

    server = ChannelServer(tmp_path / "asked.sock", keep, lose, answer)
    await server.start()
    channel = await Channel.open(tmp_path / "asked.sock", CALL, Spool(tmp_path / "spool"))
    return server, channel


async def test_a_job_asks_and_the_worker_answers(tmp_path):
    async def answer(question):
        return f"to {question['what']}"

    server, channel = await asked(tmp_path, answer)
    assert await channel.ask({"what": "one"}) == "to one"
    channel.send(CallNote(call_id=CALL, seq=1, name="between"))
    assert await channel.ask({"what": "two"}) == "to two"
    await channel.aclose()
    await server.aclose()


async def test_an_answer_that_takes_its_time_holds_no_event_and_is_not_that_to_the_next(tmp_path):
    asked_for = asyncio.Event()

    async def answer(question):
        if question["what"] == "slow":
            asked_for.set()
            await asyncio.Event().wait()
        return f"to {question['what']}"

    server, channel = await asked(tmp_path, answer)
    slow = asyncio.create_task(channel.ask({"what": "slow"}, timeout=0.5))
    await asyncio.wait_for(asked_for.wait(), 5)
    channel.send(CallNote(call_id=CALL, seq=1, name="meanwhile"))
    await asyncio.wait_for(channel._settled.wait(), 5)
    assert await slow is None
    assert await channel.ask({"what": "next"}) == "to next"
    await channel.aclose()
    await server.aclose()


async def test_an_answer_that_comes_too_late_is_dropped(tmp_path):
    late = asyncio.Event()

    async def answer(question):
        if question["what"] == "slow":
            await late.wait()
        return f"to {question['what']}"

    server, channel = await asked(tmp_path, answer)
    assert await channel.ask({"what": "slow"}, timeout=0.05) is None
    late.set()
    assert await channel.ask({"what": "next"}) == "to next"
    await channel.aclose()
    await server.aclose()


async def test_a_question_that_breaks_the_answer_is_logged_and_the_events_go_on(tmp_path, caplog):
    async def answer(question):
        return question["no such key"]

    server, channel = await asked(tmp_path, answer)
    assert await channel.ask({"number": "+15550100"}, timeout=0.2) is None
    channel.send(CallNote(call_id=CALL, seq=1, name="later"))
    await channel.aclose()
    assert "a job asked what is no question" in caplog.messages
    assert "5550100" not in caplog.text
    assert "events were not acknowledged in time" not in caplog.messages
    await server.aclose()


async def test_without_a_worker_there_is_no_answer(tmp_path, spool):
    channel = await Channel.open(tmp_path / "nobody.sock", CALL, spool)
    assert await channel.ask({"what": "anything"}) is None
    await channel.aclose()


async def test_a_job_learns_at_its_start_and_later_which_providers_are_down(spool, tmp_path):
    known = [("stt", "deepgram", State.DOWN), (ALL_KINDS, "openai", State.REFUSED)]

    async def nothing(_):
        pass

    server = ChannelServer(tmp_path / "told.sock", nothing, nothing, outages=lambda: known)
    await server.start()
    record = await Record.open(
        Call.new(room="r", room_sid="", job_id="j", agent_name="a"),
        socket=tmp_path / "told.sock",
        spool=tmp_path / "spool",
        worker_id="",
        pid=1,
        pseudonyms=Pseudonyms(b""),
    )
    availability = record.availability
    await eventually(lambda: not availability.is_up("tts", "openai"), "the news at the start")
    assert availability.state("stt", "deepgram") is State.DOWN
    server.tell("stt", "deepgram", State.UP)
    await eventually(lambda: availability.is_up("stt", "deepgram"), "the news in mid-call")
    await record.close(EndReason.CALLER_HANGUP, "", {})
    server.tell("stt", "deepgram", State.DOWN)  # to nobody
    await server.aclose()
    assert spooled(spool) == []
