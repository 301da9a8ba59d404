"""The line's twin of the caller's leg: against a real phone on the in-memory line."""

from __future__ import annotations

import asyncio
import json

import pytest
from test_leg import Context, Session

from agent import leg as legs
from agent.call import EndReason
from agent.consultation import Briefing
from agent.dialing import Order
from agent.ending import Ending
from agent.errors import KeysNotSent, TransferFailed
from agent.leg import LINE_METADATA
from agent.line_leg import LineLeg
from plugins.line import Clock, Ended, Hello, Phone, TransferResult, wire
from tests.line_sounds import Speaker, silence

HELLO = Hello("+15550100", "+15550199", "ulaw", "caller-1")


@pytest.fixture
def ending():
    return Ending()


@pytest.fixture
async def clock():
    async with Clock() as clock:
        yield clock


def ringing(clock, **options):
    return Phone(clock, Speaker(silence(5.0)), HELLO, **options)


async def take(phone, ending):
    """The leg of a job that was dialled from `phone`."""
    metadata = json.dumps({LINE_METADATA: str(phone.path)})
    leg = await legs.connect(Context(metadata, fake=True), ending)
    assert isinstance(leg, LineLeg)
    return leg


async def test_a_simulated_call_is_on_the_line(clock, ending):
    async with ringing(clock) as phone:
        leg = await take(phone, ending)
        caller = await leg.wait_for_caller(1.0)
        assert (caller.identity, caller.kind) == ("caller-1", "line")
        assert (caller.number, caller.called) == ("+15550100", "+15550199")
        assert phone.answered_at is None
        session = Session()
        await leg.start(session, "the agent")
        await phone.ring()
        assert session.input.audio is not None
        assert session.output.audio is not None
        assert session.started == {"agent": "the agent", "session_host": False, "record": False}
        await leg.aclose()


async def test_the_caller_on_the_line_hangs_up(clock, ending):
    async with ringing(clock) as phone:
        leg = await take(phone, ending)
        phone.hang_up()
        assert await asyncio.wait_for(ending.wait(), 5) is EndReason.CALLER_HANGUP
        await leg.aclose()


async def test_the_agent_hangs_up_on_the_line(clock, ending):
    async with ringing(clock) as phone:
        leg = await take(phone, ending)
        await leg.start(Session(), "the agent")
        ending.decide(EndReason.AGENT_HANGUP)
        await leg.end(EndReason.AGENT_HANGUP)
        assert await asyncio.wait_for(phone.ended, 5) is Ended.AGENT_HANGUP
        await leg.aclose()
    assert ending.reason is EndReason.AGENT_HANGUP


async def test_keys_on_the_line_reach_the_agent(clock, ending):
    keys = asyncio.Queue()
    async with Phone(clock, Speaker(silence(5.0), digits="4#"), HELLO) as phone:
        leg = await take(phone, ending)
        leg.on_dtmf(keys.put_nowait)
        await leg.start(Session(), "the agent")
        assert [await asyncio.wait_for(keys.get(), 5) for _ in range(2)] == ["4", "#"]
        await leg.aclose()


async def test_a_transfer_on_the_line_leaves_the_caller_to_the_new_partner(clock, ending):
    async with ringing(clock) as phone:
        leg = await take(phone, ending)
        await leg.start(Session(), "the agent")
        await leg.transfer("tel:+15550111")
        ending.decide(EndReason.TRANSFERRED)
        await leg.end(EndReason.TRANSFERRED)
        assert await asyncio.wait_for(phone.ended, 5) is Ended.TRANSFERRED
        assert phone.transferred_to == "tel:+15550111"
        await leg.aclose()
    assert ending.reason is EndReason.TRANSFERRED


async def test_a_transfer_that_the_line_refuses_leaves_the_call_going(clock, ending):
    async with ringing(clock, transfer=TransferResult(ok=False, code=486)) as phone:
        leg = await take(phone, ending)
        await leg.start(Session(), "the agent")
        with pytest.raises(TransferFailed, match="486"):
            await leg.transfer("tel:+15550111")
        assert not phone.ended.done()
        assert ending.reason is None
        await leg.aclose()


async def test_keys_of_the_agent_reach_the_phone_on_the_line(clock, ending):
    async with ringing(clock) as phone:
        leg = await take(phone, ending)
        await leg.start(Session(), "the agent")
        await leg.send_dtmf("4w#")
        await leg.end(EndReason.AGENT_HANGUP)
        await asyncio.wait_for(phone.ended, 5)
        assert phone.keys_heard == "4#"
        with pytest.raises(KeysNotSent, match="over"):
            await leg.send_dtmf("1")
        await leg.aclose()


@pytest.mark.parametrize("taken", [True, False])
async def test_a_colleague_on_the_line_takes_the_call_or_does_not(clock, ending, taken):
    answer = TransferResult(ok=taken, code=200 if taken else 603)
    async with ringing(clock, transfer=answer, transfer_after=0.05) as phone:
        leg = await take(phone, ending)
        await leg.start(Session(), "the agent")
        briefing = Briefing(Order("tel:+15550111", ringing=5), ("hello",), "well?", "en")
        if taken:
            await leg.consult(Session(), briefing)
            assert await asyncio.wait_for(phone.ended, 5) is Ended.TRANSFERRED
        else:
            with pytest.raises(TransferFailed, match="603"):
                await leg.consult(Session(), briefing)
            assert not phone.ended.done()
        assert phone.transferred_to == "tel:+15550111"
        await leg.aclose()


async def test_a_line_that_breaks_is_not_the_callers_hangup(tmp_path, ending):
    async def break_off(reader, writer):
        writer.write(wire.encode_json(wire.Kind.HELLO, HELLO))
        await reader.readexactly(3)
        writer.transport.abort()

    server = await asyncio.start_unix_server(break_off, tmp_path / "line")
    metadata = json.dumps({LINE_METADATA: str(tmp_path / "line")})
    leg = await legs.connect(Context(metadata, fake=True), ending)
    await leg.start(Session(), "the agent")
    assert await asyncio.wait_for(ending.wait(), 5) is EndReason.LIVEKIT_LOST
    await leg.aclose()
    server.close()
