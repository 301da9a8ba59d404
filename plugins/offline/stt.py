"""Speech to text that needs no key, server or download: a small vocabulary, English."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer

from plugins.offline.endpoint import BLOCK, Edge, Endpointer
from plugins.offline.recognizer import SAMPLE_RATE, Grammar, Heard, Recognizer, Samples

BLOCK_SAMPLES = int(BLOCK * SAMPLE_RATE)
LEAD_BLOCKS = 12
"""Blocks before the start of speech that the decoder hears too: 0.24 s."""
INTERIM_BLOCKS = 10
"""An interim transcript every 0.2 s of speech, if it changed."""


class STT(stt.STT[None]):
    """Streaming speech to text by PocketSphinx: it understands the words of `phrases` only.

    `phrases` are whole sentences as callers say them (40 to 150); numbers, yes, no, hello,
    goodbye and the like are always known. Words in another order than in the phrases work, less
    surely. What sounds like nothing of it gives no transcript. For a demo and as a last resort.
    Raises ValueError for another language than English.
    """

    def __init__(self, *, phrases: Sequence[str], language: str = "en") -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True, interim_results=True, manual_flush=True
            )
        )
        self._language = LanguageCode(language)
        if self._language.language != "en":
            raise ValueError(f'offline speech to text understands English only, not "{language}"')
        self._grammar = Grammar.of(tuple(phrases))
        self._cmn = ""

    @property
    def model(self) -> str:
        """Its name in metrics and records."""
        return "pocketsphinx-en-us"

    @property
    def provider(self) -> str:
        """Who answers."""
        return "offline"

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,  # noqa: ARG002 - there is only one
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> RecognizeStream:
        """Understand a caller: push frames of any rate, read events."""
        return RecognizeStream(self, conn_options)

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,  # noqa: ARG002 - there is only one
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        async with self.stream(conn_options=conn_options) as stream:
            for frame in buffer if isinstance(buffer, list) else [buffer]:
                stream.push_frame(frame)
            stream.end_input()
            heard = [
                event.alternatives[0]
                async for event in stream
                if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
            ]
        text = " ".join(data.text for data in heard)
        confidence = min((data.confidence for data in heard), default=0.0)
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(self._language, text, confidence=confidence)],
        )


class RecognizeStream(stt.RecognizeStream):
    """One caller's speech, cut at silences; each piece becomes a final transcript."""

    def __init__(self, owner: STT, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=SAMPLE_RATE)
        self._owner = owner
        self._endpointer = Endpointer()
        self._lead: deque[Samples] = deque(maxlen=LEAD_BLOCKS)
        self._request_id = ""
        self._blocks = 0
        self._interim = ""

    async def _run(self) -> None:
        try:
            self._recognizer = Recognizer(self._owner._grammar, self._owner._cmn)  # noqa: SLF001 - its factory
        except (RuntimeError, ValueError, OSError) as error:
            raise APIConnectionError(f"PocketSphinx did not start: {error}") from error
        try:
            await self._listen()
        finally:
            self._recognizer.close()

    async def _listen(self) -> None:
        audio = utils.audio.AudioByteStream(SAMPLE_RATE, 1, BLOCK_SAMPLES)
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                for frame in audio.push(item.data):
                    self._hear(np.frombuffer(frame.data, dtype=np.int16))
            elif self._endpointer.speaking:
                self._end()
        if self._endpointer.speaking:
            self._end()

    def _hear(self, block: Samples) -> None:
        edge = self._endpointer.push(block)
        self._blocks += 1
        if edge is Edge.START:
            self._start()
        if self._endpointer.speaking or edge is Edge.END:
            self._recognizer.feed(block)
        else:
            self._lead.append(block)
        if edge is Edge.END:
            self._end()
        elif self._endpointer.speaking and self._blocks % INTERIM_BLOCKS == 0:
            self._send_interim()

    def _start(self) -> None:
        self._request_id = utils.shortuuid("offline_stt_")
        self._interim = ""
        self._recognizer.start(pause=self._blocks * BLOCK)
        self._blocks = 0
        self._send(stt.SpeechEventType.START_OF_SPEECH)
        for block in self._lead:
            self._recognizer.feed(block)
        self._lead.clear()

    def _end(self) -> None:
        ended_at = time.time() - self._endpointer.quiet_blocks * BLOCK
        self._endpointer.reset()
        spoken, self._blocks = self._blocks, 0
        heard = self._recognizer.finish()
        self._owner._cmn = self._recognizer.cmn  # noqa: SLF001 - the next stream starts from it
        if heard.text and not self._endpointer.steady:
            self._send(stt.SpeechEventType.FINAL_TRANSCRIPT, heard, ended_at)
        elif self._interim:
            # Withdrawn: else a session keeps it for a later turn.
            self._send(stt.SpeechEventType.INTERIM_TRANSCRIPT, Heard("", 0.0))
        self._send(stt.SpeechEventType.END_OF_SPEECH, speech_end_time=ended_at)
        self._event_ch.send_nowait(
            stt.SpeechEvent(
                type=stt.SpeechEventType.RECOGNITION_USAGE,
                request_id=self._request_id,
                recognition_usage=stt.RecognitionUsage(audio_duration=spoken * BLOCK),
            )
        )

    def _send_interim(self) -> None:
        guess = self._recognizer.guess()
        if guess and guess != self._interim and not self._endpointer.steady:
            self._interim = guess
            self._send(stt.SpeechEventType.INTERIM_TRANSCRIPT, Heard(guess, 0.5))

    def _send(
        self,
        kind: stt.SpeechEventType,
        heard: Heard | None = None,
        speech_end_time: float | None = None,
    ) -> None:
        data = heard and stt.SpeechData(
            self._owner._language,  # noqa: SLF001 - its factory
            heard.text,
            confidence=heard.confidence,
        )
        self._event_ch.send_nowait(
            stt.SpeechEvent(
                type=kind,
                request_id=self._request_id,
                alternatives=[data] if data else [],
                speech_end_time=speech_end_time,
            )
        )
