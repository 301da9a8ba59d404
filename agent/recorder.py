"""The worker's own recorder: the caller on the left channel, the agent on the right.

Egress has them the other way round (`agent.egress.Kind.ROOM_AUDIO`), and neither can be told.

The framework's RecorderIO keeps the time and writes Opus in Ogg on a thread; it is put in between
below the session's speech, so that phrases that are said below the session are in it as well.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.voice.io import AudioInput, AudioOutput
from livekit.agents.voice.recorder_io import RecorderIO

from agent.egress import UNFINISHED

RATE = 16000
"""Samples a second: what a telephone carries fits twice."""

CHANNELS = 2


class Recorder:
    """Records one call from `start` on, into one file."""

    def __init__(self, session: AgentSession[Any]) -> None:
        self._io = RecorderIO(agent_session=session, sample_rate=RATE)
        self._path: Path | None = None
        self._begun = 0.0

    def hearing(self, source: AudioInput) -> AudioInput:
        """What the session shall listen to instead of `source`."""
        return self._io.record_input(source)

    def above(self, sink: AudioOutput) -> AudioOutput:
        """What shall be spoken to instead of `sink`."""
        return self._io.record_output(sink)

    async def start(self, path: Path) -> None:
        """Record from now on; the file has its name when it is finished. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}{UNFINISHED}")
        os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        self._path, self._begun = path, time.monotonic()
        await self._io.start(output_path=unfinished)

    async def stop(self) -> tuple[Path, float] | None:
        """The finished file and its seconds; None when nothing was recorded. Raises OSError."""
        if self._path is None:
            return None
        path, self._path = self._path, None
        seconds = time.monotonic() - self._begun
        await self._io.aclose()
        unfinished = path.with_name(f"{path.name}{UNFINISHED}")
        if not unfinished.stat().st_size:
            unfinished.unlink()
            raise OSError("nothing was written")
        unfinished.rename(path)
        return path, seconds
