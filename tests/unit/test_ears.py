"""The chain of recognisers as a session hears it, on a clock of the test's.

What a recogniser does is scripted: it hears a loud sound as speech.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import LanguageCode, stt
from livekit.agents.stt import SpeechEventType as Kind

from agent import ears as module
from agent import listener, supervisor
from agent.availability import Availability, State
from agent.ears import Ears
from agent.relay import DEAF, MUTE

FRAME = 0.02
LOUD = rtc.AudioFrame(b"\x10\x10" * 320, 16000, 1, 320)
SILENCE = rtc.AudioFrame(bytes(640), 16000, 1, 320)


class Hearing(stt.RecognizeStream):
    """One connection that hears as its recogniser is told to."""

    async def _run(self):
        self._stt.opened.append(self)
        self.mute = False
        self.heard = self.quiet = 0.0
        self.answers_at = float("inf")
        self._told = False
        async for frame in self._input_ch:
            if isinstance(frame, rtc.AudioFrame) and not (self.mute or self._stt.mute):
                self._hear(frame)

    def _hear(self, frame):
        if np.any(np.frombuffer(frame.data, np.int16)):
            if not self.heard:
                self._tell(Kind.START_OF_SPEECH)
            self.heard, self.quiet = self.heard + frame.duration, 0.0
            if self.heard > 0.3 and not self._told and self._stt.capabilities.interim_results:
                self._told = True
                self._tell(Kind.INTERIM_TRANSCRIPT, "uh")
            return
        self.quiet += frame.duration
        if self.heard and self.quiet > 0.25:
            if self._stt.lag:
                self.answers_at = self._stt.clock.now + self._stt.lag
                self._tell(Kind.END_OF_SPEECH)
            else:
                self._end()
            self.heard, self._told = 0.0, False
        if self._stt.clock.now >= self.answers_at:
            self.answers_at = float("inf")
            self._tell(Kind.FINAL_TRANSCRIPT, self._stt.words)

    def _end(self):
        if not self._stt.withdraws:
            self._tell(Kind.FINAL_TRANSCRIPT, f"{self.heard:.1f}")
        self._tell(Kind.END_OF_SPEECH)

    def _tell(self, kind, text=""):
        data = [stt.SpeechData(LanguageCode("en"), text)] if text else []
        self._event_ch.send_nowait(stt.SpeechEvent(kind, alternatives=data))


class Recogniser(stt.STT):
    words = "hello"

    def __init__(self, clock, *, mute=False, withdraws=False, lag=0.0):
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=not lag))
        self.clock, self.mute, self.withdraws, self.lag = clock, mute, withdraws, lag
        self.opened = []

    async def _recognize_impl(self, buffer, *, language, conn_options):
        raise NotImplementedError

    def stream(self, *, language, conn_options):
        return Hearing(stt=self, conn_options=conn_options)


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now

    time = monotonic


class Caller:
    """Somebody who talks into ears."""

    def __init__(self, clock, **recognisers):
        self.clock = clock
        self.availability = Availability()
        self.ears = Ears(list(recognisers.items()), self.availability, {}, 0.2)
        self.deaf = []
        self.ears.on("error", lambda _error: self.deaf.append(clock.now))
        self.got = []
        self.stream = self.ears.stream()
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        async for event in self.stream:
            self.got.append(event)

    @property
    def finals(self):
        return [e.alternatives[0].text for e in self.got if e.type is Kind.FINAL_TRANSCRIPT]

    async def passes(self, seconds, frame=SILENCE):
        for _ in range(round(seconds / FRAME)):
            self.stream.push_frame(frame)
            self.clock.now += FRAME
            await turns_of_the_loop()

    async def says(self, seconds):
        await self.passes(0.1, LOUD)
        self.ears.caller_is(speaking=True)
        await self.passes(seconds - 0.1, LOUD)
        self.fell_silent = self.clock.now
        await self.passes(0.2)
        self.ears.caller_is(speaking=False)

    async def aclose(self):
        await self.stream.aclose()
        await self._reading
        await self.ears.aclose()


async def turns_of_the_loop():
    for _ in range(12):
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(listener, "time", clock)
    monkeypatch.setattr(module, "TICK", 0.0)
    return clock


@pytest.fixture
async def call(clock):
    """Makes callers, and hangs up."""
    callers = []

    def make(**recognisers):
        callers.append(Caller(clock, **recognisers))
        return callers[-1]

    yield make
    for caller in callers:
        await caller.aclose()


@pytest.mark.parametrize("seconds", [1.0, 3.0])
async def test_words_that_are_withdrawn_each_time_end_the_trouble(clock, call, seconds):
    one, two = Recogniser(clock, withdraws=True), Recogniser(clock, withdraws=True)
    caller = call(one=one, two=two)
    await caller.passes(0.2)
    await caller.says(seconds)
    await caller.passes(4.0)
    assert not caller.ears.is_catching_up
    assert len(two.opened) == (seconds > 1.5)  # of a sentence words must come: the next is asked
    await caller.passes(6.0)
    again_and_back = 2 if seconds > 1.5 else 1  # of the second, back to the first
    assert len(one.opened) == 1 + again_and_back
    assert caller.finals == []
    last = [e for e in caller.got if e.type is Kind.INTERIM_TRANSCRIPT][-1]
    assert last.alternatives[0].text == ""  # the session keeps nothing of it
    one.withdraws = False
    await caller.says(1.0)
    await caller.passes(1.0)
    assert caller.finals == ["1.0"]


async def test_a_half_open_one_beside_one_that_was_down_loses_nothing(clock, call):
    one, two = Recogniser(clock, mute=True), Recogniser(clock)
    caller = call(one=one, two=two)
    caller.availability.learn("stt", "two", State.DOWN)
    for _ in range(2):
        await caller.says(1.6)
        await caller.passes(4.0)
    assert caller.finals == ["1.6", "1.6"]
    assert caller.deaf == []
    assert caller.availability.state("stt", "one") is State.DOWN


async def test_that_the_only_one_is_mute_is_told(clock, call):
    one = Recogniser(clock, mute=True)
    caller = call(one=one)
    for _ in range(MUTE):
        assert not caller.deaf
        await caller.passes(0.2)
        await caller.says(2.0)
        await caller.passes(DEAF + 2)
    assert len(caller.deaf) == 1
    assert DEAF <= caller.deaf[0] - caller.fell_silent < DEAF + 2
    assert caller.availability.state("stt", "one") is State.DOWN


async def test_a_slow_answer_about_a_whole_utterance_is_expected(clock, call):
    caller = call(one=Recogniser(clock, lag=1.7))
    await caller.passes(0.2)
    await caller.says(1.0)
    await caller.passes(supervisor.UNHEARD - 0.2)
    assert caller.ears.is_hearing
    await caller.passes(0.6)
    assert caller.finals == ["hello"]
    assert not caller.ears.is_hearing


async def test_the_second_half_of_a_sentence_is_awaited_after_the_first(clock, call):
    caller = call(one=Recogniser(clock, lag=0.4))
    await caller.passes(0.2)
    await caller.says(0.5)
    await caller.passes(0.1)
    await caller.says(1.0)
    assert caller.finals == ["hello"]
    assert not caller.stream.understood.is_set()  # it is about to be asked of the second half
    await caller.passes(0.4)
    assert not caller.stream.understood.is_set()
    await caller.passes(0.2)
    assert caller.finals == ["hello", "hello"]
    assert caller.stream.understood.is_set()


async def test_a_noise_in_which_no_words_were_heard_is_not_awaited(clock, call):
    one, two = Recogniser(clock, lag=0.4), Recogniser(clock)
    caller = call(one=one, two=two)
    await caller.says(1.0)
    await caller.passes(1.0)
    one.words = listener.WORDLESS
    await caller.says(0.5)
    assert not caller.stream.understood.is_set()
    await caller.passes(0.6)
    assert caller.stream.understood.is_set()
    assert not caller.ears.is_hearing
    await caller.passes(4.0)
    assert caller.finals == ["hello"]
    assert not two.opened  # nothing is wrong with the first


async def test_a_noise_that_no_recogniser_hears_of_holds_nobody_up(clock, call):
    one = Recogniser(clock, lag=0.4)
    caller = call(one=one)
    await caller.says(1.0)
    await caller.passes(1.0)
    one.mute = True
    await caller.says(0.3)
    assert not caller.stream.understood.is_set()
    await caller.passes(listener.NOTICED + 0.1)
    assert caller.stream.understood.is_set()


async def test_words_that_are_not_final_are_awaited(clock, call):
    caller = call(one=Recogniser(clock))
    await caller.says(1.0)
    assert caller.finals == []
    assert not caller.stream.understood.is_set()
    await caller.passes(0.1)
    assert caller.finals == ["1.0"]
    assert caller.stream.understood.is_set()


@pytest.mark.parametrize("consulted", [False, True])
async def test_a_colleague_has_ears_of_their_own(clock, call, consulted):
    one = Recogniser(clock)
    caller = call(one=one, two=Recogniser(clock))
    await caller.says(1.0)
    await caller.passes(1.0)
    if consulted:
        twin = caller.ears.twin()
        colleague = twin.stream()
        caller.ears.caller_is(speaking=True)  # while on hold
        for _ in range(150):
            colleague.push_frame(LOUD)
            await caller.passes(FRAME)
        caller.ears.caller_is(speaking=False)
        await colleague.aclose()
        await twin.aclose()
        await caller.passes(1.0)
        assert not caller.ears.is_catching_up
        assert "3.0" not in caller.finals
    for connection in one.opened:
        connection.mute = True
    await caller.says(1.5)
    await caller.passes(4.0)
    assert caller.finals == ["1.0", "1.5"]
    assert caller.ears.provider == "unknown"  # its client is open
