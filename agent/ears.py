"""The chain of recognisers as one, which loses nothing of what the caller said.

It takes the place of the framework's `FallbackAdapter`, which hands a new connection new audio
only. When a connection breaks or goes quiet while the caller speaks, the audio since the last
final transcript is played to a new one, faster than real time; see `EarsStream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import MutableMapping, Sequence
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer

from agent import framework, log, tasks
from agent.availability import Availability
from agent.listener import Listener, News, is_blank, words_of
from agent.relay import Relay
from agent.unheard import Unheard

logger = log.get(__name__)

TICK = 0.05
"""Seconds between two looks at what is overdue."""

PARTING = 1.0
"""Seconds for connections to close at the end of the call; a half-open one never does."""


class Ears(stt.STT[Any]):
    """Speech to text by the first provider of `chain` that can."""

    def __init__(
        self,
        chain: Sequence[tuple[str, stt.STT[Any]]],
        availability: Availability,
        serving: MutableMapping[str, str],
        settling: float,
    ) -> None:
        """`serving["stt"]` is kept at the provider that was the last to understand the caller.

        `settling` is the silence in seconds after which `caller_is` is told that speech ended.
        """
        each = [part.capabilities for _, part in chain]
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True,
                interim_results=all(able.interim_results for able in each),
                aligned_transcript=all(able.aligned_transcript for able in each)
                and each[0].aligned_transcript,
                offline_recognize=False,
            )
        )
        self.chain = dict(chain)
        self.availability = availability
        self.settling = settling
        self._serving = serving
        self._stream: EarsStream | None = None
        self._is_twin = False
        for part in self.chain.values():
            part.on("metrics_collected", self._pass_on)

    @property
    def model(self) -> str:
        """The model of the provider that listens."""
        return self.chain[self._listening].model

    @property
    def provider(self) -> str:
        """The framework's name of the provider that listens."""
        return self.chain[self._listening].provider

    @property
    def is_catching_up(self) -> bool:
        """Whether something that the caller said is being heard a second time."""
        return self._stream is not None and not self._stream.caught_up.is_set()

    @property
    def is_hearing(self) -> bool:
        """Whether a transcript may still come: its recogniser has its usual time."""
        return self._stream is not None and self._stream.is_hearing

    def twin(self) -> Ears:
        """Ears for somebody else in the same call, by the same clients.

        What they understand is not the caller's. Closing them leaves the clients open.
        """
        twin = Ears(list(self.chain.items()), self.availability, {}, self.settling)
        twin._is_twin = True
        return twin

    def caller_is(self, speaking: bool) -> None:  # noqa: FBT001 - a state
        """Tell what the voice activity detector hears: speech begins, or has ended."""
        if self._stream is not None:
            self._stream.caller_is(speaking)

    async def understood(self, within: float) -> None:
        """Return when no words of what was said are about to come, after `within` s at most.

        They are when some of it is heard a second time, is with a recogniser of whole utterances,
        or was told and is not final.
        """
        if self._stream is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stream.understood.wait(), within)

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> EarsStream:
        """Listen to the caller. One stream at a time is told of the caller's voice."""
        self._stream = EarsStream(self, language, conn_options)
        return self._stream

    async def aclose(self) -> None:
        """Close the providers' clients."""
        for part in self.chain.values():
            part.off("metrics_collected", self._pass_on)
            if not self._is_twin:
                await framework.close_recogniser(part)

    def understood_by(self, name: str) -> None:
        """The provider `name` gave a final transcript."""
        self._serving["stt"] = name

    def is_deaf(self) -> None:
        """The caller has spoken and nobody is left: the session is told, as of any failed STT.

        Once until somebody understands again; meanwhile all are tried on, and nothing is lost.
        """
        error = APIConnectionError("no recogniser is left")
        self.emit(
            "error",
            stt.STTError(timestamp=time.time(), label=self.label, error=error, recoverable=False),
        )

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        raise NotImplementedError("a call is heard by `stream`")

    @property
    def _listening(self) -> str:
        chosen = self._stream and self._stream.provider
        return chosen or next(iter(self.chain))

    def _pass_on(self, *metrics: Any) -> None:
        self.emit("metrics_collected", *metrics)


