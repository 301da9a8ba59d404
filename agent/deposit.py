"""The worker's own recordings on their way to the store: what is finished on disk is handed over.

What counts is the file: it is removed when the store has it, and until then every start of a worker
and every RETRY seconds it is tried again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent import log, tasks
from agent.errors import ObjectStoreFailed
from agent.events import WORKER_SEQ, Event, RecordingChanged, RecordingMade
from agent.objects import Objects
from config.settings import Settings

logger = log.get(__name__)

RETRY = 60.0
"""Seconds between attempts while the store does not take files."""

OURS = re.compile(r"([0-9a-f]{32})-own\.ogg")


class Deposit:
    """Hands finished recordings over where the store is not a local folder."""

    def __init__(self, settings: Settings, keep: Callable[[Event], Awaitable[None]]) -> None:
        section = settings.recording
        self._is_needed = section.storage.kind == "s3"
        self._folder = settings.data.folder / "recordings"
        self._objects = Objects(section.storage, section.targets)
        self._keep = keep
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with what an earlier worker left."""
        if self._is_needed:
            self._task = tasks.spawn(self._hand_over(), "recordings-deposit")

    def hear(self, event: Event) -> None:
        """A call's event: perhaps there is a new file."""
        if isinstance(event, RecordingMade):
            self._news.set()

    async def aclose(self) -> None:
        """Stop; what was not handed over stays on disk for the next start."""
        await tasks.end(self._task)

    async def _hand_over(self) -> None:
        while True:
            self._news.clear()
            for path in sorted(await asyncio.to_thread(self._finished)):
                await self._put(path)
            try:
                await asyncio.wait_for(self._news.wait(), RETRY)
            except TimeoutError:
                continue

    def _finished(self) -> list[Path]:
        return [path for path in self._folder.glob("*.ogg") if OURS.fullmatch(path.name)]

    async def _put(self, path: Path) -> None:
        call_id = path.name[:32]
        try:
            uri = await self._objects.put(path, path.name)
            moved = RecordingChanged(
                call_id=call_id, seq=WORKER_SEQ + 1, recording=path.stem, uri=uri
            )
            await self._keep(moved)
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except (ObjectStoreFailed, OSError, ValueError) as error:
            logger.error(
                "a recording was not handed over",
                alert="recording",
                call=call_id,
                recording=path.stem,
                why=str(error),
                action=f"again in {RETRY:.0f} s",
            )
