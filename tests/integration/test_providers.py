"""Each real plugin against its healthy stand-in: it recognises, answers and speaks."""

from __future__ import annotations

import time

import aiohttp
import pytest
from livekit.agents.stt import SpeechEventType

from plugins import offline
from tests.programs import Worker, run
from tests.providers import Pace, Providers
from tests.providers.__main__ import KEY
from tests.providers.clients import (
    Clients,
    ask,
    calls,
    finals,
    frames,
    hear,
    loudness,
    phrase,
    reply,
    seconds,
    text,
)
from tests.providers.ears import personas
from tests.providers.mind import complaint

pytestmark = pytest.mark.clocked

QUESTION = "how much is a tune up"
FRAMES_A_SECOND = 50
HOURS = "We are open from nine to six, Monday to Friday, and from ten to four on Saturday."


@pytest.fixture
async def servers():
    async with Providers() as servers:
        yield servers


@pytest.fixture
async def clients(servers):
    async with Clients(servers) as clients:
        yield clients


def length(said, voice="en-us"):
    return len(offline.synthesize(said, voice)) / offline.SAMPLE_RATE


async def test_deepgram_understands_a_sentence_word_by_word(clients):
    heard = await hear(clients.of("stt", "deepgram"), frames(QUESTION))
    kinds = [e.type.value for e in heard.got if e.type.value != "recognition_usage"]
    assert (kinds[0], kinds[-2:]) == ("start_of_speech", ["final_transcript", "end_of_speech"])
    assert set(kinds[1:-2]) == {"interim_transcript"}
    (final,) = [e.alternatives[0] for e in heard.got if e.type.value == "final_transcript"]
    assert final.text == "How much is a tune up?"
    assert final.confidence > 0.5
    assert final.words == ["How", "much", "is", "a", "tune", "up?"]
    assert 0.2 < final.start_time < 0.5 < final.end_time < 3


async def test_deepgram_hears_only_what_reached_it(clients):
    half = [*list(frames(QUESTION))[:FRAMES_A_SECOND], *frames("", lead=0.3)]
    (heard,) = finals(await hear(clients.of("stt", "deepgram"), half))
    assert heard.startswith("How much")
    assert "tune up" not in heard


async def test_two_sentences_are_two_finals(clients):
    sound = (*frames(QUESTION), *frames("thank you goodbye"))
    heard = await hear(clients.of("stt", "deepgram"), sound, count=2)
    assert finals(heard) == ["How much is a tune up?", "Thank you goodbye."]


@pytest.mark.parametrize("name", ["deepgram", "openai"])
@pytest.mark.parametrize("said", ["когда вы работаете", "сколько стоит техобслуживание"])
async def test_a_russian_sentence_is_understood(clients, name, said):
    last = SpeechEventType.FINAL_TRANSCRIPT
    heard = await hear(clients.of("stt", name, "ru"), frames(said, voice="ru"), last=last)
    assert finals(heard) == [f"{said.capitalize()}?"]


async def test_openai_understands_a_sentence(servers, clients):
    last = SpeechEventType.FINAL_TRANSCRIPT
    heard = await hear(clients.of("stt", "openai"), frames(QUESTION), last=last)
    assert finals(heard) == ["How much is a tune up?"]
    asked = servers.openai.asked[-1].what
    assert (asked["model"], asked["language"]) == ("gpt-4o-mini-transcribe", "en")


@pytest.mark.parametrize("name", ["openai", "groq"])
async def test_a_language_model_answers_from_the_facts_it_was_given(clients, name):
    answer = await ask(clients.of("llm", name), "What are your opening hours?")
    assert text(answer) == HOURS
    (usage,) = [chunk.usage for chunk in answer.got if chunk.usage]
    assert usage.completion_tokens == len(HOURS.split())
    assert usage.prompt_tokens > 200


async def test_a_language_model_knows_nothing_else(clients):
    answer = await ask(
        clients.of("llm", "openai"), "What is the capital of France?", offered=["end_call"]
    )
    assert (text(answer), calls(answer)) == (personas()["en"].phrases.unknown, [])


async def test_a_language_model_answers_in_russian(clients):
    answer = await ask(clients.of("llm", "openai"), "когда вы работаете", persona="ru")
    (hours,) = [fact for fact in personas()["ru"].facts if fact.name == "opening_hours"]
    assert text(answer) == hours.answer


