"""What waits for its transcript, and for how long it may."""

from __future__ import annotations

import pytest
from livekit import rtc

from agent.unheard import LEAD, LONGEST, QUIET_AFTER, QUIET_SPEAKING, QUIET_WHOLE, Unheard

RATE = 16000
SETTLING = 0.2
SOUND, SILENCE = b"\x10\x00" * 320, bytes(640)


class Line:
    """Audio of 20 ms a frame, on a clock that goes with it."""

    def __init__(self):
        self.now = 100.0
        self.unheard = Unheard(SETTLING, self.now)

    def passes(self, seconds, sound=SILENCE):
        for _ in range(round(seconds / 0.02)):
            self.unheard.push(rtc.AudioFrame(sound, RATE, 1, 320))
            self.now += 0.02

    def says(self, seconds):
        """Speech as the detector tells of it: late at both ends."""
        self.passes(0.1, SOUND)
        self.unheard.speaks(True, self.now)
        self.passes(seconds - 0.1, SOUND)
        self.passes(SETTLING)
        self.unheard.speaks(False, self.now)

    def is_overdue(self, *, interims=True):
        return self.unheard.is_overdue(self.now, interims=interims)


@pytest.fixture
def line():
    return Line()


def test_speech_is_kept_from_before_it_was_noticed_until_it_is_understood(line):
    line.passes(5)
    line.says(1)
    begins, frames = line.unheard.kept()
    assert begins == pytest.approx(5.1 - LEAD, abs=0.03)
    assert sum(f.duration for f in frames) == pytest.approx(1 - 0.1 + LEAD + SETTLING, abs=0.03)
    assert line.unheard.is_pending
    line.unheard.understood(6.0)
    assert not line.unheard.is_pending
    begins, _ = line.unheard.kept()
    assert begins == pytest.approx(6.0, abs=0.03)


def test_in_a_silence_only_a_moment_is_kept(line):
    line.passes(60)
    begins, frames = line.unheard.kept()
    assert begins == pytest.approx(60 - LEAD, abs=0.03)
    assert len(frames) == len(line.unheard._frames)


def test_what_is_kept_has_a_bound(line):
    line.says(LONGEST + 20)
    _, frames = line.unheard.kept()
    assert sum(frame.duration for frame in frames) == pytest.approx(LONGEST, abs=0.03)


def test_a_transcript_of_the_first_half_leaves_the_second(line):
    line.says(1)
    line.passes(0.5)
    line.says(1)
    line.unheard.understood(0.95)
    assert line.unheard.is_pending
    begins, _ = line.unheard.kept()
    assert begins + 0.02 >= 0.95
    assert begins < 1.8
    line.unheard.understood(2.65)
    assert not line.unheard.is_pending


def test_the_detector_may_hear_the_end_later_than_the_last_word_was(line):
    line.says(1.5)
    line.unheard.understood(1.1)
    assert not line.unheard.is_pending


def test_speech_that_goes_on_after_a_transcript_still_waits(line):
    line.unheard.speaks(True, line.now)
    line.passes(2, SOUND)
    line.unheard.understood(1.2)
    assert line.unheard.is_pending
    begins, _ = line.unheard.kept()
    assert begins == pytest.approx(1.2, abs=0.03)


def test_a_transcript_that_reaches_no_further_came_twice(line):
    line.says(2)
    line.unheard.understood(1.5)
    assert line.unheard.was_understood(1.5)
    assert line.unheard.was_understood(1.55)
    assert not line.unheard.was_understood(2.0)


def test_while_the_caller_speaks_words_are_due_every_two_seconds(line):
    line.unheard.speaks(True, line.now)
    line.passes(QUIET_SPEAKING - 0.1, SOUND)
    assert not line.is_overdue()
    line.unheard.word(line.now)
    line.passes(QUIET_SPEAKING - 0.1, SOUND)
    assert not line.is_overdue()
    line.passes(0.2, SOUND)
    assert line.is_overdue()
    assert not line.is_overdue(interims=False)


@pytest.mark.parametrize(("interims", "patience"), [(True, QUIET_AFTER), (False, QUIET_WHOLE)])
def test_after_the_caller_has_spoken_the_transcript_is_due(line, interims, patience):
    line.says(1)
    line.passes(patience - 0.1)
    assert not line.is_overdue(interims=interims)
    line.passes(0.2)
    assert line.is_overdue(interims=interims)
    line.unheard.understood(1.0)
    assert not line.is_overdue(interims=interims)


def test_a_click_is_no_speech(line):
    line.says(0.15)
    line.passes(5)
    assert not line.is_overdue()


def test_silence_in_the_place_of_speech_is_not_missed(line):
    # What the session hands to recognisers while the agent must not be interrupted.
    line.unheard.speaks(True, line.now)
    line.passes(3)
    assert not line.is_overdue()


def test_noise_is_waited_for_no_longer_and_not_played_again(line):
    line.passes(2)
    line.says(1)
    line.passes(2)
    line.unheard.was_noise()
    assert not line.unheard.is_pending
    begins, _ = line.unheard.kept()
    assert begins == pytest.approx(5.2 - LEAD, abs=0.03)


def test_words_that_come_late_for_what_was_taken_for_noise_are_words(line):
    line.says(1)
    line.passes(4)
    line.unheard.was_noise()
    assert not line.unheard.was_understood(1.0)


def test_a_transcript_without_times_that_comes_in_mid_speech_ends_with_it(line):
    line.unheard.speaks(True, line.now)
    line.passes(1, SOUND)
    line.unheard.understood(1.0)
    line.passes(SETTLING)
    line.unheard.speaks(False, line.now)
    assert not line.unheard.is_pending
