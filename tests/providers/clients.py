"""The product's own STT, LLM and TTS pointed at the stand-ins, and what a test asks of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, function_tool, llm, stt, tts
from livekit.agents.utils import http_context

from agent import assistant, speech
from agent.availability import Availability
from agent.ears import Ears
from config.settings import load
from plugins import offline
from tests.providers import Providers
from tests.providers.ears import personas

CALM = APIConnectOptions(max_retry=0, timeout=10)


@dataclass
class Outcome:
    """What came before the end or the failure."""

    got: list[Any] = field(default_factory=list)
    error: APIError | None = None

    async def take(self, items: AsyncIterator[Any]) -> Self:
        """Take all there is. Only an APIError is an outcome."""
        try:
            async for item in items:
                self.got.append(item)
        except APIError as error:
            self.error = error
        return self


class Clients:
    """The plugins as `agent.speech` makes them: an async context manager beside the servers."""

    def __init__(self, servers: Providers) -> None:
        self.standing = Availability()
        self._servers = servers
        self._made: list[Any] = []
        self._http = http_context.open()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for part in self._made:
            await part.aclose()
            if wrapped := getattr(part, "wrapped_stt", None):
                # The plugin does not close its client: in the product a job's process ends.
                await wrapped._client.close()
        await self._http.__aexit__(None, None, None)

    def of(self, kind: str, name: str, persona: str = "en") -> Any:
        """The plugin of the provider `name` of the kind stt, llm or tts."""
        made = self.chain(kind, name, persona)
        if isinstance(made, Ears):
            return made.chain[name]
        return made if kind == "stt" else made.members[0].plugin

    def chain(self, kind: str, names: str, persona: str = "en", **limits: float) -> Any:
        """The chain of the providers `names` (with commas) of the kind stt, llm or tts."""
        chosen = {f"VOICE_AGENT__SPEECH__{kind.upper()}": names}
        settings = load(environ=self._servers.variables | chosen)
        who = personas()[persona]
        who = who.model_copy(update={"limits": who.limits.model_copy(update=limits)})
        parts = speech.build(settings, who, speech.hearing(settings), self.standing)
        self._made += [parts.stt, parts.llm, parts.tts]
        return getattr(parts, kind)


def frames(
    text: str, lead: float = 0.3, tail: float = 0.6, voice: str = "en-us"
) -> Iterator[rtc.AudioFrame]:
    """Somebody says `text`, with seconds of silence around it: frames of 20 ms."""
    rate = offline.SAMPLE_RATE
    before, after = (np.zeros(int(seconds * rate), np.int16) for seconds in (lead, tail))
    samples = np.concatenate((before, offline.synthesize(text, voice, 150), after))
    for at in range(0, len(samples), rate // 50):
        piece = samples[at : at + rate // 50]
        yield rtc.AudioFrame(piece.tobytes(), rate, 1, len(piece))


async def hear(
    recogniser: stt.STT[Any],
    sound: Iterable[rtc.AudioFrame],
    options: APIConnectOptions = CALM,
    *,
    last: stt.SpeechEventType = stt.SpeechEventType.END_OF_SPEECH,
    count: int = 1,
    within: float = 10.0,
) -> Outcome:
    """The events of a recogniser that hears `sound` at once, up to so many of the `last` kind.

    What it has not told `within` seconds is not waited for.
    """
    heard = Outcome()
    async with recogniser.stream(conn_options=options) as stream:
        for frame in sound:
            stream.push_frame(frame)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await heard.take(until(stream, last, count))
    return heard


async def until(
    stream: stt.RecognizeStream, last: stt.SpeechEventType, count: int = 1
) -> AsyncIterator[stt.SpeechEvent]:
    """The next events, up to so many of the `last` kind."""
    async for event in stream:
        yield event
        count -= event.type == last
        if not count:
            return


def finals(heard: Outcome) -> list[str]:
    """The final transcripts."""
    kind = stt.SpeechEventType.FINAL_TRANSCRIPT
    return [event.alternatives[0].text for event in heard.got if event.type == kind]


async def ask(
    mind: llm.LLM[Any],
    *messages: str,
    offered: Iterable[str] = (),
    persona: str = "en",
    options: APIConnectOptions = CALM,
) -> Outcome:
    """The chunks of an answer to the caller's messages."""
    context = llm.ChatContext.empty()
    context.add_message(role="system", content=assistant.instructions(personas()[persona]))
    for message in messages:
        context.add_message(role="user", content=message)
    tools: list[llm.Tool] = [
        function_tool(_act, name=name, description="A tool of the test.") for name in offered
    ]
    async with mind.chat(chat_ctx=context, tools=tools, conn_options=options) as stream:
        return await Outcome().take(stream)


def text(answer: Outcome) -> str:
    """What an answer says."""
    return "".join(chunk.delta.content or "" for chunk in answer.got if chunk.delta)


def calls(answer: Outcome) -> list[tuple[str, str]]:
    """The tools that an answer calls, and their arguments."""
    return [
        (c.name, c.arguments) for chunk in answer.got if chunk.delta for c in chunk.delta.tool_calls
    ]


async def reply(voice: tts.TTS[Any], *sentences: str, options: APIConnectOptions = CALM) -> Outcome:
    """The audio of a reply that is spoken as it is written."""
    async with voice.stream(conn_options=options) as stream:
        for sentence in sentences:
            stream.push_text(f"{sentence} ")
        stream.end_input()
        return await Outcome().take(stream)


async def phrase(voice: tts.TTS[Any], said: str, options: APIConnectOptions = CALM) -> Outcome:
    """The audio of a text that is known as a whole."""
    async with voice.synthesize(said, conn_options=options) as stream:
        return await Outcome().take(stream)


def seconds(sound: Outcome) -> float:
    """How long it is."""
    return float(sum(audio.frame.duration for audio in sound.got))


def loudness(sound: Outcome) -> float:
    """Its level in dBFS (root mean square)."""
    pieces = [np.frombuffer(audio.frame.data, np.int16) for audio in sound.got]
    power = np.mean(np.square(np.concatenate(pieces), dtype=float))
    return float(10 * np.log10(power / 32768**2))


async def _act() -> None:
    pass
