"""Link statistics, played in: what a room would report of a caller's audio, for simulated calls.

Loaded by the worker's forkserver (`tests.observed.stage`): the line has no packets to count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

from livekit import rtc
from livekit.rtc._proto import stats_pb2 as wire

from agent import tasks
from agent.arrivals import LOOK, Arrivals
from agent.line_leg import LineLeg
from agent.quality import Link

A_SECOND = 50
"""Packets."""

PLAYED = Link(loss=0.04, jitter=0.03, round_trip=0.16)
"""How every caller's link is. Seconds."""


class _Track:
    kind = rtc.TrackKind.KIND_AUDIO

    def __init__(self) -> None:
        self._packets = 0

    async def get_stats(self) -> list[wire.RtcStats]:
        """The counters as they are after another LOOK seconds."""
        self._packets += round(A_SECOND * LOOK)
        lost = round(self._packets * PLAYED.loss)
        inbound, pair = wire.RtcStats(), wire.RtcStats()
        came = inbound.inbound_rtp.received
        came.packets_received, came.packets_lost = self._packets - lost, lost
        came.jitter = PLAYED.jitter
        pair.candidate_pair.candidate_pair.nominated = True
        pair.candidate_pair.candidate_pair.current_round_trip_time = PLAYED.round_trip
        return [inbound, pair]


def _on_link(leg: LineLeg, told: Callable[[Link], None]) -> None:
    track = SimpleNamespace(track=_Track())
    caller = SimpleNamespace(track_publications={"TR_1": track})
    room = SimpleNamespace(remote_participants={"caller": caller})
    watching = tasks.spawn(Arrivals().watch(room, "caller", told), "played-link")
    leg.__dict__["_played"] = watching  # kept for as long as the leg


async def _aclose(leg: LineLeg, close: Callable[[LineLeg], asyncio.Future[None]]) -> None:
    await tasks.end(leg.__dict__.pop("_played", None))
    await close(leg)


def play() -> None:
    """From now on every line has such a link."""
    close = LineLeg.aclose
    LineLeg.on_link = _on_link
    LineLeg.aclose = lambda leg: _aclose(leg, close)


play()
