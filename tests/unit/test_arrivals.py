"""Whether and how well the caller's audio arrives."""

import asyncio
from types import SimpleNamespace

import pytest
from livekit import rtc
from livekit.rtc._proto import stats_pb2

from agent import arrivals, tasks
from agent.arrivals import LOOK, STOPPED, Arrivals, count
from agent.quality import Counters, Link


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


def inbound(received, lost=0, jitter=0.0):
    stats = stats_pb2.RtcStats()
    came = stats.inbound_rtp.received
    came.packets_received, came.packets_lost, came.jitter = received, lost, jitter
    return stats


def pair(seconds, *, nominated=True):
    stats = stats_pb2.RtcStats()
    pair = stats.candidate_pair.candidate_pair
    pair.nominated, pair.current_round_trip_time = nominated, seconds
    return stats


def codec():
    stats = stats_pb2.RtcStats()
    stats.codec.SetInParent()
    return stats


class Track:
    """Counters as the SDK gives them; an Exception in their place is raised."""

    kind = rtc.TrackKind.KIND_AUDIO

    def __init__(self, *looks):
        self._looks, self.looked = list(looks), asyncio.Event()

    async def get_stats(self):
        told = self._looks.pop(0)
        if not self._looks:
            self.looked.set()
            self._looks.append(told)
        if isinstance(told, Exception):
            raise told
        return [codec(), *told]


def room_with(**tracks):
    publications = {key: SimpleNamespace(track=one) for key, one in tracks.items()}
    caller = SimpleNamespace(track_publications=publications)
    return SimpleNamespace(remote_participants={"caller": caller})


@pytest.fixture
async def watch(monkeypatch, now):
    """Looks at a track to its last counters, one look every LOOK seconds of the clock."""
    monkeypatch.setattr(arrivals, "LOOK", 0.0)

    async def watch(track, **others):
        def stats():
            now.at += LOOK
            return real()

        real, track.get_stats = track.get_stats, stats
        links, seen = [], Arrivals(now)
        watching = tasks.spawn(
            seen.watch(room_with(caller=track, **others), "caller", links.append), "watching"
        )
        await asyncio.wait_for(track.looked.wait(), 5)
        await tasks.end(watching)
        return seen, links

    return watch


async def test_the_counters_of_the_callers_audio_are_watched(watch, now):
    video = SimpleNamespace(kind=rtc.TrackKind.KIND_VIDEO)
    seen, _ = await watch(
        Track([inbound(3)], Exception("no handle"), [inbound(7)]), b=None, c=video
    )
    now.at += STOPPED
    assert seen.stopped_for >= STOPPED
    seen.counted(7)
    assert seen.stopped_for >= STOPPED


def test_what_the_room_reports_is_read():
    found = count([codec(), inbound(500, 20, 0.004), pair(9.0, nominated=False), pair(0.05)])
    assert found == Counters(500, 20, 0.004, 0.05)
    assert count([]) == Counters()


async def test_the_link_is_measured_every_ten_seconds(watch):
    looks = [[inbound(100 * n, 4 * n, 0.01), pair(0.1)] for n in range(1, 12)]
    _, links = await watch(Track(*looks))
    assert links == [Link(20 / 520, pytest.approx(0.01), 0.1)] * 2


async def test_nothing_is_measured_while_nothing_is_reported_or_sent(watch):
    silent = [[inbound(100)]] * 8
    _, links = await watch(Track(*silent, *[Exception("gone")] * 8))
    assert links == []


async def test_a_new_track_is_measured_by_itself(watch):
    before = [[inbound(100 * n)] for n in range(50, 54)]
    after = [[inbound(100 * n, 100 * n)] for n in range(1, 8)]
    _, links = await watch(Track(*before, *after))
    assert links == [Link(0.5, 0.0)]


async def test_a_caller_who_is_away_is_waited_for(monkeypatch, now):
    monkeypatch.setattr(arrivals, "LOOK", 0.0)
    room = SimpleNamespace(remote_participants={})
    seen = Arrivals(now)
    watching = tasks.spawn(seen.watch(room, "caller"), "watching")
    for _ in range(5):
        await asyncio.sleep(0)
    track = Track([inbound(5)])
    room.remote_participants = room_with(a=track).remote_participants
    await asyncio.wait_for(track.looked.wait(), 5)
    await tasks.end(watching)
    now.at += STOPPED
    assert seen.stopped_for == STOPPED
