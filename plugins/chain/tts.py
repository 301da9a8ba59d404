"""A voice made of several: the next one speaks on where one fails.

What was said is kept by sentences. A reply that breaks off goes on with the sentence in which it
broke, by the same provider over a new connection or by the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from livekit import rtc
from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIError,
    APIStatusError,
    APITimeoutError,
    tts,
    utils,
)
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

from plugins.chain.members import Attempts, Member, Standing
from plugins.chain.script import Progress, Script
from plugins.chain.sentences import Whole

OPTIONS = APIConnectOptions(max_retry=0, timeout=10.0)
"""For the plugins. Some read the time-out between any two messages, also while nobody asks for
speech: so the real limits are kept here."""

LEAD = 0.5
"""Seconds before what came has been heard, when a voice that fell silent is given up: the next one
is heard without a pause then."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a voice may take. Seconds."""

    first: float
    """From the first sentence to its first audio."""
    gap: float
    """Without audio that is owed for the text so far, when what came is nearly heard."""


class TTS(tts.TTS[None]):
    """Speaks with the first member that is up, and with the others where it fails.

    Streaming members must take every piece of text for a sentence (see `Whole`). The name of the
    member that speaks is written to `serving["tts"]`.
    """

    def __init__(
        self,
        members: Sequence[Member[tts.TTS[Any]]],
        *,
        standing: Standing,
        patience: Patience,
        serving: MutableMapping[str, str] | None = None,
    ) -> None:
        first = members[0].plugin
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True),
            sample_rate=first.sample_rate,
            num_channels=first.num_channels,
        )
        self.members = tuple(members)
        self.standing = standing
        self.patience = patience
        self.serving = {} if serving is None else serving
        self.rates: dict[str, float] = {}
        """Letters a second of each member, as it was heard last."""
        self._last = first
        for member in self.members:
            member.plugin.on("metrics_collected", self._pass_on)

    @property
    def model(self) -> str:
        """The model that spoke last."""
        return self._last.model

    @property
    def provider(self) -> str:
        """The provider that spoke last."""
        return self._last.provider

    def serves(self, member: Member[tts.TTS[Any]]) -> None:
        """`member` has begun to speak."""
        self._last = member.plugin
        self.serving["tts"] = member.name

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """One text by the first member alone. Replies are streamed."""
        return self.members[0].plugin.synthesize(text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> SynthesizeStream:
        """One reply; it fails with APIConnectionError where no member can speak it to its end."""
        return SynthesizeStream(tts=self, conn_options=conn_options)

    def prewarm(self) -> None:
        """Connect the first member."""
        self.members[0].plugin.prewarm()

    async def aclose(self) -> None:
        """Let the members go."""
        for member in self.members:
            member.plugin.off("metrics_collected", self._pass_on)
            await member.plugin.aclose()

    def _pass_on(self, *metrics: Any) -> None:
        self.emit("metrics_collected", *metrics)


class SynthesizeStream(tts.SynthesizeStream):
    """One reply, by as many members as it takes."""

    _tts: TTS

    async def _metrics_monitor_task(self, event_aiter: Any) -> None:
        """The members tell what they used themselves."""
        async for _ in event_aiter:
            pass

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid("chain_"),
            sample_rate=self._tts.sample_rate,
            num_channels=self._tts.num_channels,
            mime_type="audio/pcm",
            stream=True,
        )
        output_emitter.start_segment(segment_id=utils.shortuuid("chain_"))
        script = Script()
        reading = asyncio.create_task(self._read(script), name="chain-reading")
        try:
            await self._perform(script, output_emitter)
        finally:
            await utils.aio.cancel_and_wait(reading)

    async def _read(self, script: Script) -> None:
        async for piece in self._input_ch:
            if isinstance(piece, str):
                script.add(piece)
            else:
                script.end_piece()
        script.end()

    async def _perform(self, script: Script, emitter: tts.AudioEmitter) -> None:
        attempts = Attempts("tts", self._tts.members, self._tts.standing)
        renewed: set[str] = set()
        for member in attempts:
            again = True
            while again:
                again = False
                progress = Progress(script, self._tts.rates.get(member.name))
                try:
                    await self._speak(member, progress, emitter, attempts)
                except APIError as error:
                    script.said += progress.sentences_said()
                    if script.is_said:
                        return
                    again = _is_broken_line(error) and member.name not in renewed
                    renewed.add(member.name)
                    if not again:
                        attempts.failed(member, error)
                else:
                    return
        raise APIConnectionError("no voice could speak", retryable=False)

    async def _speak(
        self,
        member: Member[tts.TTS[Any]],
        progress: Progress,
        emitter: tts.AudioEmitter,
        attempts: Attempts[tts.TTS[Any]],
    ) -> None:
        """Speak the script from where it stands. Raises APIError where `member` fails."""
        script, patience = progress.script, self._tts.patience
        loop = asyncio.get_running_loop()
        resampler = _resampler(member.plugin.sample_rate, self._tts.sample_rate)
        progress.is_by_sentence = not member.plugin.capabilities.streaming
        try:
            async with (
                _streamed(member.plugin) as stream,
                asyncio.timeout(None) as deadline,
                _feeding(self._feed(script, progress, stream, deadline)),
            ):
                async for audio in stream:
                    if not progress.heard:
                        self._tts.serves(member)
                        attempts.answered(member)
                    progress.take(audio.frame, loop.time())
                    deadline.reschedule(progress.deadline(loop.time(), patience.gap, LEAD))
                    for frame in resampler.push(audio.frame) if resampler else [audio.frame]:
                        emitter.push_frame(frame)
        except TimeoutError as error:
            raise APITimeoutError(f"{member.name} is too slow") from error
        finally:
            for frame in resampler.flush() if resampler else []:
                emitter.push_frame(frame)
        if rate := progress.rate():
            self._tts.rates[member.name] = rate

    async def _feed(
        self,
        script: Script,
        progress: Progress,
        stream: tts.SynthesizeStream,
        deadline: asyncio.Timeout,
    ) -> None:
        """Give `stream` the sentences that are not said yet, as they come."""
        loop = asyncio.get_running_loop()
        async for sentence in script.left():
            self._mark_started()
            stream.push_text(sentence)
            progress.give(sentence)
            if deadline.when() is None:  # a voice that is idle may take its time to begin
                deadline.reschedule(progress.deadline(loop.time(), self._tts.patience.first, LEAD))
        stream.end_input()
        progress.is_all_given = True
        if progress.heard and not deadline.expired():
            now = loop.time()
            deadline.reschedule(progress.deadline(now, self._tts.patience.gap, LEAD))


