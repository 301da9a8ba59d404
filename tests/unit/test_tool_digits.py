"""A number that is typed, as the language model's tool waits for it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from livekit.agents import ToolError
from livekit.agents.voice import SpeechHandle

from agent.keypad import Keypad
from agent.tools import Tools
from config.fields import ROOT
from config.persona import load_personas

EN = load_personas(ROOT / "config" / "personas")["en"]


class Scene:
    """One call: its keypad, its supervisor and its record."""

    def __init__(self):
        self.is_held, self.collected = asyncio.Event(), []
        self.keypad = Keypad(self, lambda keys: None)
        persona = EN.model_copy(update={"tools": ["collect_digits"]})
        tools = Tools(persona, None, None, self, self, self.keypad, None)
        (self.collect_digits,) = tools.offered()
        self.speech = SpeechHandle.create()

    def collect(self, **arguments):
        async def played():
            pass

        context = SimpleNamespace(speech_handle=self.speech, wait_for_playout=played)
        return asyncio.create_task(self.collect_digits(context, **arguments))

    def keys_collected(self, keys, *, is_complete):
        self.collected.append((keys, is_complete))

    @contextmanager
    def patience(self, speech):
        assert speech is self.speech
        self.is_held.set()
        try:
            yield
        finally:
            self.is_held.clear()


@pytest.fixture
async def scene():
    scene = Scene()
    yield scene
    await scene.keypad.aclose()


async def test_the_model_is_told_what_was_typed(scene):
    asking = scene.collect(count=2)
    await scene.is_held.wait()
    await asyncio.sleep(0)
    for key in "47":
        scene.keypad.pressed(key)
    assert await asyncio.wait_for(asking, 5) == "4 7"


async def test_a_caller_who_speaks_instead_is_waited_for_no_longer(scene):
    asking = scene.collect(count=4)
    await scene.is_held.wait()
    await asyncio.sleep(0)
    scene.keypad.pressed("4")
    scene.speech.interrupt()
    with pytest.raises(ToolError):
        await asyncio.wait_for(asking, 5)
    assert not scene.is_held.is_set()
    assert scene.collected == [("4", False)]
