"""Keys: collected for a tool, told as a turn, sent to another system."""

from __future__ import annotations

import asyncio

import pytest

from agent import dtmf, keypad
from agent.errors import KeysNotSent
from agent.keypad import Digits, Keypad


class Notes:
    """Stands in for the record."""

    def __init__(self):
        self.notes = []

    def keys_collected(self, keys, *, is_complete):
        self.notes.append(("keys_collected", keys, is_complete))  # and so with these

    def keys_pressed(self, keys):
        self.notes.append(("keys_pressed", keys))  # the real one redacts them


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def told():
    return asyncio.Queue()


@pytest.fixture
async def keys(notes, told):
    pad = Keypad(notes, told.put_nowait)
    yield pad
    await pad.aclose()


@pytest.mark.parametrize(
    ("digits", "pressed", "kept", "complete"),
    [
        (Digits(count=4), "4711", "4711", True),
        (Digits(count=4), "47115", "4711", True),
        (Digits(count=4), "47#", "47", True),
        (Digits(count=4), "47", "47", False),
        (Digits(), "12345#9", "12345", True),
        (Digits(), "#", "", True),
        (Digits(terminator="*"), "1#2*", "1#2", True),
        (Digits(count=2, terminator=""), "#*", "#*", True),
        (Digits(), "1" * 40, "1" * keypad.MOST, True),
    ],
)
def test_an_answer_is_complete_by_count_or_terminator(digits, pressed, kept, complete):
    for key in pressed:
        digits.press(key)
    assert (digits.keys, digits.is_complete) == (kept, complete)


async def test_keys_that_nobody_asked_for_are_told_after_a_pause(keys, told, notes, monkeypatch):
    monkeypatch.setattr(keypad, "PAUSE", 0.02)
    for key in "12#":
        keys.pressed(key)
    assert await asyncio.wait_for(told.get(), 5) == "12#"
    assert notes.notes == [("keys_pressed", "12#")]


async def test_an_answer_is_collected_and_told_to_nobody_else(keys, told, notes):
    asking = asyncio.create_task(keys.collect(Digits(count=4), first=5, between=5))
    await asyncio.sleep(0)
    for key in "4711":
        keys.pressed(key)
    digits = await asyncio.wait_for(asking, 5)
    assert digits.keys == "4711"
    assert told.empty()
    assert notes.notes == [("keys_collected", "4711", True)]


async def test_keys_pressed_into_the_question_count(keys, told, monkeypatch):
    monkeypatch.setattr(keypad, "PAUSE", 60.0)
    keys.pressed("4")
    asking = asyncio.create_task(keys.collect(Digits(count=2), first=5, between=5))
    await asyncio.sleep(0)
    keys.pressed("7")
    assert (await asyncio.wait_for(asking, 5)).keys == "47"
    assert told.empty()


async def test_whoever_types_nothing_is_not_waited_for(keys):
    digits = await asyncio.wait_for(keys.collect(Digits(), first=0.02, between=60), 5)
    assert (digits.keys, digits.is_complete) == ("", False)


async def test_whoever_stops_typing_is_not_waited_for(keys, notes):
    asking = asyncio.create_task(keys.collect(Digits(), first=60, between=0.02))
    await asyncio.sleep(0)
    keys.pressed("4")
    digits = await asyncio.wait_for(asking, 5)
    assert (digits.keys, digits.is_complete) == ("4", False)
    assert notes.notes == [("keys_collected", "4", False)]


async def test_after_a_question_was_cut_short_keys_are_told_again(keys, told, monkeypatch):
    monkeypatch.setattr(keypad, "PAUSE", 0.02)
    asking = asyncio.create_task(keys.collect(Digits(), first=60, between=60))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    keys.pressed("9")
    assert await asyncio.wait_for(told.get(), 5) == "9"


def test_pauses_stand_before_the_next_key():
    assert dtmf.sequence("1w2 ww#") == [("1", 0.0), ("2", 0.8), ("#", 1.3)]
    assert dtmf.sequence("a") == [("A", 0.0)]
    assert [dtmf.CODES[key] for key in "09*#AD"] == [0, 9, 10, 11, 12, 15]


@pytest.mark.parametrize("keys", ["", "ww", "12x", "1" * 65])
def test_what_is_no_key_is_not_sent(keys):
    with pytest.raises(KeysNotSent):
        dtmf.sequence(keys)
