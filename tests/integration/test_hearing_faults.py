"""The chain of recognisers loses nothing that was said, whatever its connections do.

The real plugins against the stand-ins, which hear the audio that really reached them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from livekit import rtc
from livekit.agents.stt import SpeechEventType
from livekit.agents.utils import http_context

from agent import speech
from agent.availability import Availability, State
from agent.ears import Ears
from config.settings import Settings, load
from plugins import offline
from tests.providers import Fault, Kind, Pace, Providers
from tests.providers.clients import frames
from tests.providers.ears import personas

pytestmark = pytest.mark.clocked

QUESTION = "how much is a tune up"
HEARD = "How much is a tune up?"
HOURS = "what are your opening hours"
FRAME = 0.02
RATE = offline.SAMPLE_RATE
SILENCE = rtc.AudioFrame(bytes(882), RATE, 1, 441)


class Caller:
    """A call's ears, and somebody who talks into them. `speed` 1 is real time."""

    def __init__(self, servers, chain, persona="en", speed=1.0):
        self.serving = {}
        self.notes = []
        self.deaf = []
        self.availability = Availability(lambda name, **detail: self.notes.append((name, detail)))
        self._servers, self._chain, self._persona = servers, chain, persona
        self._speed = speed
        self.got = []
        self._changed = asyncio.Event()

    async def __aenter__(self):
        self._http = http_context.open()
        await self._http.__aenter__()
        settings = load(environ=self._servers.variables | {"VOICE_AGENT__SPEECH__STT": self._chain})
        vad = speech.hearing(Settings())
        persona = personas()[self._persona]
        names = self._chain.split(",")
        chain = [(n, speech.client(settings, persona, "stt", n, vad)) for n in names]
        self.ears = Ears(chain, self.availability, self.serving, 0.2)
        self.ears.on("error", lambda _error: self.deaf.append(time.monotonic()))
        self.stream = self.ears.stream()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *error):
        await self.stream.aclose()
        await self._reading
        await self.ears.aclose()
        await self._http.__aexit__(None, None, None)

    async def _read(self):
        async for event in self.stream:
            self.got.append((time.monotonic(), event))
            self._changed.set()

    async def says(self, text, *, cut=None, voice="en-us"):
        """Say it in real time or faster, told by the detector as the session tells it."""
        lead, tail = 0.3, 0.3
        sound = list(frames(text, lead, tail, voice))
        spoken = range(int(lead / FRAME) + 5, len(sound) - int((tail - 0.2) / FRAME) - 1)
        for place, frame in enumerate(sound):
            self.stream.push_frame(frame)
            if place == spoken[0]:
                self.ears.caller_is(speaking=True)
            if place == spoken[-1]:
                self.ears.caller_is(speaking=False)
            if cut and place == cut:
                return
            await asyncio.sleep(FRAME / self._speed)
        self.fell_silent = time.monotonic() - tail

    async def keeps_silent(self, until, within=6.0):
        """Be silent until something is true."""
        async with asyncio.timeout(within):
            while not until():
                self.stream.push_frame(SILENCE)
                await asyncio.sleep(FRAME)

    @property
    def finals(self):
        kind = SpeechEventType.FINAL_TRANSCRIPT
        return [e.alternatives[0].text for _, e in self.got if e.type == kind]

    @property
    def delay(self):
        """Seconds from the end of speech to the last final transcript."""
        kind = SpeechEventType.FINAL_TRANSCRIPT
        return [at for at, e in self.got if e.type == kind][-1] - self.fell_silent


@pytest.fixture
async def servers():
    async with Providers() as servers:
        yield servers


async def test_a_healthy_provider_is_heard_at_once(servers):
    async with Caller(servers, "deepgram,openai,offline") as caller:
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
    assert caller.finals == [HEARD]
    assert caller.serving == {"stt": "deepgram"}
    assert len(servers.deepgram.asked) == 1
    assert servers.openai.asked == []
    assert caller.notes == []
    assert caller.ears.provider == "Deepgram"


BROKEN = [
    Fault(kind=Kind.DROP, after=0.6),
    Fault(kind=Kind.ERROR, after=0.6),
    Fault(kind=Kind.HALF_OPEN),
    Fault(kind=Kind.HALF_OPEN, after=0.6),
    Fault(kind=Kind.STALL),
    Fault(kind=Kind.MALFORMED),
]


