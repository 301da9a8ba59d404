"""What the supervisor does about a call, on a clock that the test holds."""

from __future__ import annotations

import asyncio

import pytest
from livekit.agents import (
    AgentStateChangedEvent,
    ErrorEvent,
    UserStateChangedEvent,
    UserTranscriptionTimeoutEvent,
)
from livekit.agents.llm import LLMError
from livekit.agents.tts import TTSError

from agent import supervisor as module
from agent.call import EndReason
from agent.ears import Ears
from tests.unit.watched import Scene, transcript


@pytest.fixture
async def scene(monkeypatch):
    scene = Scene(monkeypatch)
    scene.starts()
    yield scene
    await scene.supervisor.aclose()


async def test_silence_is_prompted_and_ends_the_call_after_its_farewell(scene):
    scene.now = 8.0
    assert await scene.next() == ("still_there", True)
    scene.now = 14.0
    assert await scene.next() == ("still_there_again", True)
    scene.now = 18.0
    assert await scene.next() == ("silence_farewell", False)
    assert scene.session.interrupts == 1
    assert scene.ending.reason is None
    scene.handle.over.set()
    assert await asyncio.wait_for(scene.ending.wait(), 5) is EndReason.SILENCE
    assert scene.notes == [
        "said_still_there",
        "said_still_there_again",
        "said_silence_farewell",
    ]


async def test_the_longest_duration_ends_the_call(scene):
    scene.handle.over.set()
    scene.session.emit(
        "agent_state_changed", AgentStateChangedEvent(old_state="listening", new_state="speaking")
    )
    scene.now = 100.0
    assert await scene.next() == ("duration_farewell", False)
    assert await asyncio.wait_for(scene.ending.wait(), 5) is EndReason.MAX_DURATION


async def test_noise_does_not_break_a_silence_and_words_do(scene):
    scene.now = 7.0
    scene.session.emit("user_input_transcribed", transcript("  ", final=False))
    scene.now = 8.0
    assert await scene.next() == ("still_there", True)
    scene.session.emit("user_input_transcribed", transcript("hel", final=False))
    scene.now = 14.0
    for _ in range(5):
        await asyncio.sleep(0)
    assert scene.said.empty()
    scene.now = 16.0
    assert await scene.next() == ("still_there", True)


async def test_a_key_breaks_a_silence(scene):
    scene.now = 7.0
    scene.supervisor.caller_pressed()
    scene.now = 14.0
    for _ in range(5):
        await asyncio.sleep(0)
    assert scene.said.empty()


async def test_a_farewell_that_does_not_end_is_cut_off(scene, monkeypatch, caplog):
    monkeypatch.setattr(module, "FAREWELL_LIMIT", 0.01)
    await scene.supervisor.end_after(scene.handle, EndReason.AGENT_HANGUP, "tool")
    assert (scene.ending.reason, scene.ending.detail) == (EndReason.AGENT_HANGUP, "tool")
    assert "the farewell did not end in time" in caplog.messages


class Behind(Ears):
    """Ears that hear something a second time, for as long as the test says."""

    is_catching_up = True
    is_hearing = False

    def __init__(self):
        pass


def unheard(scene):
    event = UserTranscriptionTimeoutEvent(speech_duration=2.0, vad_speech_started_at=0.0)
    scene.session.emit("user_transcription_timeout", event)


async def test_what_was_not_understood_is_asked_for(scene):
    scene.session.stt, scene.session.agent_state = None, "listening"
    unheard(scene)
    assert await scene.next() == ("say_again", True)


@pytest.mark.parametrize("understood", [True, False])
async def test_words_that_are_heard_a_second_time_are_waited_for(scene, understood):
    scene.session.stt = Behind()
    scene.session.agent_state = "listening"
    scene.now = 2.0
    unheard(scene)
    for _ in range(5):
        await asyncio.sleep(0)
    assert scene.said.empty()
    if understood:
        scene.now = 2.5
        scene.session.emit("user_input_transcribed", transcript("when are you open", final=True))
    scene.session.stt.is_catching_up = False
    for _ in range(5):
        await asyncio.sleep(0)
    assert scene.said.empty() is understood


