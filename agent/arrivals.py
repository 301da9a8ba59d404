"""Whether and how well the caller's audio arrives, by the counters of the room.

livekit-sip does not tell a lost line from a hang-up: when a telephone's packets stop, it ends the
call after its media timeout, and the room sees the caller leave as after a hang-up (seen with
livekit-sip 1.10). What tells them apart is that nothing had come from the caller for as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from livekit import rtc

from agent import log
from agent.quality import Counters, Link, Meter

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

    async def watch(
        self, room: rtc.Room, identity: str, told: Callable[[Link], None] = lambda _link: None
    ) -> None:
        """Look at the counters of the participant's audio until cancelled.

        `told` hears how good the link is, every `quality.EVERY` seconds in which audio came.
        """
        meter = Meter()
        while True:
            await asyncio.sleep(LOOK)
            stats = [one for track in _audio(room, identity) for one in await _stats(track)]
            if not stats:
                continue
            counters = count(stats)
            self.counted(counters.received)
            if (link := meter.counted(counters, self._now())) is not None:
                told(link)


def count(stats: Iterable[Any]) -> Counters:
    """The counters of what we receive, from the SDK's `RtcStats`; what is not told is 0."""
    received = lost = 0
    jitter = round_trip = 0.0
    for one in stats:
        kind = one.WhichOneof("stats")
        if kind == "inbound_rtp":
            came = one.inbound_rtp.received
            received += came.packets_received
            lost += came.packets_lost
            jitter = max(jitter, came.jitter)
        elif kind == "candidate_pair" and one.candidate_pair.candidate_pair.nominated:
            round_trip = one.candidate_pair.candidate_pair.current_round_trip_time
    return Counters(received, lost, jitter, round_trip)


def _audio(room: rtc.Room, identity: str) -> list[Any]:
    """The audio tracks of the participant, who may have come back as another object."""
    participant = room.remote_participants.get(identity)
    publications = participant.track_publications.values() if participant else ()
    tracks = (publication.track for publication in publications)
    return [track for track in tracks if track and track.kind == rtc.TrackKind.KIND_AUDIO]


async def _stats(track: rtc.Track) -> list[Any]:
    try:
        return await track.get_stats()
    except Exception as error:  # noqa: BLE001 - the SDK raises no other, as for a track that ends
        logger.debug("no counters of the caller's audio", error=str(error))
        return []