@pytest.mark.parametrize("fault", BROKEN, ids=[f"{f.kind}-{f.after}" for f in BROKEN])
async def test_what_was_said_into_a_broken_connection_is_heard_by_a_new_one(servers, fault):
    servers.deepgram.faults.add(fault)
    async with Caller(servers, "deepgram,offline") as caller:
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
        assert not caller.ears.is_catching_up
    assert caller.finals == [HEARD]
    assert caller.serving == {"stt": "deepgram"}
    assert caller.delay < 2.0
    assert caller.notes == []


GONE = [
    ((Fault(kind=Kind.DROP, after=0.6), Fault(kind=then, times=0)), second)
    for then, second in (
        (Kind.SHUT, "openai"),
        (Kind.HANG, "openai"),
        (Kind.HANG, "offline"),
        (Kind.EXPIRED, "offline"),
        (Kind.STATUS, "offline"),
    )
]
DEAF = [
    ((Fault(kind=kind, times=0),), second)
    for kind, second in (
        (Kind.HALF_OPEN, "openai"),
        (Kind.HALF_OPEN, "offline"),
        (Kind.STALL, "openai"),
        (Kind.MALFORMED, "offline"),
    )
]


@pytest.mark.parametrize(
    ("faults", "second"), GONE + DEAF, ids=[f"{f[-1].kind}-{s}" for f, s in GONE + DEAF]
)
async def test_the_next_provider_hears_what_the_first_did_not(servers, faults, second):
    async with Caller(servers, f"deepgram,{second}") as caller:
        await caller.keeps_silent(lambda: servers.deepgram.asked)
        servers.deepgram.faults.add(*faults)
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
    assert [text.lower().strip("?") for text in caller.finals] == [QUESTION]
    assert caller.serving == {"stt": second}
    assert caller.delay < 2.4
    refused = faults[-1].kind is Kind.EXPIRED
    assert caller.availability.state("stt", "deepgram") is (
        State.REFUSED if refused else State.DOWN
    )
    assert [name for name, _ in caller.notes] == ["provider_failed"]


@pytest.mark.parametrize("then", [Kind.SHUT, Kind.EXPIRED])
async def test_a_russian_sentence_is_heard_whole_by_the_second_provider(servers, then):
    async with Caller(servers, "deepgram,openai", persona="ru") as caller:
        await caller.keeps_silent(lambda: servers.deepgram.asked)
        servers.deepgram.faults.add(Fault(kind=Kind.DROP, after=0.6), Fault(kind=then, times=0))
        await caller.says("когда вы работаете", voice="ru")
        await caller.keeps_silent(lambda: caller.finals)
    assert " ".join(caller.finals) == "Когда вы работаете?"
    assert caller.serving == {"stt": "openai"}
    assert caller.delay < 2.4


async def test_a_sentence_in_two_parts_is_not_over_with_the_first(servers):
    servers.openai.pace = Pace(first=0.3)
    async with Caller(servers, "deepgram,openai") as caller:
        await caller.keeps_silent(lambda: servers.deepgram.asked)
        servers.deepgram.faults.add(Fault(kind=Kind.HALF_OPEN, times=0))
        await caller.says(QUESTION)
        await caller.says(HOURS)
        await caller.keeps_silent(lambda: caller.finals)
        assert caller.ears.is_catching_up
        await caller.keeps_silent(lambda: len(caller.finals) > 1)
        assert not caller.ears.is_catching_up
    assert caller.finals == [HEARD, "What are your opening hours?"]


@pytest.mark.parametrize("kind", [Kind.SHUT, Kind.STATUS, Kind.EXPIRED, Kind.HANG])
async def test_a_provider_that_is_down_at_the_start_is_passed_over(servers, kind):
    servers.deepgram.faults.add(Fault(kind=kind, times=0))
    async with Caller(servers, "deepgram,openai") as caller:
        await caller.keeps_silent(lambda: caller.notes)
        await caller.says(HOURS)
        await caller.keeps_silent(lambda: caller.finals)
    assert caller.finals == ["What are your opening hours?"]
    # Its client asks a second time where the connection is closed without an answer.
    assert len(servers.deepgram.asked) == (2 if kind is Kind.SHUT else 1)