async def test_words_whose_usual_time_is_not_over_are_waited_for(scene):
    scene.session.stt = Behind()
    scene.session.stt.is_catching_up, scene.session.stt.is_hearing = False, True
    scene.session.agent_state = "listening"
    unheard(scene)
    await turns_of_the_loop()
    assert scene.said.empty()
    scene.session.stt.is_hearing = False
    assert await scene.next() == ("say_again", True)


async def test_nobody_is_waited_for_without_end(scene):
    scene.session.stt = Behind()
    scene.session.agent_state = "listening"
    scene.now = 1.5  # seconds after the end of speech
    unheard(scene)
    scene.now = 3.9
    await turns_of_the_loop()
    assert scene.said.empty()
    scene.now = 4.1
    assert await scene.next() == ("say_again", True)


async def test_the_caller_who_speaks_again_is_not_asked(scene):
    scene.session.stt = Behind()
    scene.session.agent_state = "listening"
    unheard(scene)
    speaking = UserStateChangedEvent(old_state="listening", new_state="speaking")
    scene.session.emit("user_state_changed", speaking)
    scene.session.stt.is_catching_up = False
    await turns_of_the_loop()
    assert scene.said.empty()


async def test_words_without_a_final_transcript_are_asked_for(scene):
    scene.session.stt, scene.session.agent_state = None, "listening"
    scene.session.emit("user_input_transcribed", transcript("uh", final=False))
    unheard(scene)
    scene.session.emit("user_input_transcribed", transcript("uh", final=False))
    assert await scene.next() == ("say_again", True)


async def test_words_that_are_heard_again_and_again_break_no_silence(scene):
    scene.session.stt = Behind()
    scene.session.agent_state = "listening"
    scene.now = 1.0
    unheard(scene)
    for now in (1.5, 2.5, 3.5):
        scene.now = now
        scene.session.emit("user_input_transcribed", transcript("uh", final=False))
        await turns_of_the_loop()
    assert await scene.next() == ("say_again", True)
    scene.now = 8.0
    assert await scene.next() == ("still_there", True)


async def turns_of_the_loop():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_silence_that_is_owed_is_filled_below_the_session(scene):
    scene.asks(2.0)
    await scene.goes_on_until(3.9)
    assert await scene.next() == "filler"


async def test_the_caller_who_goes_on_breaks_the_filler_off(scene):
    scene.asks(2.0)
    hushed = scene.mouth.hushed
    scene.asks(4.0)
    assert scene.mouth.hushed == hushed + 1


async def test_an_answer_that_does_not_come_ends_in_an_apology(scene):
    scene.asks(2.0)
    await scene.goes_on_until(7.6)
    assert await asyncio.wait_for(scene.given_up.get(), 5) == "silence"
    assert scene.session.interrupts == 1
    assert "gave_up" in scene.notes


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (LLMError(timestamp=0, label="x", error=ValueError(), recoverable=False), "llm"),
        (TTSError(timestamp=0, label="x", error=ValueError(), recoverable=False), "tts"),
    ],
)
async def test_a_chain_that_failed_is_apologised_for_at_once(scene, error, cause):
    scene.asks(2.0)
    scene.session.emit("error", ErrorEvent(error=error, source=None))
    assert await asyncio.wait_for(scene.given_up.get(), 5) == cause


async def test_what_a_provider_recovers_from_is_no_failure(scene):
    scene.asks(2.0)
    error = LLMError(timestamp=0, label="x", error=ValueError(), recoverable=True)
    scene.session.emit("error", ErrorEvent(error=error, source=None))
    await scene.goes_on_until(3.9)
    assert await scene.next() == "filler"
    assert scene.given_up.empty()
