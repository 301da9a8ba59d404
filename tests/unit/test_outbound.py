"""The first words of a call: ours or after theirs."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from livekit.agents.voice.amd import AMDCategory

from agent import outbound
from agent.call import EndReason
from agent.dialing import Order
from agent.outbound import Placed, open_call


class World:
    """Session, phrases, supervisor and record in one: what was done, in order."""

    def __init__(self, *phrases):
        self.done, self.phrases, self.has_ended, self.held = [], phrases, False, False

    def begin(self):
        self.done.append("opening")

    def __contains__(self, name):
        return name in self.phrases

    @contextmanager
    def patience(self):
        self.held = True
        yield
        self.held = False

    async def say_goodbye(self, phrase, reason, detail):
        assert self.held
        self.done.append(("goodbye", phrase, reason, detail))

    def end(self, reason, detail):
        self.done.append(("end", reason, detail))

    def note(self, name, **detail):
        self.done.append((name, *detail.values()))

    async def interrupt(self, *, force):
        self.done.append("interrupt")

    def clear_user_turn(self):
        self.done.append("clear")


@pytest.fixture
def answered(monkeypatch):
    """Says who answers; every test must name one."""

    def by(who, world):
        async def listen(session, identity):
            assert world.held
            assert identity == "callee"
            return who

        monkeypatch.setattr(outbound, "who_answered", listen)
        monkeypatch.setattr(outbound, "BEFORE_MESSAGE", 0.0)

    return by


async def opening(world, call=Placed(Order("+15550111"))):  # noqa: B008 - frozen
    await open_call(call, world, world, world, world, world)
    return world.done


async def test_a_caller_is_greeted_at_once():
    assert await opening(World(), None) == ["opening"]


async def test_a_person_hears_who_calls_and_no_answer_to_the_hello(answered):
    world = World()
    answered(AMDCategory.HUMAN, world)
    assert await opening(world) == [
        ("answered_by", "human"),
        "interrupt",
        "clear",
        "opening",
    ]


async def test_who_cannot_be_told_is_taken_for_a_person(answered):
    world = World("voicemail")
    answered(AMDCategory.UNCERTAIN, world)
    assert (await opening(world))[-1] == "opening"


async def test_without_detection_nobody_listens_first():
    call = Placed(Order("+15550111"), listen_first=False)
    assert "opening" in await opening(World(), call)


async def test_a_machine_is_left_the_message(answered):
    world = World("voicemail")
    answered(AMDCategory.MACHINE_VM, world)
    goodbye = ("goodbye", "voicemail", EndReason.VOICEMAIL, "message left")
    assert await opening(world) == [("answered_by", "machine-vm"), goodbye]


@pytest.mark.parametrize(
    ("who", "phrases"),
    [
        (AMDCategory.MACHINE_VM, ()),
        (AMDCategory.MACHINE_UNAVAILABLE, ("voicemail",)),
        (AMDCategory.MACHINE_IVR, ("voicemail",)),
    ],
)
async def test_a_machine_that_takes_no_message_hears_nothing(answered, who, phrases):
    world = World(*phrases)
    answered(who, world)
    assert (await opening(world))[-1] == ("end", EndReason.VOICEMAIL, who.value)


async def test_whoever_hung_up_meanwhile_hears_nothing(answered):
    world = World("voicemail")
    world.has_ended = True
    answered(AMDCategory.MACHINE_VM, world)
    assert await opening(world) == []