async def test_a_provider_that_is_known_to_be_down_is_not_asked(servers):
    async with Caller(servers, "deepgram,offline") as caller:
        caller.availability.learn("stt", "deepgram", State.DOWN)
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
    assert caller.serving == {"stt": "offline"}
    assert servers.deepgram.asked == []


async def test_a_provider_that_is_back_takes_over_in_a_silence(servers):
    servers.deepgram.faults.add(Fault(kind=Kind.STATUS))
    async with Caller(servers, "deepgram,offline") as caller:
        await caller.keeps_silent(lambda: caller.ears.provider == "offline")
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
        caller.availability.learn("stt", "deepgram", State.UP)
        await caller.keeps_silent(lambda: caller.ears.provider == "Deepgram")
        await caller.says(HOURS)
        await caller.keeps_silent(lambda: len(caller.finals) > 1)
    assert caller.finals[-1] == "What are your opening hours?"
    assert caller.serving == {"stt": "deepgram"}
    assert [name for name, _ in caller.notes] == ["provider_failed", "provider_recovered"]


async def test_when_nobody_is_left_it_is_told_once_and_the_words_are_kept(servers):
    async with Caller(servers, "deepgram") as caller:
        await caller.keeps_silent(lambda: servers.deepgram.asked)
        servers.deepgram.faults.add(
            Fault(kind=Kind.DROP, after=0.6), Fault(kind=Kind.SHUT, times=0)
        )
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.deaf)
        assert 1.5 < caller.deaf[0] - caller.fell_silent < 2.8
        servers.deepgram.faults.clear()
        await caller.keeps_silent(lambda: caller.finals, within=10)
    assert caller.finals == [HEARD]
    assert len(caller.deaf) == 1


async def test_noise_costs_nobody_a_good_connection(servers):
    async with Caller(servers, "deepgram,offline") as caller:
        await caller.keeps_silent(lambda: caller.ears.provider)
        # The detector takes a hum for speech; nobody makes words of it.
        caller.ears.caller_is(speaking=True)
        hum = rtc.AudioFrame(b"\x40\x00\xc0\xff" * 220 + b"\0\0", RATE, 1, 441)
        for _ in range(40):
            caller.stream.push_frame(hum)
            await asyncio.sleep(FRAME)
        caller.ears.caller_is(speaking=False)
        await caller.keeps_silent(lambda: caller.ears.is_catching_up)
        await caller.keeps_silent(lambda: not caller.ears.is_catching_up)
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
    assert caller.finals == [HEARD]
    assert (caller.serving, caller.notes) == ({"stt": "deepgram"}, [])


async def test_while_the_session_hands_over_silence_nothing_is_missed(servers):
    async with Caller(servers, "deepgram,offline") as caller:
        await caller.keeps_silent(lambda: caller.ears.provider)
        caller.ears.caller_is(speaking=True)
        with contextlib.suppress(TimeoutError):
            await caller.keeps_silent(lambda: caller.ears.is_catching_up, within=2.5)
        assert not caller.ears.is_catching_up
    assert len(servers.deepgram.asked) == 1


async def test_a_break_between_two_parts_of_a_sentence_repeats_neither(servers):
    servers.deepgram.faults.add(Fault(kind=Kind.DROP, turn=2, after=0.6))
    async with Caller(servers, "deepgram,offline") as caller:
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
        await caller.says(HOURS)
        await caller.keeps_silent(lambda: len(caller.finals) > 1)
        await caller.keeps_silent(lambda: not caller.ears.is_catching_up)
    assert caller.finals == [HEARD, "What are your opening hours?"]


async def test_all_that_was_pushed_is_heard_before_the_end(servers):
    async with Caller(servers, "deepgram,offline", speed=50) as caller:
        await caller.says(QUESTION)
        caller.stream.end_input()
        async with asyncio.timeout(10):
            await caller._reading
    assert caller.finals == [HEARD]


async def test_the_framework_is_told_of_what_each_provider_used(servers):
    used = []
    async with Caller(servers, "deepgram,offline") as caller:
        caller.ears.on("metrics_collected", used.append)
        await caller.says(QUESTION)
        await caller.keeps_silent(lambda: caller.finals)
    assert {metrics.metadata.model_provider for metrics in used} == {"Deepgram"}
