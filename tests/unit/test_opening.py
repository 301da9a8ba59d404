"""The first words: the disclosure with how much of it was heard, then the greeting."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from livekit import rtc
from livekit.agents.voice.io import PlaybackFinishedEvent, PlaybackStartedEvent

from agent.opening import Opening


class Speech:
    """A speech that ends when the test says so."""

    def __init__(self):
        self.interrupted = False
        self._over = asyncio.Event()

    async def wait_for_playout(self):
        await self._over.wait()

    def end(self, *, interrupted=False):
        self.interrupted = interrupted
        self._over.set()


class Scene:
    """A session's output, a persona's phrases and a record, as far as an opening needs them."""

    seconds = 0.314

    def __init__(self, *phrases):
        self.phrases, self.said, self.notes = phrases, [], []
        self.greeted, self.noted = asyncio.Event(), asyncio.Event()
        self.audio = rtc.EventEmitter()
        self.speech = Speech()
        session = SimpleNamespace(output=SimpleNamespace(audio=self.audio))
        self.opening = Opening(session, self, self)

    def __contains__(self, name):
        return name in self.phrases

    def say(self, _session, name):
        self.said.append(name)
        if name == "greeting":
            self.greeted.set()
        return self.speech

    def note(self, name, **detail):
        self.notes.append((name, detail))
        self.noted.set()

    def played(self, seconds, *, interrupted=False):
        finished = PlaybackFinishedEvent(playback_position=seconds, interrupted=interrupted)
        self.audio.emit("playback_finished", finished)

    def is_heard(self):
        self.audio.emit("playback_started", PlaybackStartedEvent(created_at=0.0))


async def soon(event):
    await asyncio.wait_for(event.wait(), 5)


async def test_without_a_disclosure_the_greeting_is_said_at_once():
    scene = Scene("greeting")
    scene.opening.begin()
    assert scene.said == ["greeting"]
    await scene.opening.aclose()
    assert scene.notes == []


async def test_the_greeting_follows_a_disclosure_that_was_heard_to_its_end():
    scene = Scene("greeting", "disclosure")
    scene.opening.begin()
    assert scene.said == ["disclosure"]
    scene.played(3.214)
    scene.speech.end()
    await soon(scene.greeted)
    scene.played(2.0)  # the greeting is not the disclosure
    await scene.opening.aclose()
    assert scene.said == ["disclosure", "greeting"]
    assert scene.notes == [("disclosure_heard", {"seconds": 3.21, "complete": True})]


async def test_a_caller_who_speaks_into_the_disclosure_is_not_greeted():
    scene = Scene("greeting", "disclosure")
    scene.opening.begin()
    scene.played(1.5, interrupted=True)
    scene.speech.end(interrupted=True)
    await soon(scene.noted)
    await scene.opening.aclose()
    assert scene.said == ["disclosure"]
    assert scene.notes == [("disclosure_heard", {"seconds": 1.5, "complete": False})]


@pytest.mark.parametrize("heard", [0.0, 0.7])
async def test_a_call_that_ends_in_the_disclosure_says_what_was_heard(heard):
    scene = Scene("greeting", "disclosure")
    scene.opening.begin()
    if heard:
        scene.played(heard, interrupted=True)
    await scene.opening.aclose()
    assert scene.said == ["disclosure"]
    assert scene.notes == [("disclosure_heard", {"seconds": heard, "complete": False})]


@pytest.mark.parametrize("phrases", [["greeting"], ["greeting", "disclosure"]])
async def test_the_record_says_once_when_the_caller_first_heard_us(phrases):
    scene = Scene(*phrases)
    scene.opening.begin()
    assert scene.notes == []
    scene.is_heard()
    scene.is_heard()
    assert scene.notes == [("greeted", {"after": 0.31})]
    await scene.opening.aclose()
