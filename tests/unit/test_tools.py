"""Leaving a call by a tool: once, and again after it did not come about."""

from __future__ import annotations

import asyncio

import pytest
from livekit.agents.llm import ChatMessage

from agent.call import EndReason
from agent.tools import Tools
from config.fields import ROOT
from config.persona import load_personas

EN = load_personas(ROOT / "config" / "personas")["en"]


class World:
    """Phrases, supervisor, hand-over and the language model's speech in one."""

    interrupted = False
    chat_items = (ChatMessage(role="assistant", content=["Goodbye."]),)

    def __init__(self):
        self.session, self.speech_handle, self.done = None, self, []
        self.outcomes = []
        """Of each hand-over or farewell: an error, or whether the call is left."""

    async def wait_for_playout(self):
        pass

    async def run(self, session):
        return self._come_about("handed over")

    async def end_after(self, speech, reason):
        assert reason is EndReason.AGENT_HANGUP
        return self._come_about("said goodbye")

    def _come_about(self, what):
        self.done.append(what)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def world():
    return World()


@pytest.fixture
def use(world):
    """Uses a tool, and waits until what it began is over."""
    tools = Tools(EN, world, world, world, world, world, world)

    async def use(name):
        await getattr(tools, f"_{name}")(world)
        for task in list(tools._tasks):
            await asyncio.wait([task])

    return use


LEAVING = [("end_call", "said goodbye"), ("transfer_call", "handed over")]


@pytest.mark.parametrize(("tool", "done"), LEAVING)
async def test_a_call_is_left_once(world, use, tool, done):
    world.outcomes = [True]
    await use(tool)
    await use("end_call")
    await use("transfer_call")
    assert world.done == [done]


@pytest.mark.parametrize(("tool", "done"), LEAVING)
@pytest.mark.parametrize("outcome", [False, RuntimeError("unexpected")], ids=["not", "error"])
async def test_what_did_not_come_about_can_be_asked_for_again(world, use, tool, done, outcome):
    world.outcomes = [outcome, True]
    await use(tool)
    await use(tool)
    assert world.done == [done, done]


async def test_a_farewell_that_cannot_be_said_does_not_keep_the_caller(world, use):
    def unsayable(*_, **__):
        raise RuntimeError

    world.chat_items, world.say, world.outcomes = (), unsayable, [True]
    await use("end_call")
    world.say = lambda *_, **__: world
    await use("end_call")
    assert world.done == ["said goodbye"]
