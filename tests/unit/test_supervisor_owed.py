"""Whose time is counted as silence: what holds, stalls and standing still do to the watch."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from livekit.agents import AgentStateChangedEvent

from agent import supervisor as module
from agent.call import EndReason
from plugins import chain
from tests.unit.watched import Scene


@pytest.fixture
async def scene(monkeypatch):
    scene = Scene(monkeypatch)
    scene.starts()
    yield scene
    await scene.supervisor.aclose()


async def test_time_in_which_the_machine_stood_still_is_not_owed(scene):
    scene.asks(2.0)
    scene.now = 20.0
    for _ in range(5):
        await asyncio.sleep(0)
    assert scene.given_up.empty()
    assert "said_filler" not in scene.notes
    await scene.goes_on_until(25.2)
    assert await asyncio.wait_for(scene.given_up.get(), 5) == "silence"


async def test_the_silence_of_a_turn_is_told_once(scene):
    scene.asks(2.0)
    await scene.goes_on_until(3.0)
    scene.mouth.sounded()
    scene.mouth.heard(True)
    assert scene.owed == [pytest.approx(1.0 + module.SILENCE_HEARD)]
    scene.mouth.heard(False)
    scene.mouth.sounded()
    await scene.supervisor.aclose()
    assert len(scene.owed) == 1


async def test_a_caller_who_hangs_up_in_a_silence_was_owed_it(scene):
    scene.asks(2.0)
    await scene.goes_on_until(3.5)
    scene.ending.decide(EndReason.CALLER_HANGUP)
    await scene.goes_on_until(4.0)
    assert scene.owed == [pytest.approx(1.5 + module.SILENCE_HEARD, abs=0.3)]
    await scene.goes_on_until(6.0)
    await scene.supervisor.aclose()
    assert len(scene.owed) == 1


class Mind(chain.LLM):
    """A chain of models, as the supervisor knows it."""

    def __init__(self, written_at):
        self.written_at = written_at


async def test_an_answer_that_is_being_written_is_not_held_up_by_a_filler(scene):
    scene.asks(2.0)
    scene.session.llm = Mind(written_at=3.5)
    await scene.goes_on_until(3.9)
    assert scene.said.empty()
    await scene.goes_on_until(4.2)
    assert await scene.next() == "filler"


async def test_the_callers_silence_counts_from_the_end_of_what_was_heard(scene):
    scene.session.emit(
        "agent_state_changed", AgentStateChangedEvent(old_state="speaking", new_state="listening")
    )
    scene.mouth.is_playing = True
    await scene.goes_on_until(12.0)
    scene.mouth.is_playing = False
    await scene.goes_on_until(19.5)
    assert scene.said.empty()
    await scene.goes_on_until(20.5)
    assert await scene.next() == ("still_there", True)


async def test_an_answer_that_stops_in_the_middle_ends_in_an_apology(scene):
    scene.asks(2.0)
    scene.mouth.heard(True)
    await scene.goes_on_until(5.0)
    scene.mouth.is_stalled = True
    scene.mouth.heard(False)
    await scene.goes_on_until(9.25)
    assert scene.given_up.empty()
    await scene.goes_on_until(9.75)
    assert await asyncio.wait_for(scene.given_up.get(), 5) == "silence"


def speech(*, interrupted=False):
    return SimpleNamespace(interrupted=interrupted)


async def test_the_reply_to_a_tool_that_held_is_owed(scene):
    scene.asks(2.0)
    with scene.supervisor.patience(speech()):
        await scene.goes_on_until(12.0)
    await scene.goes_on_until(13.9)
    assert await scene.next() == "filler"
    await scene.goes_on_until(17.6)
    assert await asyncio.wait_for(scene.given_up.get(), 5) == "silence"


async def test_a_tool_that_was_interrupted_owes_nothing(scene):
    with scene.supervisor.patience(speech(interrupted=True)):
        await scene.goes_on_until(5.0)
    await scene.goes_on_until(12.0)
    assert scene.said.empty()
    assert scene.given_up.empty()


async def test_a_model_that_adds_nothing_to_its_tool_owes_nothing(scene):
    with scene.supervisor.patience(speech()):
        await scene.goes_on_until(2.0)
    scene.session.emit(
        "agent_state_changed", AgentStateChangedEvent(old_state="thinking", new_state="listening")
    )
    await scene.goes_on_until(9.5)
    assert scene.said.empty()
    assert scene.given_up.empty()


async def test_a_hold_within_a_hold_does_not_end_it(scene):
    with scene.supervisor.patience():
        with scene.supervisor.patience(speech()):
            scene.asks(2.0)
        await scene.goes_on_until(30.0)
        assert scene.said.empty()
        assert scene.given_up.empty()
    await scene.goes_on_until(31.9)
    assert await scene.next() == "filler"


async def test_a_session_that_cannot_be_interrupted_is_left_all_the_same(scene, monkeypatch):
    monkeypatch.setattr(module, "INTERRUPT_LIMIT", 0.01)
    monkeypatch.setattr(module, "FAREWELL_LIMIT", 0.05)
    stuck = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(scene.session, "interrupt", lambda *, force: stuck)
    goodbye = scene.supervisor.say_goodbye("silence_farewell", EndReason.SILENCE)
    await asyncio.wait_for(goodbye, 5)
    assert scene.ending.reason is EndReason.SILENCE
    assert not stuck.cancelled()


async def test_a_session_that_has_closed_is_left_without_a_farewell(scene, monkeypatch):
    def closed(*, force):
        raise RuntimeError("AgentSession isn't running")

    monkeypatch.setattr(scene.session, "interrupt", closed)
    await scene.supervisor.say_goodbye("silence_farewell", EndReason.SILENCE)
    assert scene.ending.reason is EndReason.SILENCE
