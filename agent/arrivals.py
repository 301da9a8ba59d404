"""Whether audio of the caller still arrives: livekit-sip does not tell a lost line from a hang-up.

When a telephone's packets stop, livekit-sip ends the call after its media timeout, and the room
sees the caller leave as after a hang-up (seen with livekit-sip 1.10). What tells them apart is that
nothing had come from the caller for as long as that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from livekit import rtc

from agent import log

logger = log.get(__name__)

LOOK = 2.0
"""Seconds between two looks at the counters."""

STOPPED = 8.0
"""Seconds without a packet after which a caller who leaves is taken to be lost. Below livekit-sip's
media timeout (15 s by default), above the pauses of telephones that send no silence."""


class Arrivals:
    """Counts the packets of one caller; `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._packets = 0
        self._last: float | None = None

    def counted(self, packets: int) -> None:
        """So many packets have arrived so far."""
        if packets > self._packets:
            self._packets, self._last = packets, self._now()

    @property
    def stopped_for(self) -> float | None:
        """Seconds since packets stopped to arrive; None while they do or when none ever came."""
        if self._last is None:
            return None
        silent = self._now() - self._last
        return silent if silent >= STOPPED else None

    async def watch(self, participant: rtc.RemoteParticipant) -> None:
        """Look at the counters of the participant's audio until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            for publication in participant.track_publications.values():
                track = publication.track
                if track is not None and track.kind == rtc.TrackKind.KIND_AUDIO:
                    self.counted(await _packets(track))


async def _packets(track: rtc.Track) -> int:
    try:
        stats = await track.get_stats()
    except Exception as error:  # noqa: BLE001 - the SDK raises no other, as for a track that ends
        logger.debug("no counters of the caller's audio", error=str(error))
        return 0
    return sum(
        one.inbound_rtp.received.packets_received
        for one in stats
        if one.WhichOneof("stats") == "inbound_rtp"
    )
