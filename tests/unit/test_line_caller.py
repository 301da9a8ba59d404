"""The simulated caller, tick by tick, without a clock or a line."""

import wave
from pathlib import Path

import numpy as np
import pytest

from plugins.line import speech
from plugins.line.caller import Manner, SimulatedCaller
from plugins.line.g711 import FRAME, Samples
from plugins.line.hearing import spans
from plugins.line.scenario import Scenario, ScenarioError, recorded_caller
from tests.line_sounds import chain, silence, spelled, tone


def caller_of(*steps: dict, **more) -> SimulatedCaller:
    scenario = Scenario(name="test", about="a test", steps=list(steps), **more)
    return SimulatedCaller(scenario, spelled)


def play(caller: SimulatedCaller, agent: Samples) -> tuple[Samples, list[str], float | None]:
    """What the caller says against `agent`, the keys, and when it hung up."""
    said, keys = [], []
    for start in range(0, len(agent), FRAME):
        moment = caller.tick(agent[start : start + FRAME])
        said.append(moment.samples)
        keys.append(moment.digits)
        if moment.hang_up:
            return np.concatenate(said), keys, start / 8000
    return np.concatenate(said), keys, None


def test_it_listens_until_the_agent_has_finished():
    agent = chain(silence(1.0), tone(1.0), silence(0.5), tone(0.5), silence(3.0))
    said, _, over = play(caller_of({"listen": {}}, {"say": "hello there"}), agent)
    ((start, end),) = spans(said)
    assert start == pytest.approx(3.7, abs=0.05)
    assert end - start == pytest.approx(0.4, abs=0.01)
    assert over == pytest.approx(end, abs=0.05)


def test_the_log_holds_the_true_times_and_expectations():
    steps = ({"wait": 0.5}, {"say": "one two", "expect": {"fact": "numbers"}})
    caller = caller_of(*steps)
    said, _, _ = play(caller, silence(3.0))
    (spoken,) = caller.log
    assert (spoken.start, spoken.end) == pytest.approx(spans(said)[0], abs=0.001)
    assert (spoken.step, spoken.text, spoken.manner) == (1, "one two", Manner.SPEECH)
    assert spoken.expect.fact == "numbers"


def test_a_pause_inside_an_utterance_is_as_long_as_it_says():
    caller = caller_of({"say": ["i would", {"pause": 0.8}, "like to know"]})
    said, _, _ = play(caller, silence(4.0))
    (_, first_end), (second_start, _) = spans(said)
    assert second_start - first_end == pytest.approx(0.8, abs=0.01)
    assert len(caller.log) == 1
    assert caller.log[0].text == "i would ... like to know"


def test_it_speaks_over_the_agent():
    words = {"after": 1.2, "say": "uh-huh", "kind": "backchannel"}
    caller = caller_of({"while_agent_speaks": words, "expect": {"agent": "goes_on"}})
    agent = chain(silence(0.5), tone(1.0), silence(0.2), tone(4.0))
    said, _, _ = play(caller, agent)
    assert spans(said)[0][0] == pytest.approx(1.7, abs=0.05)
    assert caller.log[0].manner is Manner.BACKCHANNEL


def test_it_hangs_up_in_mid_sentence():
    caller = caller_of({"say": "one two three four", "cut": 0.5}, {"hangup": {}}, {"say": "more"})
    said, _, over = play(caller, silence(3.0))
    assert over == pytest.approx(0.4, abs=0.03)
    assert spans(said)[0][1] == pytest.approx(0.4, abs=0.01)
    assert caller.log[0].manner is Manner.CUT


def test_it_presses_keys_one_after_the_other():
    caller = caller_of({"press": "12#", "expect": {"tool": "dtmf_pressed"}})
    _, keys, _ = play(caller, silence(2.0))
    assert [(i * 0.02, key) for i, key in enumerate(keys) if key] == [
        (0.0, "1"),
        (pytest.approx(0.22), "2"),
        (pytest.approx(0.44), "#"),
    ]
    assert (caller.keys[0].digits, caller.keys[0].at) == ("12#", 0.0)


@pytest.mark.parametrize(
    ("step", "agent", "failure"),
    [
        (
            {"listen": {"timeout": 1}},
            silence(2.0),
            "steps[0].listen: the agent was not heard within 1 s",
        ),
        (
            {"listen": {"timeout": 1}},
            tone(2.0),
            "steps[0].listen: the agent did not fall silent within 1 s",
        ),
        (
            {"silence": {"timeout": 1}},
            silence(2.0),
            "steps[0].silence: the agent did not hang up within 1 s",
        ),
        (
            {"while_agent_speaks": {"say": "stop", "after": 0.5, "timeout": 1}},
            chain(tone(0.2), silence(2.0)),
            "steps[0].while_agent_speaks: the agent did not speak for 0.5 s in 1 s",
        ),
    ],
)
def test_it_gives_up_with_the_step_and_the_reason(step, agent, failure):
    caller = caller_of(step, {"say": "never said"})
    said, _, over = play(caller, agent)
    assert caller.failure == failure
    assert over == pytest.approx(1.0, abs=0.05)
    assert spans(said) == []


def write_wav(path: Path, samples: Samples, channels: int = 1, rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def test_a_recorded_caller_is_split_at_long_silences(tmp_path):
    sound = chain(silence(0.2), tone(0.5), silence(0.4), tone(0.3), silence(1.5), tone(0.4))
    path = write_wav(tmp_path / "me.wav", sound)
    caller = SimulatedCaller(recorded_caller(path), spelled)
    play(caller, chain(tone(1.0), silence(8.0)))
    first, second = caller.log
    assert (first.end - first.start, second.end - second.start) == pytest.approx(
        (1.2, 0.4), abs=1e-3
    )
    assert second.start - first.end == pytest.approx(1.5, abs=0.001)
    assert first.manner is Manner.RECORDED


def test_files_of_other_rates_are_resampled(tmp_path):
    path = write_wav(tmp_path / "wide.wav", tone(0.5, rate=16000), rate=16000)
    caller = SimulatedCaller(recorded_caller(path), spelled)
    said, _, _ = play(caller, chain(tone(0.2), silence(2.0)))
    ((start, end),) = spans(said)
    assert end - start == pytest.approx(0.5, abs=0.005)


def test_a_file_that_cannot_be_played_is_a_clear_error(tmp_path):
    stereo = write_wav(tmp_path / "stereo.wav", tone(0.5), channels=2)
    with pytest.raises(ScenarioError, match="must be mono WAV of 16 bits"):
        SimulatedCaller(recorded_caller(stereo), spelled)
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no sound at all")
    with pytest.raises(ScenarioError, match="cannot be played"):
        SimulatedCaller(recorded_caller(noise), spelled)
    with pytest.raises(ScenarioError, match=r"no file .*missing.wav to play"):
        SimulatedCaller(recorded_caller(tmp_path / "missing.wav"), spelled)


def test_sounds_of_a_package_are_found_or_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "SOUND_FOLDERS", (tmp_path,))
    sounds = {"folder": "en_Somebody", "package": "prompts-en"}
    steps = [{"play": "hello"}]
    with pytest.raises(ScenarioError, match=r"en_Somebody/hello.wav .* Debian package prompts-en$"):
        caller_of(*steps, caller={"sounds": sounds})
    (tmp_path / "en_Somebody").mkdir()
    write_wav(tmp_path / "en_Somebody" / "hello.wav", tone(0.3))
    assert not caller_of(*steps, caller={"sounds": sounds}).log