@pytest.mark.parametrize(
    ("said", "tool"),
    [("Thank you, goodbye.", "end_call"), ("Can I talk to a person?", "transfer_call")],
)
async def test_a_language_model_calls_the_tool_that_it_is_offered(clients, said, tool):
    mind = clients.of("llm", "openai")
    answer = await ask(mind, said, offered=["end_call", "transfer_call"])
    assert calls(answer) == [(tool, "{}")]
    assert calls(await ask(mind, said)) == []


def test_a_conversation_that_the_api_would_refuse_is_refused():
    call = {"role": "assistant", "tool_calls": [{"id": "a"}]}
    output = {"role": "tool", "tool_call_id": "a", "content": "done"}
    user = {"role": "user", "content": "hello"}
    assert complaint({"messages": [user, call, output]}) == ""
    assert "without its output" in complaint({"messages": [call, user]})
    assert "without its call" in complaint({"messages": [user, output]})
    loose = {"properties": {"to": {"type": "string"}}, "additionalProperties": False}
    function = {"name": "transfer", "strict": True, "parameters": loose}
    tool = {"type": "function", "function": function}
    assert "its schema is not" in complaint({"messages": [user], "tools": [tool]})


async def test_cartesia_speaks_a_reply_with_the_times_of_its_words(clients):
    sentences = "We fix a flat tire for fifteen dollars.", "The new tube is included."
    sound = await reply(clients.of("tts", "cartesia"), *sentences)
    assert seconds(sound) == pytest.approx(sum(map(length, sentences)), rel=0.1)
    assert loudness(sound) > -30
    words = [w for a in sound.got for w in a.frame.userdata.get("lk.timed_transcripts", [])]
    assert "".join(words).split() == " ".join(sentences).split()
    assert words[-1].end_time == pytest.approx(seconds(sound), abs=0.2)


@pytest.mark.parametrize(("persona", "timed"), [("en", True), ("ru", False)])
async def test_times_of_words_are_asked_for_where_cartesia_has_them(
    servers, clients, caplog, persona, timed
):
    sound = await reply(clients.of("tts", "cartesia", persona), personas()[persona].phrases.filler)
    assert servers.cartesia.asked[-1].what["add_timestamps"] is timed
    assert any(audio.frame.userdata.get("lk.timed_transcripts") for audio in sound.got) is timed
    assert "word_timestamps" not in caplog.text


@pytest.mark.parametrize("name", ["cartesia", "openai"])
@pytest.mark.parametrize(("persona", "voice"), [("en", "en-us"), ("ru", "ru")])
async def test_a_voice_speaks_a_phrase(clients, name, persona, voice):
    said = personas()[persona].phrases.filler
    sound = await phrase(clients.of("tts", name, persona), said)
    assert loudness(sound) > -30
    assert seconds(sound) == pytest.approx(length(said, voice), abs=0.15)
    assert {audio.frame.sample_rate for audio in sound.got} == {24000}


async def test_a_stand_in_is_as_slow_as_its_pace(servers, clients):
    servers.openai.pace = Pace(first=0.2, each=0.05)
    began = time.monotonic()
    words = len(text(await ask(clients.of("llm", "openai"), QUESTION)).split())
    assert time.monotonic() - began > 0.2 + words * 0.05


async def test_another_key_is_refused(servers, clients):
    servers.openai.key = "another"
    answer = await ask(clients.of("llm", "openai"), QUESTION)
    assert answer.error.status_code == 401


async def test_the_command_prints_what_points_the_product_at_its_servers():
    command = ("-m", "tests.providers", "--fault", "openai:status,status=429,times=0")
    async with Worker({}, *command) as program:
        line = await program.said("VOICE_AGENT__PROVIDERS__OPENAI__BASE_URL")
        base_url = line["event"].partition("=")[2]
        assert (await program.said("DEEPGRAM_API_KEY"))["event"] == f"export DEEPGRAM_API_KEY={KEY}"
        async with aiohttp.ClientSession() as client, client.get(f"{base_url}/models") as answer:
            assert answer.status == 429


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("acme:drop", "the providers are deepgram, openai, groq, cartesia"),
        ("openai:explode", "kind: Input should be"),
        ("openai:drop,when", "kind: Input should be"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_fault(option, complaint):
    done = run("-m", "tests.providers", "--fault", option, variables={}, within=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {option}: {complaint}" in done.stderr
