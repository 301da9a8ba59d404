from pathlib import Path

import pytest

from plugins.line.scenario import ScenarioError, load_scenario, recorded_caller, shipped

GOOD = """
name: tiny
about: Says hello.
steps:
  - listen: {}
  - say: hello
    expect: {fact: hello}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_small_scenario_has_sensible_defaults(tmp_path):
    scenario = load_scenario(write(tmp_path, GOOD))
    assert (scenario.persona, scenario.caller.law, scenario.caller.noise_dbfs) == (
        "en",
        "ulaw",
        -60,
    )
    assert scenario.steps[0].listen.quiet == 0.7
    assert scenario.steps[1].expect.fact == "hello"
    assert scenario.folder == tmp_path


@pytest.mark.parametrize("name", shipped())
def test_shipped_scenarios_load_under_their_own_name(name):
    assert load_scenario(name).name == name


def test_the_promised_scenarios_are_shipped():
    assert {
        "opening-hours",
        "barge-in",
        "silence",
        "hangup-mid-sentence",
        "transfer",
        "talks-over-limit",
        "hesitation",
        "backchannel",
        "human-voice",
        "latency",
    } <= set(shipped())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("say: hello", "sya: hello", "steps[1]: a step needs one of the keys listen, say, "),
        ("say: hello", "say: 5", "steps[1].say: Input should be a valid string"),
        ("say: hello", "say: [{pause: -1}]", "steps[1].say: Input should be a valid string"),
        ("fact: hello", "fakt: hello", "steps[1].expect.fakt: Extra inputs are not permitted"),
        ("listen: {}", "listen: {quiet: 0}", "steps[0].listen.quiet: Input should be greater"),
        ("listen: {}", "press: 12x", "steps[0].press: String should match pattern"),
        ("about: Says hello.", "", "about: Field required"),
        ("about:", "caller: {law: g729}\nabout:", "caller.law: Input should be 'ulaw' or 'alaw'"),
        ("about:", "caller: {noise_dbfs: -40}\nabout:", "caller.noise_dbfs: Input should be less"),
        ("name: tiny", "name: [", "not YAML: "),
        (GOOD, "- just\n- a list\n", "a scenario is a mapping"),
    ],
)
def test_a_mistake_names_file_and_field_in_one_line(tmp_path, old, new, message):
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: {message}")
    assert "\n" not in text


def test_unknown_names_and_missing_files_say_so(tmp_path):
    with pytest.raises(
        ScenarioError, match=r"no scenario 'nope': give a YAML file, or one of .*opening-hours"
    ):
        load_scenario("nope")
    missing = tmp_path / "missing.yaml"
    with pytest.raises(ScenarioError, match=r"cannot read .*missing.yaml: No such file"):
        load_scenario(missing)
    write(tmp_path, "").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ScenarioError, match=r"cannot read .*mine.yaml: "):
        load_scenario(tmp_path / "mine.yaml")


def test_a_recorded_caller_is_greeted_plays_and_listens(tmp_path):
    scenario = recorded_caller(tmp_path / "caller.wav")
    assert [type(step).__name__ for step in scenario.steps] == ["Listen", "Play", "Listen"]
    assert scenario.name == "caller"
