import numpy as np
import pytest

from plugins.line.caller import Manner, Utterance
from plugins.line.hearing import Answer, Heard, audible, audible_time, spans
from plugins.line.recording import Recording, agent_resumed, heard_latency, silenced_after
from tests.line_sounds import chain, silence, tone

NOISE = np.random.default_rng(1).normal(0, 32.8, 80000).astype(np.int16)  # -60 dBFS


def said(start: float, end: float) -> Utterance:
    return Utterance(0, "", Manner.SPEECH, start, end)


def test_audible_is_above_minus_45_dbfs():
    assert audible(tone(0.1, -44.5)).all()
    assert not audible(tone(0.1, -45.5)).any()
    assert not audible(NOISE).any()
    assert list(audible(chain(silence(0.02), tone(0.02), silence(0.01)))) == [False, True, False]
    assert len(audible(silence(0))) == 0


def test_spans_are_sample_accurate_and_bridge_short_gaps():
    sound = chain(silence(0.505), tone(0.3), silence(0.2), tone(0.1), silence(0.5), tone(0.105))
    assert [tuple(map(float, span)) for span in spans(sound, min_gap=0.3)] == [
        (pytest.approx(0.505, abs=0.001), pytest.approx(1.105, abs=0.001)),
        (pytest.approx(1.605, abs=0.001), pytest.approx(1.71, abs=0.001)),
    ]
    assert len(spans(sound, min_gap=0.1)) == 3
    assert spans(silence(1.0)) == []


def test_latency_is_from_the_last_to_the_first_audible_sample():
    caller = chain(silence(1.0), tone(1.0), silence(4.0))
    caller = caller + NOISE[: len(caller)]
    agent = chain(silence(2.437), tone(1.0), silence(2.563))
    (heard,) = heard_latency(Recording.of(caller, agent), [said(1.0, 2.0)])
    assert heard.answer is Answer.HEARD
    assert heard.latency == pytest.approx(0.437, abs=0.002)


def test_latency_counts_neither_overlaps_nor_missing_answers_nor_fillers():
    caller = chain(silence(1.0), tone(1.0), silence(1.0), tone(1.0), silence(3.0), tone(0.5))
    agent = chain(silence(1.9), tone(0.5), silence(2.1), tone(0.2), silence(0.5), tone(0.5))
    recording = Recording.of(caller, agent)
    spoken = [said(1.0, 2.0), said(3.0, 4.0), said(7.0, 7.5)]
    first, second, third = heard_latency(recording, spoken)
    assert first == Heard(Answer.OVERLAPPED)
    assert second.latency == pytest.approx(0.5, abs=0.002)
    assert third == Heard(Answer.NEVER)
    filled = heard_latency(recording, spoken, fillers=[(4.4, 4.8)])
    assert filled[1].latency == pytest.approx(1.2, abs=0.002)


def test_an_answer_after_the_next_utterance_is_not_the_answer_to_the_first():
    caller = chain(tone(1.0), silence(1.0), tone(1.0), silence(1.0))
    agent = chain(silence(3.2), tone(0.8))
    first, second = heard_latency(Recording.of(caller, agent), [said(0.0, 1.0), said(2.0, 3.0)])
    assert first.answer is Answer.NEVER
    assert second.latency == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (chain(tone(1.6), silence(1.4)), 0.6),
        (chain(tone(0.5), silence(2.5)), 0.0),
        (chain(tone(1.5), silence(0.2), tone(0.5), silence(0.8)), 1.2),
        (chain(tone(1.5), silence(0.4), tone(0.5), silence(0.6)), 0.5),
        (chain(tone(2.9), silence(0.1)), None),
        (tone(3.0), None),
    ],
)
def test_silenced_after_a_barge_in_at_one_second(agent, expected):
    assert silenced_after(Recording.of(silence(3.0), agent), 1.0) == (
        None if expected is None else pytest.approx(expected, abs=0.003)
    )


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (tone(3.0), 0.0),
        (chain(tone(1.2), silence(0.1), tone(1.7)), 0.0),
        (chain(tone(1.2), silence(0.9), tone(0.9)), 0.9),
        (chain(tone(1.2), silence(1.8)), None),
    ],
)
def test_agent_resumed_after_a_backchannel_at_one_second(agent, expected):
    assert agent_resumed(Recording.of(silence(3.0), agent), 1.0) == (
        None if expected is None else pytest.approx(expected, abs=0.003)
    )


def test_audible_time_of_a_stretch():
    assert audible_time(chain(silence(1.0), tone(0.5), silence(1.0)), 0.8, 2.0) == 0.5


def test_a_recording_survives_the_disk_with_the_caller_on_the_left(tmp_path):
    recording = Recording.of(tone(1.0), silence(0.5))
    recording.save(tmp_path / "call.wav")
    loaded = Recording.load(tmp_path / "call.wav")
    assert np.array_equal(loaded.caller, tone(1.0))
    assert not loaded.agent.any()
    assert loaded.duration == recording.duration == 1.0


def test_the_sides_of_a_recording_stay_in_step():
    with pytest.raises(ValueError, match="in step"):
        Recording().append(silence(0.02), silence(0.04))
