"""Handing over: what is asked of the leg, what the caller is told, what a colleague hears."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import pytest
from livekit.agents import APIConnectionError, llm

from agent import handover as handovers
from agent.call import EndReason
from agent.dialing import COLLEAGUE
from agent.errors import TransferFailed
from agent.handover import Handover, summary
from config.fields import ROOT
from config.persona import Transfer, load_personas
from config.sections import Outbound

EN = load_personas(ROOT / "config" / "personas")["en"]


class Mind(llm.LLM):
    """Says one thing, or fails, or hangs."""

    def __init__(self, says="", error=None, *, hangs=False):
        super().__init__()
        self.says, self.error, self.hangs, self.asked = says, error, hangs, ""

    @asynccontextmanager
    async def chat(self, *, chat_ctx, **_):
        self.asked = chat_ctx.messages()[0].text_content
        yield self

    async def collect(self):
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return SimpleNamespace(text=f" {self.says} ")


def talking(mind):
    history = llm.ChatContext.empty()
    for role, text in (
        ("assistant", "Hello."),
        ("user", "is my bike ready"),
        ("assistant", "I do not know."),
        ("user", "i want a human"),
    ):
        history.add_message(role=role, content=text)
    return SimpleNamespace(history=history, llm=mind)


async def test_a_colleague_hears_the_models_summary():
    mind = Mind("The caller asks for a bike.")
    assert await summary(talking(mind), EN, "unknown") == "The caller asks for a bike."
    assert "English" in mind.asked
    assert "user: is my bike ready" in mind.asked


@pytest.mark.parametrize(
    "mind",
    [Mind(""), Mind("unknown"), Mind(error=APIConnectionError()), Mind(hangs=True), None],
    ids=["says nothing", "does not know", "fails", "hangs", "is none"],
)
async def test_without_a_summary_a_colleague_hears_the_callers_words(mind, monkeypatch):
    monkeypatch.setattr(handovers, "SUMMARY_WITHIN", 0.05)
    told = await summary(talking(mind), EN, "unknown")
    assert told == "is my bike ready. i want a human"


class World:
    """Leg, supervisor, record and phrases in one: what was asked of them."""

    def __init__(self, error=None):
        self.done, self.error, self.held = [], error, False

    async def transfer(self, to):
        assert self.held
        self.done.append(("refer", to))
        if self.error:
            raise self.error

    async def consult(self, session, briefing):
        assert self.held
        self.done.append(("consult", briefing))
        if self.error:
            raise self.error

    @contextmanager
    def patience(self):
        self.held = True
        yield
        self.held = False

    def end(self, reason, detail):
        self.done.append((reason, detail))

    def note(self, name, **detail):
        self.done.append((name, detail))

    def say(self, session, name):
        self.done.append(("say", name))

    def __getitem__(self, name):
        return f"<{name}>"


def handing_over(world, mode):
    transfer = Transfer(to="tel:+15550111", mode=mode, ringing=9, longest=1200)
    persona = EN.model_copy(update={"transfer": transfer})
    return Handover(persona, world, world, world, world, Outbound(trunk="main"))


@pytest.fixture
def quiet(monkeypatch):
    """No hold audio: there is no session to play it."""

    @asynccontextmanager
    async def playing(session, held):
        yield

    monkeypatch.setattr(handovers.hold, "playing", playing)


async def test_cold_is_a_refer():
    world = World()
    assert await handing_over(world, "cold").run(talking(None))
    assert world.done == [
        ("transfer_requested", {"mode": "cold"}),
        ("refer", "tel:+15550111"),
        (EndReason.TRANSFERRED, "cold"),
    ]


async def test_warm_asks_a_colleague_first(quiet):
    world = World()
    assert await handing_over(world, "warm").run(talking(Mind("A bike.")))
    _, (_, briefing), end = world.done
    assert briefing.words == ("<briefing>", "A bike.")
    assert briefing.question == "<briefing_question>"
    order = briefing.order
    assert (order.to, order.trunk, order.identity, order.ringing) == (
        *("tel:+15550111", "main", COLLEAGUE, 9),
    )
    assert end == (EndReason.TRANSFERRED, "warm")


@pytest.mark.parametrize("mode", ["cold", "warm"])
async def test_a_transfer_that_fails_is_told_and_the_call_goes_on(quiet, mode):
    world = World(TransferFailed("the colleague declined"))
    assert not await handing_over(world, mode).run(talking(Mind("A bike.")))
    assert world.done[-2:] == [
        ("transfer_failed", {"error": "the colleague declined"}),
        ("say", "transfer_failed"),
    ]


@pytest.mark.parametrize("mode", ["cold", "warm"])
async def test_an_error_that_nobody_expected_is_a_failed_transfer(quiet, mode, caplog):
    world = World(RuntimeError("the room is gone"))
    assert not await handing_over(world, mode).run(talking(Mind("A bike.")))
    assert world.done[-2:] == [
        ("transfer_failed", {"error": "RuntimeError"}),
        ("say", "transfer_failed"),
    ]
    assert "the transfer failed" in caplog.messages


async def test_a_colleague_may_talk_as_long_as_the_persona_says(quiet):
    world = World()
    await handing_over(world, "warm").run(talking(Mind("A bike.")))
    assert world.done[1][1].order.longest == 1200
