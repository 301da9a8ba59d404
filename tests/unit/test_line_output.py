import numpy as np
import pytest
from livekit import rtc

from plugins.line.audio_output import LineOutput
from tests.line_sounds import frame_of, tone


class Ears:
    """An output, and what it reported."""

    def __init__(self) -> None:
        self.output = LineOutput()
        self.started = 0
        self.finished: list[tuple[float, bool]] = []
        self.output.on("playback_started", self._start)
        self.output.on("playback_finished", self._finish)

    def _start(self, _event) -> None:
        self.started += 1

    def _finish(self, event) -> None:
        self.finished.append((round(event.playback_position, 4), event.interrupted))

    async def say(self, seconds: float, *, flush: bool = True) -> None:
        await self.output.capture_frame(frame_of(tone(seconds)))
        if flush:
            self.output.flush()

    def play(self, frames: int) -> list[bool]:
        """Whether each of the next frames held sound."""
        return [bool(self.output.play().any()) for _ in range(frames)]


@pytest.fixture
async def ears():
    return Ears()


async def test_a_segment_starts_and_finishes_once_with_its_true_length(ears):
    assert ears.play(2) == [False, False]
    await ears.say(0.05)
    assert ears.started == 0
    assert ears.play(3) == [True, True, True]
    assert (ears.started, ears.finished) == (1, [])
    assert ears.play(2) == [False, False]
    assert ears.finished == [(0.05, False)]
    assert (await ears.output.wait_for_playout()).playback_position == pytest.approx(0.05)


async def test_an_open_segment_that_runs_dry_is_not_finished(ears):
    await ears.say(0.03, flush=False)
    assert ears.play(4) == [True, False, False, False]  # 10 ms wait for the rest of their frame
    await ears.say(0.01)
    assert ears.play(2) == [True, False]
    assert (ears.started, ears.finished) == (1, [(0.04, False)])


async def test_clearing_silences_at_once_and_tells_what_was_heard(ears):
    await ears.say(1.0)
    ears.play(5)
    ears.output.clear_buffer()
    ears.output.clear_buffer()
    assert ears.finished == [(0.1, True)]
    assert ears.play(2) == [False, False]
    assert (await ears.output.wait_for_playout()).interrupted


async def test_clearing_before_the_first_frame_reports_nothing_heard(ears):
    await ears.say(1.0)
    ears.output.clear_buffer()
    assert (ears.started, ears.finished) == (0, [(0.0, True)])


async def test_clearing_just_after_the_last_frame_is_no_interruption(ears):
    await ears.say(0.04)
    ears.play(2)
    ears.output.clear_buffer()
    assert ears.finished == [(0.04, False)]


async def test_the_rest_of_a_cleared_segment_is_discarded_until_its_flush(ears):
    await ears.say(0.2, flush=False)
    ears.play(2)
    ears.output.clear_buffer()
    await ears.say(0.2)
    assert ears.play(2) == [False, False]
    await ears.say(0.02)
    assert ears.play(2) == [True, False]
    assert ears.finished == [(0.04, True), (0.02, False)]


async def test_a_pause_loses_nothing_and_does_not_start_a_second_time(ears):
    await ears.say(0.1)
    ears.play(2)
    ears.output.pause()
    assert ears.output.can_pause
    assert ears.play(10) == [False] * 10
    ears.output.resume()
    assert ears.play(4) == [True, True, True, False]
    assert (ears.started, ears.finished) == (1, [(0.1, False)])


async def test_a_paused_segment_can_be_cleared(ears):
    await ears.say(0.1)
    ears.play(2)
    ears.output.pause()
    ears.output.clear_buffer()
    assert ears.finished == [(0.04, True)]


async def test_segments_queue_and_are_all_finished_by_a_clear(ears):
    await ears.say(0.04)
    await ears.say(0.04)
    await ears.say(0.04)
    assert ears.play(3) == [True, True, True]
    assert (ears.started, ears.finished) == (2, [(0.04, False)])
    ears.output.clear_buffer()
    assert ears.finished == [(0.04, False), (0.02, True), (0.0, True)]


async def test_nothing_waits_for_playback_on_a_line_that_is_gone(ears):
    await ears.say(0.1)
    ears.play(1)
    ears.output.line_gone()
    assert ears.finished == [(0.02, True)]
    await ears.say(0.1)
    assert (await ears.output.wait_for_playout()).interrupted
    assert ears.finished == [(0.02, True), (0.0, True)]


async def test_a_flush_of_nothing_reports_nothing(ears):
    ears.output.flush()
    ears.output.clear_buffer()
    assert (ears.started, ears.finished, ears.play(1)) == (0, [], [False])


async def test_other_rates_and_stereo_are_refused(ears):
    for frame in (rtc.AudioFrame(b"\0\0", 16000, 1, 1), rtc.AudioFrame(b"\0\0\0\0", 8000, 2, 1)):
        with pytest.raises(ValueError, match="8000 Hz mono"):
            await ears.output.capture_frame(frame)


async def test_samples_come_out_unchanged(ears):
    sound = tone(0.04)
    await ears.output.capture_frame(frame_of(sound[:100]))
    await ears.output.capture_frame(frame_of(sound[100:]))
    assert np.array_equal(np.concatenate([ears.output.play(), ears.output.play()]), sound)
