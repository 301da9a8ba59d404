"""The chains of language models and voices against stand-ins that fail: the reply is finished."""

from __future__ import annotations

import asyncio
import time

import pytest
from livekit.agents import APIConnectionError

from plugins.chain.sentences import split
from tests.providers import Fault, Kind, Pace, Providers
from tests.providers.clients import Clients, ask, calls, reply, seconds, text
from tests.providers.ears import personas

pytestmark = pytest.mark.clocked

QUESTION = "how much is a tune up"
ANSWER = "A full tune up costs sixty dollars."
ONE = "We fix a flat tire for fifteen dollars."
TWO = "The new tube is included in that price."
FAST = {"first_word": 0.4, "behind": 0.4, "first_audio": 0.4, "audio_gap": 0.3}
CUT_OFF = personas()["en"].phrases.cut_off


@pytest.fixture
async def servers():
    async with Providers() as servers:
        yield servers


@pytest.fixture
async def clients(servers):
    async with Clients(servers) as clients:
        yield clients


def minds(clients, names="openai,groq"):
    return clients.chain("llm", names, **FAST)


def voices(clients, names="cartesia,openai", persona="en"):
    return clients.chain("tts", names, persona, **FAST)


FAILURES = [
    Fault(kind=Kind.STATUS, status=500, times=0),
    Fault(kind=Kind.STATUS, status=429, times=0),
    Fault(kind=Kind.EXPIRED, times=0),
    Fault(kind=Kind.HANG, times=0),
    Fault(kind=Kind.SHUT, times=0),
    Fault(kind=Kind.EMPTY, times=0),
    Fault(kind=Kind.TRICKLE, every=0.3, times=0),
    Fault(kind=Kind.DROP, after=3, times=0),
    Fault(kind=Kind.STALL, after=3, times=0),
    Fault(kind=Kind.MALFORMED, after=3, times=0),
]


@pytest.mark.parametrize("fault", FAILURES, ids=lambda fault: f"{fault.kind}-{fault.status}")
async def test_the_next_model_answers_and_nothing_is_said_twice(servers, clients, fault):
    servers.openai.faults.add(fault)
    chain = minds(clients)
    answer = await asyncio.wait_for(ask(chain, QUESTION), 5)
    assert (text(answer), answer.error) == (ANSWER, None)
    assert chain.serving["llm"] == "groq"
    assert not clients.standing.is_up("llm", "openai")


async def test_a_model_that_is_known_to_be_down_is_not_waited_for(servers, clients):
    clients.standing.failed("llm", "openai", APIConnectionError())
    assert text(await ask(minds(clients), QUESTION)) == ANSWER
    assert servers.openai.asked == []


async def test_the_only_model_is_asked_again(servers, clients):
    servers.openai.faults.add(Fault(kind=Kind.STATUS, status=500))
    assert text(await ask(minds(clients, "openai"), QUESTION)) == ANSWER
    assert clients.standing.is_up("llm", "openai")


async def test_whole_sentences_that_were_said_stay_and_the_rest_follows(servers, clients):
    servers.openai.faults.add(Fault(kind=Kind.DROP, after=26))
    whole = text(await ask(minds(clients, "groq"), "what services do you offer"))
    answer = text(await ask(minds(clients), "what services do you offer"))
    assert answer == whole
    told = servers.groq.asked[-1].what["messages"]
    assert [message["role"] for message in told[-2:]] == ["assistant", "system"]
    assert whole.startswith(told[-2]["content"])


async def test_an_answer_that_nobody_can_finish_is_closed(servers, clients):
    servers.openai.faults.add(Fault(kind=Kind.DROP, after=26, times=0))
    servers.groq.faults.add(Fault(kind=Kind.STATUS, status=500, times=0))
    answer = await ask(minds(clients), "what services do you offer")
    assert answer.error is None
    said, closing = split(text(answer))[0], CUT_OFF
    assert text(answer).split() == [*said.split(), *closing.split()]


async def test_nobody_answers(servers, clients):
    for server in (servers.openai, servers.groq):
        server.faults.add(Fault(kind=Kind.STATUS, status=500, times=0))
    answer = await ask(minds(clients), QUESTION)
    assert isinstance(answer.error, APIConnectionError)
    assert not answer.error.retryable


