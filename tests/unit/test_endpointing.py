"""The pure core of turn taking, and its adapter to the framework."""

import asyncio
import time

import pytest
from livekit.agents.llm import ChatContext

from agent.endpointing import LATE, Kind, TextEndpointing, kind_of
from config.persona import TurnTaking

ENGLISH = {
    Kind.FINISHED: [
        "what are your opening hours",
        "when are you open",
        "how much is a tune up",
        "i would like to know what your opening hours are",
        "what are your opening hours are",
        "can i talk to a human",
        "is there parking",
        "where are you",
        "how do i find you",
        "hello",
        "yes",
        "no thank you",
        "goodbye",
        "that is all thank you",
        "Are you open on Sundays?",
        "my number is five five one two three four five six seven eight",
        "do you open at nine",
    ],
    Kind.OPEN: [
        "i would like to know",
        "i would like to know what",
        "i want to bring my",
        "can you tell me",
        "what is the",
        "what are",
        "um",
        "i need a new tube and",
        "my number is",
        "are you open on",
    ],
    Kind.NUMBER: [
        "my number is five",
        "my number is five five one two",
        "five",
        "five five one",
        "extension 4",
        "it is 5 5 1",
    ],
    Kind.UNCLEAR: ["", "a flat tire", "the red bike", "we will be two"],
}

RUSSIAN = {
    Kind.FINISHED: [
        "во сколько вы открываетесь",
        "сколько стоит замена шины",
        "где вы находитесь",
        "здравствуйте",
        "да",
        "нет спасибо",
        "до свидания",
        "подскажите сколько это стоит",
    ],
    Kind.OPEN: [
        "я хотел бы узнать",
        "подскажите пожалуйста",
        "а",
        "мой номер",
        "я хотела бы записаться на",
        "скажите а вы работаете в",
        "ещё",
    ],
    Kind.NUMBER: ["мой номер девять один", "восемь", "телефон девять два шесть"],
    Kind.UNCLEAR: ["у меня сломался велосипед", "новая камера"],
}


def cases(table):
    return [(text, kind) for kind, texts in table.items() for text in texts]


@pytest.mark.parametrize(("text", "kind"), cases(ENGLISH))
def test_english(text, kind):
    assert kind_of(text, "en") is kind


@pytest.mark.parametrize(("text", "kind"), cases(RUSSIAN))
def test_russian(text, kind):
    assert kind_of(text, "ru") is kind


def test_an_unknown_language_is_judged_by_the_english_grammar():
    assert kind_of("what are your opening hours", "xx") is Kind.FINISHED


def chat(text):
    ctx = ChatContext.empty()
    ctx.add_message(role="user", content=text)
    return ctx


PATIENCE = TurnTaking(finished=0.0, unclear=0.1, open=0.3, number=0.4)


async def waited(text, *, silent_for=0.0):
    detector = TextEndpointing("en", PATIENCE)
    detector.speech_ended(silent_for)
    begun = time.monotonic()
    assert await detector.predict_end_of_turn(chat(text)) == 1.0
    return time.monotonic() - begun


async def test_an_open_phrase_is_given_more_time_than_a_finished_one():
    finished, unclear = await waited("what are your opening hours"), await waited("a flat tire")
    assert finished < unclear < await waited("i would like to know")


async def test_the_silence_that_has_passed_counts():
    assert await waited("i would like to know", silent_for=10.0) < 0.1


async def test_new_speech_cancels_the_wait():
    waiting = asyncio.create_task(waited("i would like to know"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_it_speaks_the_protocol_of_a_turn_detector():
    detector = TextEndpointing("en", PATIENCE)
    assert await detector.supports_language(None)
    assert await detector.unlikely_threshold(None) == 0.5
    assert detector.model
    assert detector.provider


async def test_words_that_are_about_to_come_are_waited_for():
    asked, came = [], asyncio.Event()

    async def understood(within):
        asked.append(within)
        await came.wait()

    detector = TextEndpointing("en", PATIENCE, understood)
    waiting = asyncio.create_task(detector.predict_end_of_turn(chat("what are your opening hours")))
    await asyncio.sleep(0)
    assert asked == [LATE]
    assert not waiting.done()
    came.set()
    assert await waiting == 1.0
