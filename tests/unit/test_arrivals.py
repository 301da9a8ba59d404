"""Whether the caller's audio still arrives."""

import asyncio
from types import SimpleNamespace

import pytest
from livekit import rtc
from livekit.rtc._proto import stats_pb2

from agent import arrivals, tasks
from agent.arrivals import STOPPED, Arrivals


class Now:
    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


@pytest.fixture
def now():
    return Now()


def test_a_line_that_never_brought_anything_has_not_stopped(now):
    seen = Arrivals(now)
    seen.counted(0)
    now.at += 2 * STOPPED
    assert seen.stopped_for is None


def test_packets_stop_when_their_number_stands_still(now):
    seen = Arrivals(now)
    for packets in (50, 150, 150, 150):
        seen.counted(packets)
        now.at += STOPPED / 3
    assert seen.stopped_for == pytest.approx(STOPPED)
    seen.counted(151)
    assert seen.stopped_for is None


def test_counters_that_cannot_be_read_do_not_count(now):
    seen = Arrivals(now)
    seen.counted(10)
    now.at += STOPPED
    seen.counted(0)
    assert seen.stopped_for == STOPPED


class Track:
    """Counters as the SDK gives them; an Exception in their place is raised."""

    kind = rtc.TrackKind.KIND_AUDIO

    def __init__(self, *counts):
        self._counts, self.looked = list(counts), asyncio.Event()

    async def get_stats(self):
        count = self._counts.pop(0)
        if not self._counts:
            self.looked.set()
            self._counts.append(count)
        if isinstance(count, Exception):
            raise count
        inbound = stats_pb2.RtcStats()
        inbound.inbound_rtp.received.packets_received = count
        codec = stats_pb2.RtcStats()
        codec.codec.SetInParent()
        return [codec, inbound]


async def test_the_counters_of_the_callers_audio_are_watched(monkeypatch, now):
    monkeypatch.setattr(arrivals, "LOOK", 0.001)
    track = Track(3, Exception("no handle"), 7)
    video = SimpleNamespace(kind=rtc.TrackKind.KIND_VIDEO)
    there = {"a": track, "b": None, "c": video}
    participant = SimpleNamespace(
        track_publications={key: SimpleNamespace(track=one) for key, one in there.items()}
    )
    seen = Arrivals(now)
    watching = tasks.spawn(seen.watch(participant), "watching")
    await asyncio.wait_for(track.looked.wait(), 5)
    await tasks.end(watching)
    now.at += STOPPED
    assert seen.stopped_for == STOPPED
    seen.counted(7)
    assert seen.stopped_for == STOPPED