async def test_a_tool_call_is_passed_on_with_its_words(clients):
    answer = await ask(minds(clients), "goodbye", offered=["end_call"])
    assert "Goodbye" in text(answer)
    assert [name for name, _ in calls(answer)] == ["end_call"]


async def test_the_first_word_is_timed_though_sentences_are_passed_on(servers, clients):
    servers.openai.pace = Pace(first=0.1, each=0.05)
    chain = minds(clients, "openai")
    began = time.monotonic()
    assert text(await ask(chain, QUESTION)) == ANSWER
    assert time.monotonic() - began > 0.3
    assert chain.first_word == pytest.approx(0.1, abs=0.09)
    assert time.monotonic() - chain.written_at < 1.0


VOICE_FAILURES = [
    Fault(kind=Kind.STATUS, status=500, times=0),
    Fault(kind=Kind.EXPIRED, times=0),
    Fault(kind=Kind.HANG, times=0),
    Fault(kind=Kind.STALL, times=0),
    Fault(kind=Kind.ERROR, times=0),
    Fault(kind=Kind.EMPTY, times=0),
]


async def length(clients, *sentences, names="cartesia", persona="en"):
    return seconds(await reply(voices(clients, names, persona), *sentences))


@pytest.mark.parametrize("fault", VOICE_FAILURES, ids=lambda fault: fault.kind)
async def test_the_next_voice_speaks(servers, clients, fault):
    whole = await length(clients, ONE, TWO, names="openai")
    servers.cartesia.faults.add(fault)
    chain = voices(clients)
    sound = await asyncio.wait_for(reply(chain, ONE, TWO), 5)
    assert sound.error is None
    assert seconds(sound) == pytest.approx(whole, abs=0.3)
    assert chain.serving["tts"] == "openai"
    assert not clients.standing.is_up("tts", "cartesia")


@pytest.mark.parametrize("persona", ["en", "ru"])
@pytest.mark.parametrize("kind", [Kind.DROP, Kind.STALL])
async def test_a_reply_that_breaks_off_goes_on_with_the_sentence(servers, clients, kind, persona):
    first, second = (
        (ONE, TWO)
        if persona == "en"
        else ("Мы открыты с девяти до шести в будни.", "В субботу мы работаем до четырёх часов.")
    )
    one = await length(clients, first, persona=persona)
    two = await length(clients, second, persona=persona)
    servers.cartesia.faults.add(Fault(kind=kind, after=one + 0.6))
    sound = await asyncio.wait_for(reply(voices(clients, persona=persona), first, second), 12)
    assert sound.error is None
    assert seconds(sound) == pytest.approx(one + 0.6 + two, abs=0.5)


async def test_a_dead_connection_of_the_pool_is_replaced_without_blame(servers, clients):
    chain = voices(clients)
    assert (await reply(chain, ONE)).error is None
    servers.cartesia.faults.add(Fault(kind=Kind.SHUT, on="voice"))
    assert (await reply(chain, ONE)).error is None
    assert chain.serving["tts"] == "cartesia"
    assert clients.standing.is_up("tts", "cartesia")


async def test_no_voice_is_left(servers, clients):
    servers.cartesia.faults.add(Fault(kind=Kind.EXPIRED, times=0))
    servers.openai.faults.add(Fault(kind=Kind.STATUS, status=500, times=0))
    sound = await reply(voices(clients), ONE)
    assert isinstance(sound.error, APIConnectionError)
    assert seconds(sound) == 0
    assert len([a for a in servers.cartesia.asked if a.operation == "connect"]) == 1


async def test_a_key_that_was_refused_is_not_tried_again(servers, clients):
    servers.cartesia.faults.add(Fault(kind=Kind.EXPIRED))
    chain = voices(clients)
    for _ in range(2):
        assert (await reply(chain, ONE)).error is None
    assert len([a for a in servers.cartesia.asked if a.operation == "connect"]) == 1


async def test_a_mind_that_pauses_between_sentences_is_no_fault_of_the_voice(clients):
    chain = voices(clients)
    async with chain.stream() as stream:
        stream.push_text(f"{ONE} ")
        await asyncio.sleep(FAST["first_audio"] + FAST["audio_gap"] + 0.3)
        stream.push_text(TWO)
        stream.end_input()
        heard = sum([audio.frame.duration async for audio in stream])
    assert heard == pytest.approx(await length(clients, ONE, TWO), abs=0.3)
    assert clients.standing.is_up("tts", "cartesia")