class EarsStream(stt.RecognizeStream):
    """One caller. Audio goes to every connection that is open, words come from the best.

    `Relay` decides which connections there are; here they are fed, and what they tell is told
    once.
    """

    def __init__(
        self, ears: Ears, language: NotGivenOr[str], conn_options: APIConnectOptions
    ) -> None:
        now = time.monotonic()
        self._ears = ears
        self._language = language
        self._unheard = Unheard(ears.settling, now)
        self._news: asyncio.Queue[tuple[Listener, News] | None] = asyncio.Queue()
        self._input_over = False
        self._has_interim = False
        self.understood = asyncio.Event()
        """Not set while more words of what the caller has said are about to come."""
        self.understood.set()
        self._relay = Relay(
            list(ears.chain), ears.availability, self._unheard, self._listen, ears.is_deaf
        )
        self._closing: set[asyncio.Task[None]] = set()
        super().__init__(stt=ears, conn_options=conn_options)

    @property
    def provider(self) -> str:
        """The provider that listens now; empty before the first and while there is none."""
        return self._relay.provider

    @property
    def caught_up(self) -> asyncio.Event:
        """Not set while something that the caller said is being heard a second time."""
        return self._relay.caught_up

    @property
    def is_hearing(self) -> bool:
        """Whether a transcript may still come without anything being wrong."""
        return self._relay.is_hearing(time.monotonic())

    def caller_is(self, speaking: bool) -> None:  # noqa: FBT001 - a state
        """The voice activity detector hears speech begin or end."""
        now = time.monotonic()
        self._unheard.speaks(speaking, now)
        self._look_for_words(now)

    async def _run(self) -> None:
        feeding = tasks.spawn(self._feed(), "ears-feed")
        watching = tasks.spawn(self._watch(), "ears-watch")
        try:
            while not (feeding.done() and not self._relay.listeners):
                if news := await self._news.get():
                    self._take(*news)
        finally:
            await tasks.end(feeding, watching)
            for listener in self._relay.listeners:
                self._close(listener)
            if self._closing:
                await asyncio.wait(self._closing, timeout=PARTING)
            await tasks.end(*self._closing)

    async def _feed(self) -> None:
        self._relay.begin(time.monotonic())
        async for item in self._input_ch:
            if not isinstance(item, rtc.AudioFrame):
                for listener in self._relay.listeners:
                    listener.flush()
                continue
            self._unheard.push(item)
            for listener in self._relay.listeners:
                listener.push(item)
        self._input_over = True
        for listener in self._relay.listeners:
            listener.end_input()
        self._news.put_nowait(None)

    async def _watch(self) -> None:
        while not self._input_over:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self._shed(self._relay.look(now))
            if self._has_interim and not self._unheard.is_pending:
                self._withdraw()
            self._look_for_words(now)

    def _look_for_words(self, now: float) -> None:
        if self._relay.is_awaited(now, has_interim=self._has_interim):
            self.understood.clear()
        else:
            self.understood.set()

    def _listen(self, name: str) -> Listener:
        """A connection to the provider `name` that has heard all that is still to be understood."""
        begins, frames = self._unheard.kept()
        listener = Listener(name, self._ears.chain[name], self._language, self._news.put_nowait)
        listener.begin(begins, self.start_time_offset, frames)
        return listener

    def _take(self, listener: Listener, news: News) -> None:
        now = time.monotonic()
        if listener in self._relay.listeners:
            self._learn(listener, news, now)
            self._look_for_words(now)

    def _learn(self, listener: Listener, news: News, now: float) -> None:
        if not isinstance(news, stt.SpeechEvent):
            self._close(listener)
            if self._input_over:
                self._relay.listeners.remove(listener)
            else:
                error = news or APIConnectionError("the connection was closed")
                self._relay.broke(listener, error, now)
            return
        if news.type == stt.SpeechEventType.RECOGNITION_USAGE:
            return
        self._shed(self._judge(listener, news, now))
        if not self._relay.is_trusted(listener) or is_blank(news):
            return
        if news.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            until, exact = listener.end_of(news, self.start_time_offset, self._unheard)
            if exact and self._unheard.was_understood(until):
                logger.debug("a transcript came twice", provider=listener.name)
                return
            self._unheard.understood(until)
            self._relay.look_at_backlog()
            self._ears.understood_by(listener.name)
            self._has_interim = False
        elif news.alternatives:
            self._has_interim = bool(news.alternatives[0].text)
        self._event_ch.send_nowait(news)

    def _judge(self, listener: Listener, event: stt.SpeechEvent, now: float) -> list[Listener]:
        """Who listens after this; what is returned is to be closed."""
        listener.told_at = now
        shed: list[Listener] = []
        if words_of(event):
            news = listener.is_news(event, self.start_time_offset)
            shed = self._relay.heard(listener, now, news=news)
        if listener.is_wordless(event) or listener.has_withdrawn:
            until = None
            if is_blank(event):
                until, _ = listener.end_of(event, self.start_time_offset, self._unheard)
            shed += self._relay.heard_nothing(listener, until)
        return shed

    def _withdraw(self) -> None:
        """No final transcript will come: else the session keeps the interim for a later turn."""
        self._has_interim = False
        nothing = stt.SpeechData(LanguageCode(""), "")
        self._event_ch.send_nowait(
            stt.SpeechEvent(stt.SpeechEventType.INTERIM_TRANSCRIPT, alternatives=[nothing])
        )

    def _shed(self, listeners: Sequence[Listener]) -> None:
        for listener in listeners:
            self._close(listener)

    def _close(self, listener: Listener) -> None:
        task = tasks.spawn(listener.aclose(), f"close-{listener.name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
