"""What is put in below the session's speech, on a line whose clock the test holds."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from livekit import rtc
from livekit.agents.voice.io import AgentOutput
from livekit.agents.voice.transcription import TranscriptSynchronizer

from agent import mouth as module
from agent.mouth import Mouth
from agent.phrases import Sound
from plugins.line.audio_output import LineOutput

RATE, FRAME = 8000, 160
OWN, REPLY = 1000, 2000


def sound(frames):
    return Sound(np.full(frames * FRAME, OWN, np.int16).tobytes(), RATE)


def frame():
    return rtc.AudioFrame(np.full(FRAME, REPLY, np.int16).tobytes(), RATE, 1, FRAME)


class Scene:
    """A mouth on a line; what the session and the watch are told."""

    def __init__(self):
        self.line = LineOutput()
        self.mouth = Mouth(self.line)
        self.heard, self.started, self.finished = [], [], []
        self.sounds = 0
        self.mouth.on_heard(self.heard.append)
        self.mouth.on_sound(self.count)
        self.mouth.on("playback_started", self.started.append)
        self.mouth.on("playback_finished", self.finished.append)
        self.tasks = []

    def count(self):
        self.sounds += 1

    async def interject(self, frames=3):
        task = asyncio.create_task(self.mouth.interject(sound(frames)))
        self.tasks.append(task)
        await self.settle()
        return task

    async def reply(self, frames=3):
        async def push():
            for _ in range(frames):
                await self.mouth.capture_frame(frame())
            self.mouth.flush()

        task = asyncio.create_task(push())
        self.tasks.append(task)
        await self.settle()
        return task

    async def play(self, frames):
        played = []
        for _ in range(frames):
            played.append(int(self.line.play()[0]))
            await self.settle()
        return played

    async def settle(self):
        for _ in range(8):
            await asyncio.sleep(0)


@pytest.fixture
async def scene():
    scene = Scene()
    yield scene
    for task in scene.tasks:
        task.cancel()


async def test_the_session_never_learns_of_what_is_interjected(scene):
    filler = await scene.interject()
    assert await scene.play(4) == [OWN, OWN, OWN, 0]
    assert filler.result() is True
    assert (scene.heard, scene.started, scene.finished) == ([], [], [])
    assert scene.mouth.captured_playout_segments == 0


async def test_a_reply_is_heard_after_the_filler_and_with_its_own_positions(scene):
    await scene.interject(2)
    await scene.reply(3)
    assert await scene.play(6) == [OWN, OWN, 0, REPLY, REPLY, REPLY]
    await scene.play(1)
    assert scene.heard == [True, False]
    (event,) = scene.finished
    assert event.playback_position == pytest.approx(0.06)
    assert not event.interrupted


async def test_every_sound_is_told_of_as_it_begins(scene):
    await scene.interject(2)
    assert scene.sounds == 0
    await scene.play(1)
    await scene.reply(2)
    assert (scene.sounds, scene.heard) == (1, [])
    await scene.play(3)
    assert (scene.sounds, scene.heard) == (2, [True])


async def test_nothing_is_put_into_a_reply(scene):
    await scene.reply(3)
    assert await scene.mouth.interject(sound(3)) is False
    assert await scene.play(4) == [REPLY, REPLY, REPLY, 0]


async def test_the_caller_breaks_the_filler_off(scene):
    filler = await scene.interject(10)
    await scene.play(2)
    scene.mouth.hush()
    await scene.settle()
    assert filler.result() is False
    assert await scene.play(1) == [0]
    await scene.reply(1)
    assert await scene.play(1) == [REPLY]


async def test_a_filler_that_is_given_up_does_not_hold_the_reply_back(scene, monkeypatch):
    async def deaf(_frame):
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(scene.line, "capture_frame", deaf)
        filler = await scene.interject(3)
        filler.cancel()
        await scene.settle()
    assert scene.mouth.is_free
    await scene.reply(1)
    assert await scene.play(1) == [REPLY]


async def test_hush_does_not_touch_a_reply(scene):
    await scene.reply(3)
    scene.mouth.hush()
    assert await scene.play(3) == [REPLY] * 3


async def test_an_interruption_of_the_session_counts_what_was_heard(scene):
    await scene.interject(1)
    await scene.reply(5)
    await scene.play(4)
    scene.mouth.clear_buffer()
    (event,) = scene.finished
    assert event.interrupted
    assert event.playback_position == pytest.approx(0.04)
    assert await scene.play(2) == [0, 0]


async def test_once_taken_over_only_what_is_interjected_is_heard(scene):
    for _ in range(3):
        await scene.mouth.capture_frame(frame())  # and then it hangs: it is never flushed
    await scene.play(2)
    assert scene.mouth.is_audible
    await asyncio.wait_for(scene.mouth.take_over(), 1)
    assert [event.interrupted for event in scene.finished] == [True]
    assert scene.heard == [True, False]
    await scene.reply(3)
    apology = await scene.interject(2)
    scene.mouth.clear_buffer()  # the session's interrupt comes late
    scene.mouth.hush()  # an apology is not broken off
    assert await scene.play(3) == [OWN, OWN, 0]
    assert apology.result() is True


async def test_waiting_for_playout_waits_for_the_reply_alone(scene):
    await scene.interject(2)
    assert (await asyncio.wait_for(scene.mouth.wait_for_playout(), 1)).playback_position == 0
    await scene.play(3)
    await scene.reply(1)
    waiting = asyncio.create_task(scene.mouth.wait_for_playout())
    await scene.play(2)
    assert (await asyncio.wait_for(waiting, 1)).playback_position == pytest.approx(0.02)


async def test_pausing_reaches_the_line(scene):
    await scene.reply(2)
    await scene.play(1)
    scene.mouth.pause()
    assert await scene.play(2) == [0, 0]
    scene.mouth.resume()
    assert await scene.play(1) == [REPLY]


async def test_it_can_be_put_under_a_session_that_has_started():
    output = AgentOutput(lambda: None, lambda: None, lambda: None)
    line = LineOutput()
    heard = TranscriptSynchronizer(next_in_chain_audio=line, next_in_chain_text=None)
    output.audio = heard.audio_output
    mouth = Mouth.under(output)
    assert output.audio is heard.audio_output
    finished = []
    output.audio.on("playback_finished", finished.append)
    filler = asyncio.create_task(mouth.interject(sound(1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [int(line.play()[0]) for _ in range(2)] == [OWN, 0]
    assert await filler is True
    await output.audio.capture_frame(frame())
    output.audio.flush()
    assert [int(line.play()[0]) for _ in range(2)] == [REPLY, 0]
    assert [event.playback_position for event in finished] == [pytest.approx(0.02)]
    await heard.aclose()


@pytest.fixture
def stall(monkeypatch):
    monkeypatch.setattr(module, "STALL", 0.02)


async def told(scene, *heard):
    async with asyncio.timeout(5):
        while scene.heard != list(heard):
            await scene.settle()


@pytest.mark.usefixtures("stall")
async def test_a_reply_that_runs_dry_is_not_audible_until_it_goes_on(scene):
    await scene.mouth.capture_frame(frame())
    await scene.play(1)
    assert scene.mouth.is_playing
    await told(scene, True, False)
    assert scene.mouth.is_stalled
    assert not scene.mouth.is_playing
    await scene.mouth.capture_frame(frame())
    assert scene.heard == [True, False, True]
    assert not scene.mouth.is_stalled
    scene.mouth.flush()
    await scene.play(2)
    assert scene.heard == [True, False, True, False]


@pytest.mark.usefixtures("stall")
async def test_the_end_of_a_reply_that_ran_dry_is_told(scene):
    await scene.mouth.capture_frame(frame())
    await scene.play(1)
    await told(scene, True, False)
    scene.mouth.flush()
    await scene.play(1)
    assert scene.heard == [True, False, False]
    assert not scene.mouth.is_stalled


@pytest.mark.usefixtures("stall")
async def test_a_pause_is_no_stall_and_the_time_after_it_counts(scene):
    await scene.mouth.capture_frame(frame())
    await scene.play(1)
    scene.mouth.pause()
    assert not scene.mouth.is_playing
    await asyncio.sleep(0.08)
    assert scene.heard == [True]
    scene.mouth.resume()
    assert scene.mouth.is_playing
    await told(scene, True, False)


@pytest.mark.usefixtures("stall")
async def test_a_reply_that_was_ended_does_not_stall(scene):
    await scene.reply(1)
    await scene.play(1)
    await asyncio.sleep(0.08)
    assert scene.heard == [True]
