"""Every fault that a stand-in can be told to have is what the real plugin sees."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest
from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIError,
    APIStatusError,
    APITimeoutError,
)
from livekit.agents.stt import SpeechEventType

from tests.programs import eventually
from tests.providers import KEY, Fault, Kind, Providers
from tests.providers.clients import (
    CALM,
    Clients,
    Outcome,
    ask,
    finals,
    frames,
    hear,
    phrase,
    reply,
    seconds,
    text,
    until,
)

pytestmark = pytest.mark.clocked

PATIENCE = 0.5
"""Seconds that a plugin waits where a stand-in hangs."""
ONCE = APIConnectOptions(max_retry=0, timeout=PATIENCE)
TWICE = APIConnectOptions(max_retry=1, retry_interval=0.1, timeout=PATIENCE)
QUESTION = "how much is a tune up"
ANSWER = "A full tune up costs sixty dollars."
REPLY = "We fix a flat tire for fifteen dollars."


@pytest.fixture
async def servers():
    async with Providers() as servers:
        yield servers


@pytest.fixture
async def clients(servers):
    async with Clients(servers) as clients:
        yield clients


REFUSALS = [
    (Fault(kind=Kind.STATUS, status=500), APIStatusError, 500),
    (Fault(kind=Kind.STATUS, status=429), APIStatusError, 429),
    (Fault(kind=Kind.EXPIRED), APIStatusError, 401),
    (Fault(kind=Kind.HANG), APITimeoutError, None),
    (Fault(kind=Kind.SHUT, times=0), APIConnectionError, None),
]
named = pytest.mark.parametrize(
    ("fault", "kind", "status"), REFUSALS, ids=[f"{f.kind}-{s}" for f, _, s in REFUSALS]
)


def check(outcome, kind, status):
    assert isinstance(outcome.error, kind)
    assert outcome.got == []
    assert getattr(outcome.error, "status_code", None) == status


@named
async def test_a_language_model_refuses(servers, clients, fault, kind, status):
    servers.openai.faults.add(fault)
    mind = clients.of("llm", "openai")
    check(await ask(mind, QUESTION, options=ONCE), kind, status)
    servers.openai.faults.clear()
    assert text(await ask(mind, QUESTION)) == ANSWER


@named
async def test_a_voice_refuses(servers, clients, fault, kind, status):
    servers.cartesia.faults.add(fault)
    voice = clients.of("tts", "cartesia")
    check(await reply(voice, REPLY, options=ONCE), kind, status)
    servers.cartesia.faults.clear()
    assert (await reply(voice, REPLY)).error is None


@pytest.mark.parametrize(
    ("fault", "kind", "status"), [row for row in REFUSALS if row[0].kind is not Kind.HANG]
)
async def test_a_voice_refuses_a_phrase(servers, clients, fault, kind, status):
    # No row for a hang: the plugins wait 30 s for a phrase, whatever the options say.
    for name in ("openai", "cartesia"):
        getattr(servers, name).faults.add(fault)
        check(await phrase(clients.of("tts", name), REPLY, ONCE), kind, status)


@named
async def test_a_recogniser_refuses(servers, clients, fault, kind, status):
    servers.deepgram.faults.add(fault)
    expected = APIConnectionError if fault.kind is Kind.HANG else kind
    check(await hear(clients.of("stt", "deepgram"), [], ONCE), expected, status)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Kind.STALL, APITimeoutError),
        (Kind.HALF_OPEN, APITimeoutError),
        (Kind.DROP, APIConnectionError),
        (Kind.MALFORMED, APIConnectionError),
        (Kind.ERROR, APIConnectionError),
    ],
)
async def test_an_answer_breaks_off_in_the_middle(servers, clients, fault, kind):
    servers.openai.faults.add(Fault(kind=fault, after=3))
    answer = await ask(clients.of("llm", "openai"), QUESTION, options=ONCE)
    assert text(answer) == "A full tune"
    assert isinstance(answer.error, kind)


async def test_an_answer_trickles_below_every_timeout(servers, clients):
    servers.openai.faults.add(Fault(kind=Kind.TRICKLE, every=0.2))
    began = time.monotonic()
    answer = await ask(clients.of("llm", "openai"), QUESTION, options=ONCE)
    assert (text(answer), answer.error) == (ANSWER, None)
    assert time.monotonic() - began > 0.2 * len(ANSWER.split())


async def test_an_answer_is_empty(servers, clients):
    servers.openai.faults.add(Fault(kind=Kind.EMPTY))
    answer = await ask(clients.of("llm", "openai"), QUESTION)
    assert (text(answer), answer.error) == ("", None)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Kind.STALL, APITimeoutError),
        (Kind.HALF_OPEN, APITimeoutError),
        (Kind.DROP, APIError),
        (Kind.MALFORMED, APIConnectionError),
    ],
)
async def test_a_reply_breaks_off_in_the_middle(servers, clients, fault, kind):
    servers.cartesia.faults.add(Fault(kind=fault, after=1.0))
    sound = await reply(clients.of("tts", "cartesia"), REPLY, options=ONCE)
    assert 0.5 < seconds(sound) < 1.2
    assert isinstance(sound.error, kind)


@pytest.mark.parametrize("fault", [Kind.EMPTY, Kind.ERROR])
async def test_a_reply_without_audio_is_a_failure(servers, clients, fault):
    servers.cartesia.faults.add(Fault(kind=fault))
    sound = await reply(clients.of("tts", "cartesia"), REPLY, options=ONCE)
    assert seconds(sound) == 0
    assert isinstance(sound.error, APIError)


async def test_a_reply_trickles(servers, clients):
    servers.cartesia.faults.add(Fault(kind=Kind.TRICKLE, every=0.15))
    began = time.monotonic()
    sound = await reply(clients.of("tts", "cartesia"), REPLY, options=ONCE)
    assert sound.error is None
    assert time.monotonic() - began > 1.4 * seconds(sound)


@pytest.mark.parametrize("fault", [Kind.DROP, Kind.ERROR])
async def test_what_was_said_before_a_drop_is_lost_to_the_next_connection(servers, clients, fault):
    servers.deepgram.faults.add(Fault(kind=fault, after=0.6))
    async with clients.of("stt", "deepgram").stream(conn_options=TWICE) as stream:
        for frame in frames(QUESTION):
            stream.push_frame(frame)
        await eventually(lambda: len(servers.deepgram.asked) == 2, "a second connection")
        for frame in frames("thank you goodbye"):
            stream.push_frame(frame)
        heard = await Outcome().take(until(stream, SpeechEventType.FINAL_TRANSCRIPT))
    assert finals(heard) == ["Thank you goodbye."]


@pytest.mark.parametrize("fault", [Kind.STALL, Kind.MALFORMED, Kind.EMPTY])
async def test_the_second_utterance_gets_no_transcript(servers, clients, fault):
    servers.deepgram.faults.add(Fault(kind=fault, turn=2))
    recogniser = clients.of("stt", "deepgram")
    async with recogniser.stream(conn_options=CALM) as stream:
        for frame in frames(QUESTION):
            stream.push_frame(frame)
        first = await Outcome().take(until(stream, SpeechEventType.END_OF_SPEECH))
        for frame in frames("thank you goodbye"):
            stream.push_frame(frame)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await anext(e async for e in stream if e.alternatives)
    assert finals(first) == ["How much is a tune up?"]
    assert [struck.kind for struck in servers.deepgram.faults.struck] == [fault]


async def test_transcripts_come_late(servers, clients):
    servers.deepgram.faults.add(Fault(kind=Kind.TRICKLE, every=0.7))
    began = time.monotonic()
    heard = await hear(clients.of("stt", "deepgram"), frames(QUESTION))
    assert finals(heard) == ["How much is a tune up?"]
    assert time.monotonic() - began > 0.7


@pytest.mark.parametrize(("fault", "answers"), [(Kind.STALL, True), (Kind.HALF_OPEN, False)])
async def test_only_a_half_open_socket_ignores_pings(servers, fault, answers):
    servers.deepgram.faults.add(Fault(kind=fault))
    query = "encoding=linear16&sample_rate=16000&language=en"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Token {KEY}"}) as client,
        client.ws_connect(f"{servers.deepgram.base_url}?{query}", autoping=False) as socket,
    ):
        loud = bytes(range(256)) * 64
        await socket.send_bytes(loud)
        await socket.ping()
        try:
            message = await socket.receive(timeout=0.4)
        except TimeoutError:
            message = None
        assert (message is not None and message.type is aiohttp.WSMsgType.PONG) is answers


@pytest.mark.parametrize("fault", [Kind.EMPTY, Kind.MALFORMED])
async def test_openai_makes_nothing_of_an_utterance(servers, clients, fault):
    servers.openai.faults.add(Fault(kind=fault, on="transcribe"))
    heard = await hear(clients.of("stt", "openai"), frames(QUESTION), ONCE, count=2, within=1.0)
    assert finals(heard) == []
    assert len(servers.openai.faults.struck) == 1


async def test_a_fault_waits_for_its_turn_and_its_words(servers, clients):
    servers.openai.faults.add(
        Fault(kind=Kind.STATUS, turn=2, times=0), Fault(kind=Kind.EXPIRED, when="park")
    )
    mind = clients.of("llm", "openai")
    assert (await ask(mind, QUESTION, options=ONCE)).error is None
    assert (await ask(mind, "Where can I park?", options=ONCE)).error.status_code == 401
    for _ in range(2):
        again = await ask(mind, QUESTION, QUESTION, options=ONCE)
        assert again.error.status_code == 500
    servers.openai.faults.clear()
    assert (await ask(mind, QUESTION, QUESTION)).error is None
    assert len(servers.openai.faults.struck) == 3


async def test_an_expired_key_ends_a_socket_that_was_open(servers, clients):
    servers.cartesia.faults.add(Fault(kind=Kind.EXPIRED, on="voice", turn=2, times=0))
    voice = clients.of("tts", "cartesia")
    assert (await reply(voice, REPLY, options=ONCE)).error is None
    in_band = await reply(voice, REPLY, options=ONCE)
    from_the_pool = await reply(voice, REPLY, options=ONCE)
    assert all(isinstance(failed.error, APIError) for failed in (in_band, from_the_pool))
    assert (await reply(voice, REPLY, options=ONCE)).error.status_code == 401