@asynccontextmanager
async def _streamed(plugin: tts.TTS[Any]) -> AsyncIterator[tts.SynthesizeStream]:
    """A stream of `plugin`, also of one that speaks a sentence at a time."""
    adapter = None
    if not plugin.capabilities.streaming:
        plugin = adapter = tts.StreamAdapter(tts=plugin, sentence_tokenizer=Whole())
    try:
        async with plugin.stream(conn_options=OPTIONS) as stream:
            yield stream
    finally:
        if adapter:
            await adapter.aclose()


@asynccontextmanager
async def _feeding(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name="chain-feeding")
    try:
        yield
    finally:
        await utils.aio.cancel_and_wait(task)


def _resampler(rate: int, wanted: int) -> rtc.AudioResampler | None:
    return None if rate == wanted else rtc.AudioResampler(input_rate=rate, output_rate=wanted)


def _is_broken_line(error: APIError) -> bool:
    """Whether a connection ended, as a pooled one does that was left open too long.

    A provider that does not answer, or refuses in so many words, is not asked again at once.
    """
    if isinstance(error, APITimeoutError):
        return False
    if isinstance(error, APIStatusError):
        return not 400 <= error.status_code < 600  # noqa: PLR2004 - HTTP's own ranges
    return isinstance(error, APIConnectionError)
