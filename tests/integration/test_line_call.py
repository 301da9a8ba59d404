"""Phone and line over a real Unix socket, in real time, without a job."""

import asyncio
import contextlib
import stat

import numpy as np
import pytest

from plugins.line import (
    Clock,
    Ended,
    Hello,
    Line,
    LineError,
    LineGone,
    NoAnswer,
    Phone,
    TransferRefused,
    TransferResult,
    TransferTimeout,
    audible,
    spans,
    wire,
)
from plugins.line.wire import Kind
from tests.line_sounds import Speaker, chain, frame_of, silence, tone

pytestmark = pytest.mark.clocked

HELLO = Hello("+15550100", "+15550199", "ulaw", "caller-1")


@pytest.fixture
async def clock():
    async with Clock() as clock:
        yield clock


@contextlib.asynccontextmanager
async def other_end(path, data: bytes):
    """A phone that sends `data` and then says nothing until the job closes."""

    async def speak(reader, writer) -> None:
        writer.write(data)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_unix_server(speak, path)
    try:
        line = await Line.connect(path)
        try:
            yield line
        finally:
            await line.aclose()
    finally:
        await done.wait()
        server.close()


async def pick_up(phone: Phone) -> Line:
    line = await Line.connect(phone.path)
    await line.answer()
    return line


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
async def test_an_echo_comes_back_three_frames_later(clock, law):
    caller = Speaker(chain(silence(0.2), tone(0.2), silence(0.4)))

    async def echo(phone: Phone) -> Line:
        line = await pick_up(phone)
        async for frame in line.input:
            assert (frame.sample_rate, frame.samples_per_channel) == (16000, 320)
            half = np.frombuffer(frame.data, np.int16)[::2].copy()
            await line.output.capture_frame(frame_of(half))
        await line.aclose()
        return line

    async with Phone(clock, caller, Hello(law=law)) as phone:
        job = asyncio.create_task(echo(phone))
        await phone.ring()
        assert await phone.ended is Ended.CALLER_HANGUP
        line = await job
    assert line.left.result() is Ended.CALLER_HANGUP
    ((left, _),) = spans(phone.recording.caller)
    ((right, _),) = spans(phone.recording.agent)
    assert right - left == pytest.approx(0.061, abs=0.0205)
    assert phone.recording.duration == pytest.approx(0.8)
    assert phone.jitter.underruns <= 2


async def test_the_caller_is_named_and_the_socket_is_private(clock):
    async with Phone(clock, Speaker(silence(1.0)), HELLO) as phone:
        assert stat.S_IMODE(phone.path.parent.stat().st_mode) == 0o700
        line = await Line.connect(phone.path)
        assert line.hello == HELLO
        with pytest.raises(LineError, match="no phone at"):
            await Line.connect(phone.path)  # the line is taken
        await line.aclose()
    assert not phone.path.parent.exists()


async def test_the_agent_hangs_up_and_its_last_word_is_heard(clock):
    async with Phone(clock, Speaker(silence(5.0)), HELLO) as phone:
        line = await pick_up(phone)
        await line.output.capture_frame(frame_of(tone(0.3)))
        line.output.flush()
        await line.output.wait_for_playout()
        await line.hangup()
        await line.hangup()
        assert await phone.ended is Ended.AGENT_HANGUP
        assert line.left.result() is Ended.AGENT_HANGUP
        await line.aclose()
    ((start, end),) = spans(phone.recording.agent)
    assert end - start == pytest.approx(0.3, abs=0.002)


async def test_noise_lies_under_the_caller_and_is_not_audible(clock):
    async with Phone(clock, Speaker(silence(0.3)), HELLO, noise_dbfs=-60) as phone:
        line = await pick_up(phone)
        await phone.ended
        await line.aclose()
    caller = phone.recording.caller.astype(float)
    assert 20 * np.log10(np.sqrt(np.mean(caller**2)) / 32768) == pytest.approx(-60, abs=1.5)
    assert not audible(phone.recording.caller).any()


async def test_keys_reach_the_agent(clock):
    keys: list[str] = []
    async with Phone(clock, Speaker(silence(0.2), digits="1#"), HELLO) as phone:
        line = await Line.connect(phone.path)
        line.on_dtmf(keys.append)
        await line.answer()
        await line.left
        await line.aclose()
    assert keys == ["1", "#"]


