"""The ring of LiveKit API keys of a process that goes on while keys are rotated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic import SecretStr

from agent import log, tasks
from config.errors import SettingsError
from config.livekit_auth import KeyRing, load_ring
from config.settings import Settings

logger = log.get(__name__)

EVERY = 1.0
"""Seconds between two looks at the files."""


class LiveRing:
    """The ring as it is now. Whoever makes it starts it and closes it.

    What is wrong with a file later is logged once, and the last good ring stays. Keys of the
    environment, which do not change in a running process, are those of the start.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the ring, which may be empty. Raises SettingsError with one line a problem."""
        self._settings = settings
        self._current = load_ring(settings)
        self._wrong = ""
        self._task: asyncio.Task[None] | None = None
        self.changed: list[Callable[[KeyRing], None]] = []
        """Each is called with the new ring, in the event loop."""

    @property
    def current(self) -> KeyRing:
        """The ring of this moment."""
        return self._current

    def secret_of(self, key_id: str) -> SecretStr | None:
        """See KeyRing."""
        return self._current.secret_of(key_id)

    def credentials(self) -> tuple[str, str]:
        """See KeyRing. Raises NoKeys."""
        return self._current.credentials()

    def start(self) -> None:
        """Look at the files from now on."""
        self._task = tasks.spawn(self._watch(), "key-ring")

    async def aclose(self) -> None:
        """Look no more."""
        await tasks.end(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                ring = await asyncio.to_thread(load_ring, self._settings)
            except SettingsError as error:
                if str(error) != self._wrong:
                    logger.error("the key ring is kept as it was", why=str(error))
                self._wrong = str(error)
                continue
            self._wrong = ""
            if ring != self._current:
                self._take(ring)

    def _take(self, ring: KeyRing) -> None:
        self._current = ring
        logger.info(
            "the key ring has changed",
            signing=ring.signing.key if ring.signing else None,
            verifying=[one.key for one in ring.verifying],
        )
        for tell in self.changed:
            try:
                tell(ring)
            except Exception as error:
                logger.error("the new key ring was not taken", exc_info=error)
