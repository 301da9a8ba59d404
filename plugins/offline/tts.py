"""Text to speech that needs no key, server or download: eSpeak NG (GPL-3) in this process."""

from __future__ import annotations

import asyncio

from livekit.agents import APIConnectOptions, APIError, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

from plugins.offline import espeak

FRAME_MS = 20
SILENCE = bytes(2 * espeak.SAMPLE_RATE * FRAME_MS // 1000)
"""What is said to a text without words ("..."), which the framework takes for a failure else."""


class TTS(tts.TTS[None]):
    """Speaks a sentence at a time, in any voice of eSpeak NG ("en-us", "en-us+f3", "ru").

    `speed` is words a minute.
    """

    def __init__(self, *, voice: str = "en-us", speed: int = 165) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=espeak.SAMPLE_RATE,
            num_channels=1,
        )
        self.voice = voice
        self.speed = speed

    @property
    def model(self) -> str:
        """Its name in metrics and records."""
        return f"espeak-ng {self.voice}"

    @property
    def provider(self) -> str:
        """Who answers."""
        return "offline"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> ChunkedStream:
        """Speak one text."""
        return ChunkedStream(tts=self, input_text=text, conn_options=conn_options)


class ChunkedStream(tts.ChunkedStream):
    """The audio of one text."""

    _tts: TTS

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        """Raises APIError, not worth a retry: the same text and voice would fail again."""
        try:
            samples = await asyncio.to_thread(
                espeak.synthesize, self._input_text, self._tts.voice, self._tts.speed
            )
        except espeak.EspeakError as error:
            raise APIError(str(error), retryable=False) from error
        output_emitter.initialize(
            request_id=utils.shortuuid("offline_tts_"),
            sample_rate=espeak.SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            frame_size_ms=FRAME_MS,
        )
        output_emitter.push(samples.tobytes() or SILENCE)
        output_emitter.flush()