async def test_an_accepted_transfer_ends_the_call(clock):
    async with Phone(clock, Speaker(silence(5.0)), HELLO) as phone:
        line = await pick_up(phone)
        await line.transfer("+15550111")
        assert await line.left is Ended.TRANSFERRED
        assert await phone.ended is Ended.TRANSFERRED
        assert phone.transferred_to == "+15550111"
        with pytest.raises(LineGone):
            await line.answer()
        await line.aclose()


async def test_a_refused_transfer_says_why_and_the_call_goes_on(clock):
    refusal = TransferResult(ok=False, code=486)
    async with Phone(clock, Speaker(silence(5.0)), HELLO, transfer=refusal) as phone:
        line = await pick_up(phone)
        with pytest.raises(TransferRefused, match="486"):
            await line.transfer("+15550111")
        assert not phone.ended.done()
        await line.hangup()
        assert await phone.ended is Ended.AGENT_HANGUP
        await line.aclose()


async def test_a_transfer_that_nobody_answers_times_out(tmp_path):
    async with other_end(tmp_path / "mute", wire.encode_json(Kind.HELLO, HELLO)) as line:
        with pytest.raises(TransferTimeout, match="in time"):
            await line.transfer("+15550111", within=0.05)


async def test_a_job_that_dies_is_lost_and_one_that_lets_go_too(clock):
    async with Phone(clock, Speaker(silence(5.0)), HELLO) as phone:
        line = await pick_up(phone)
        await phone.ring()
        await line.aclose()
        assert await phone.ended is Ended.LOST


async def test_a_phone_that_dies_ends_the_input_and_the_playback(clock):
    async def die(reader, writer) -> None:
        writer.write(wire.encode_json(Kind.HELLO, HELLO))
        await reader.readexactly(3)
        writer.close()

    phone = Phone(clock, Speaker(silence(1.0)), HELLO)
    server = await asyncio.start_unix_server(die, phone.path)
    line = await pick_up(phone)
    assert [frame async for frame in line.input] == []
    assert await line.left is Ended.LOST
    await line.output.capture_frame(frame_of(tone(0.1)))
    line.output.flush()
    assert (await line.output.wait_for_playout()).interrupted
    await line.aclose()
    server.close()
    async with phone:
        pass


async def test_a_phone_that_talks_nonsense_is_lost(tmp_path, caplog):
    babble = wire.encode_json(Kind.HELLO, HELLO) + b"\x63\x00\x00"
    async with other_end(tmp_path / "babble", babble) as line:
        assert await line.left is Ended.LOST
        assert caplog.records[-1].error == "unknown kind of frame: 99"


async def test_a_phone_that_does_not_introduce_itself_is_refused(tmp_path):
    with pytest.raises(LineError, match="expected HELLO as the first frame, got ANSWER"):
        async with other_end(tmp_path / "rude", wire.encode(Kind.ANSWER)):
            pass


async def test_no_phone_at_all_is_a_clear_error(tmp_path):
    with pytest.raises(LineError, match=r"no phone at .*nobody"):
        await Line.connect(tmp_path / "nobody")


async def test_nobody_answers(clock):
    async with Phone(clock, Speaker(silence(1.0)), HELLO) as phone:
        line = await Line.connect(phone.path)
        with pytest.raises(NoAnswer, match="Nobody answered"):
            await phone.ring(within=0.05)
        assert await line.left is Ended.CALLER_HANGUP
        await line.aclose()


async def test_a_caller_that_fails_ends_only_its_own_call(clock):
    class Faulty(Speaker):
        def tick(self, heard):
            if len(self.heard) == 3:
                raise RuntimeError("lost the script")
            return super().tick(heard)

    async with (
        Phone(clock, Faulty(silence(5.0)), HELLO) as bad,
        Phone(clock, Speaker(silence(0.3)), HELLO) as good,
    ):
        lines = [await pick_up(bad), await pick_up(good)]
        with pytest.raises(RuntimeError, match="lost the script"):
            await bad.ended
        assert await good.ended is Ended.CALLER_HANGUP
        for line in lines:
            await line.aclose()


async def test_a_detached_input_forgets_what_it_hears(clock):
    async with Phone(clock, Speaker(silence(0.2)), HELLO) as phone:
        line = await Line.connect(phone.path)
        line.input.on_detached()
        await line.answer()
        await line.left
        assert [frame async for frame in line.input] == []
        await line.aclose()
