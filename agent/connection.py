"""The worker's connection to LiveKit: kept however long the server is away, without a storm."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from agent import log
from agent.errors import ConnectionLost, LiveKitAway, StartError

logger = log.get(__name__)

FIRST, CAP = 1.0, 10.0
"""Seconds before the second attempt, and before any attempt, at most."""

ATTEMPT = 10.0
"""Seconds in which an attempt must lead to a registration: LiveKit's own limit is the same."""

STEADY = 30.0
"""Seconds that a registration must hold for the delays to begin anew."""

UNAUTHORIZED = 401


def delays(chance: random.Random) -> Iterator[float]:
    """Seconds to wait before each further attempt, without end: doubled up to CAP, less jitter.

    Half of each delay is left to `chance`, so that many workers do not come back at one moment;
    the other half bounds the attempts to 15 in the first minute, and to 12 in any later one.
    """
    ceiling = FIRST
    while True:
        yield ceiling * chance.uniform(0.5, 1.0)
        ceiling = min(CAP, ceiling * 2)


class Connection:
    """Is the worker registered, and if not, since when? `keep` makes it so again."""

    def __init__(self, give_up_after: float, chance: random.Random | None = None) -> None:
        """`give_up_after`: seconds without a registration that are too many; 0: none are."""
        self._give_up_after = give_up_after
        self._chance = chance or random.Random()
        self._away_since: float | None = None
        self._registered_at: float | None = None
        self._attempt = asyncio.Timeout(None)

    @property
    def is_registered(self) -> bool:
        """Whether LiveKit knows this worker now."""
        return self._registered_at is not None and self._away_since is None

    @property
    def away_seconds(self) -> float:
        """How long LiveKit has been away: 0 while registered, and before the first attempt."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def registered(self) -> None:
        """LiveKit took the worker. To be called from within `connect`."""
        if self._registered_at is not None:
            logger.info("LiveKit is back", away_seconds=round(self.away_seconds, 1))
        self._registered_at, self._away_since = time.monotonic(), None
        self._attempt.reschedule(None)

    async def keep(self, connect: Callable[[], Awaitable[None]]) -> None:
        """Connect again and again, until `connect` returns because the worker was closed.

        `connect` raises ConnectionLost when there is no connection or no longer one. Raises
        StartError when LiveKit refuses the key of a worker that it never knew, and LiveKitAway
        when `give_up_after` seconds have passed without a registration.
        """
        self._away_since = time.monotonic()
        pauses = delays(self._chance)
        while True:
            try:
                async with asyncio.timeout(self._at_most(ATTEMPT)) as self._attempt:
                    return await connect()
            except ConnectionLost as error:
                lost = error
            except TimeoutError:
                lost = ConnectionLost(f"no answer within {ATTEMPT:g} s")
            if self._held_for() >= STEADY:
                pauses = delays(self._chance)
            self._is_away(lost)
            pause = self._at_most(next(pauses))
            logger.warning(
                "LiveKit is away",
                error=str(lost),
                away_seconds=round(self.away_seconds, 1),
                retry_in=round(pause, 1),
            )
            await asyncio.sleep(pause)

    def _held_for(self) -> float:
        """How long the registration held that has just been lost; 0 if there was none."""
        if self._registered_at is None or self._away_since is not None:
            return 0.0
        return time.monotonic() - self._registered_at

    def _is_away(self, lost: ConnectionLost) -> None:
        if self._registered_at is None and lost.status == UNAUTHORIZED:
            raise StartError(
                "LIVEKIT_API_KEY, LIVEKIT_API_SECRET: the LiveKit server refuses them (401):"
                " set a key that it knows, with its own secret, and look at this machine's clock"
            )
        if self._away_since is None:
            self._away_since = time.monotonic()

    def _at_most(self, seconds: float) -> float:
        """`seconds`, or less when the patience ends before. Raises LiveKitAway when it has."""
        if not self._give_up_after:
            return seconds
        left = self._give_up_after - self.away_seconds
        if left <= 0:
            raise LiveKitAway(
                f"LiveKit has been away for {self.away_seconds:.0f} s"
                f" (worker.give_up_after is {self._give_up_after:g})"
            )
        return min(seconds, left)
