"""Nobody can answer: what the caller hears, and how the call ends."""

from __future__ import annotations

import asyncio

import pytest

from agent.call import EndReason
from agent.ending import Ending
from agent.errors import TransferFailed
from agent.phrases import Sound
from agent.rescue import Rescue
from config.persona import load_personas
from config.settings import ROOT

EN = load_personas(ROOT / "config" / "personas")["en"]
ALONE = EN.model_copy(update={"tools": ()})
SOUNDS = {
    name: Sound(bytes([n]) * 320, 8000)
    for n, name in enumerate(("filler", "apology", "transferring", "farewell"))
}


class Scene:
    """The mouth, the leg, the phrases and the record at once."""

    sample_rate = 8000
    is_free = True

    def __init__(self):
        self.events, self.sounds, self.refuses = [], dict(SOUNDS), False
        self.ending = Ending()

    def rescue(self, persona=EN):
        return Rescue(persona, self, self, self.ending, self)

    def find(self, name):
        return self.sounds.get(name)

    async def take_over(self):
        self.events.append("take over")

    async def interject(self, sound):
        self.events.append(next(n for n, s in SOUNDS.items() if s == sound))
        return True

    async def transfer(self, to):
        self.events.append(to)
        if self.refuses:
            raise TransferFailed("nobody")

    def note(self, name, **_detail):
        pass


@pytest.fixture
def scene():
    return Scene()


async def given_up(scene, persona=EN, *, is_prepared=True):
    rescue = scene.rescue(persona)
    if is_prepared:
        await rescue.prepare(scene)
    await rescue.give_up(scene, "tts")
    return scene.events


async def test_the_caller_is_handed_over_after_an_apology(scene):
    expected = ["take over", "apology", "transferring", EN.transfer.to]
    assert await given_up(scene) == expected
    assert scene.ending.reason is EndReason.PROVIDER_FAILURE
    assert scene.ending.detail == "tts, transferred"


async def test_without_anybody_to_hand_over_to_it_is_goodbye(scene):
    assert await given_up(scene, ALONE) == ["take over", "apology", "farewell"]
    assert scene.ending.reason is EndReason.PROVIDER_FAILURE
    assert scene.ending.detail == "tts"


async def test_a_failure_in_the_first_seconds_is_apologised_for_too(scene):
    assert await given_up(scene, ALONE, is_prepared=False) == ["take over", "apology", "farewell"]


async def test_a_refused_transfer_ends_in_goodbye(scene):
    scene.refuses = True
    assert (await given_up(scene))[-2:] == [EN.transfer.to, "farewell"]
    assert scene.ending.detail == "tts"


async def test_what_was_never_synthesised_is_left_out(scene, caplog):
    scene.sounds = {}
    assert await given_up(scene, ALONE) == ["take over"]
    assert scene.ending.reason is EndReason.PROVIDER_FAILURE
    assert "a phrase is not in the cache" in caplog.messages


async def test_a_session_that_does_not_fall_silent_is_not_waited_for(scene, monkeypatch):
    async def hang():
        await asyncio.Event().wait()

    monkeypatch.setattr(scene, "take_over", hang)
    monkeypatch.setattr("agent.rescue.TAKE_OVER", 0.01)
    assert await given_up(scene, ALONE) == ["apology", "farewell"]


async def test_a_filler_does_not_collide_with_a_reply(scene):
    rescue = scene.rescue()
    await rescue.prepare(scene)
    scene.is_free = False
    await rescue.fill(scene)
    assert scene.events == []
    scene.is_free = True
    await rescue.fill(scene)
    assert scene.events == ["filler"]
