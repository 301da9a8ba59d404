import pickle

import pytest

from config.settings import SettingsError, load


def problems_of(tmp_path, text: str = "", environ: dict[str, str] | None = None) -> list[str]:
    """What `load` says about a file, with the folder left out."""
    (tmp_path / "agent.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "agent.yaml", environ or {})
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.problems]


WRONG_FILES = [
    ("speech:\n  sst: []", "agent.yaml:2: speech.sst: unknown key, did you mean speech.stt?"),
    ("speach: {stt: []}", "agent.yaml:1: speach: unknown key, did you mean speech?"),
    ("max_calls: 3", "agent.yaml:1: max_calls: unknown key, did you mean worker.max_calls?"),
    ("log: {x: 1}", "agent.yaml:1: log.x: unknown key, known here: level, folder"),
    ("worker: {max_calls: ten}", "agent.yaml:1: worker.max_calls: expected a whole number"),
    ("worker: {max_calls: 1.5}", "agent.yaml:1: worker.max_calls: expected a whole number"),
    (
        "worker: {max_calls: yes}",
        "agent.yaml:1: worker.max_calls: expected a number, not true or false",
    ),
    (
        "worker: {max_calls: 0}",
        "agent.yaml:1: worker.max_calls: must be greater than or equal to 1",
    ),
    (
        "worker: {port: 65536}",
        "agent.yaml:1: worker.port: must be less than or equal to 65535",
    ),
    ("worker: {agent_name: ''}", "agent.yaml:1: worker.agent_name: must not be empty"),
    (
        "call: {caller_timeout: .inf}",
        "agent.yaml:1: call.caller_timeout: must be a finite number",
    ),
    (
        "security: {allow_insecure_livekit: maybe}",
        "agent.yaml:1: security.allow_insecure_livekit: expected true or false",
    ),
    (
        "log: {level: no}",
        "agent.yaml:1: log.level: expected one of debug, info, warning, error",
    ),
    (
        "log: {level: warn}",
        (
            "agent.yaml:1: log.level: expected one of debug, info, warning, error;"
            " did you mean warning?"
        ),
    ),
    (
        "speech:\n  tts:\n  - deepgram",
        "agent.yaml:2: speech.tts[0]: expected one of cartesia, openai, offline",
    ),
    ("speech: {stt: offline}", "agent.yaml:1: speech.stt: expected a list"),
    ("speech: {stt: []}", "agent.yaml:1: speech.stt: the list must not be empty"),
    (
        "speech: {stt: [offline, offline]}",
        "agent.yaml:1: speech.stt: names a provider twice",
    ),
    ("log: loud", "agent.yaml:1: log: expected a mapping (lines of `key: value`)"),
    (
        "redis: {url: 'http://h'}",
        (
            "agent.yaml:1: redis.url: expected a URL that begins with redis, rediss, unix,"
            " redis+sentinel, rediss+sentinel and ://"
        ),
    ),
    ("livekit: {url: 'ws://[h'}", "agent.yaml:1: livekit.url: not a URL"),
    (
        "worker: {host: 5}",
        "agent.yaml:1: worker.host: expected text, not a number (put it in quotes)",
    ),
    (
        "providers: {groq: {llm_model: {a: 1}}}",
        "agent.yaml:1: providers.groq.llm_model: expected text, not a mapping",
    ),
    ("- worker", "agent.yaml: expected a mapping (lines of `key: value`) at the top"),
    (
        "log:\n  level: info\n  level: debug",
        "agent.yaml:3: log.level: given twice (first in line 2)",
    ),
    ("log: {level: 2026-99-99}", "agent.yaml: not valid YAML: month must be in 1..12"),
    (
        "log: &log {level: [*log]}",
        "agent.yaml:1: log.level: expected one of debug, info, warning, error",
    ),
]


@pytest.mark.parametrize(("text", "line"), WRONG_FILES)
def test_what_is_wrong_in_the_file_is_said_in_one_line(text, line, tmp_path):
    assert problems_of(tmp_path, text) == [line]


def test_broken_yaml_names_its_line(tmp_path):
    [line] = problems_of(tmp_path, "worker:\n  port: 1\n log: {")

    assert line.startswith("agent.yaml:3: not valid YAML: ")


def test_a_file_that_is_not_text_is_said_to_be_so(tmp_path):
    (tmp_path / "agent.yaml").write_bytes(b"log: \xff")

    with pytest.raises(SettingsError, match="not UTF-8 text"):
        load(tmp_path / "agent.yaml", {})


def test_a_missing_file_is_an_error_when_it_was_asked_for(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.yaml: cannot be read: No such file"):
        load(environ={"VOICE_AGENT_CONFIG": str(tmp_path / "gone.yaml")})


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("WORKER__MAX_CALS", "3", "worker.max_cals: unknown key, did you mean worker.max_calls?"),
        ("SPEACH__STT", "offline", "speach: unknown key, did you mean speech?"),
        ("WORKER__PORT", "http", "worker.port: expected a whole number"),
        ("LOG", "info", "log: expected a mapping (lines of `key: value`)"),
        ("SPEECH__STT", "[offline", "speech.stt: not a JSON list: Expecting value at character 2"),
        (
            "SPEECH__LLM",
            "opnai",
            (
                "speech.llm[0]: expected one of openai, groq, compatible, offline;"
                " did you mean openai?"
            ),
        ),
    ],
)
def test_what_is_wrong_in_the_environment_names_the_variable(name, value, what, tmp_path):
    variable = f"VOICE_AGENT__{name}"

    assert f"environment {variable}: {what}" in problems_of(tmp_path, "", {variable: value})


def test_a_scalar_above_a_good_key_is_not_lost(tmp_path):
    environ = {"VOICE_AGENT__LOG__LEVEL": "debug"}

    assert problems_of(tmp_path, "log: loud", environ) == [
        "agent.yaml:1: log: expected a mapping (lines of `key: value`)"
    ]


def test_every_problem_is_told_at_once(tmp_path):
    lines = problems_of(tmp_path, "log: {level: loud}", {"VOICE_AGENT__WORKER__PORT": "x"})

    assert len(lines) == 2


@pytest.mark.parametrize(
    ("text", "key", "variable"),
    [
        ("livekit: {api_secret: hush}", "livekit.api_secret", "LIVEKIT_API_SECRET"),
        ("livekit: {api_key: {hush: 1}}", "livekit.api_key", "LIVEKIT_API_KEY"),
        (
            "worker: {endpoints_token: hush}",
            "worker.endpoints_token",
            "VOICE_AGENT__WORKER__ENDPOINTS_TOKEN",
        ),
        ("store: {url: 'postgresql://u:hush@h/d'}", "store.url", "DATABASE_URL"),
        ("redis: {url: 'redis://h?password=hush'}", "redis.url", "REDIS_URL"),
    ],
)
def test_secrets_are_refused_in_yaml(text, key, variable, tmp_path):
    [line] = problems_of(tmp_path, text)

    assert line.startswith(f"agent.yaml:1: {key}: a ")
    assert f"does not belong in YAML: set the environment variable {variable} or" in line
    assert "hush" not in line


@pytest.mark.parametrize("text", ["livekit: {url: !hush x}", "livekit: {url: *hush}"])
def test_broken_yaml_never_repeats_what_may_be_a_secret(text, tmp_path):
    assert "hush" not in problems_of(tmp_path, text)[0]


def test_a_mounted_secret_that_is_not_there_names_variable_and_file(tmp_path):
    environ = {"LIVEKIT_API_KEY_FILE": str(tmp_path / "gone")}

    assert problems_of(tmp_path, "", environ) == [
        (
            "environment LIVEKIT_API_KEY_FILE: livekit.api_key: gone: cannot be read:"
            " No such file or directory"
        )
    ]


def test_a_value_and_a_mounted_file_at_once_are_refused(tmp_path):
    (tmp_path / "key").write_text("k")
    environ = {"LIVEKIT_API_KEY_FILE": str(tmp_path / "key"), "LIVEKIT_API_KEY": "k"}

    assert problems_of(tmp_path, "", environ) == [
        "environment LIVEKIT_API_KEY_FILE: livekit.api_key: given without _FILE as well: keep one"
    ]


def test_a_broken_dotenv_line_is_named(tmp_path):
    (tmp_path / "agent.yaml").touch()
    (tmp_path / ".env").write_text("GROQ_API_KEY=1\nOPENAI_API_KEY: hush\n")

    with pytest.raises(SettingsError, match=r"\.env:2: expected NAME=value$"):
        load(tmp_path / "agent.yaml", {}, tmp_path / ".env")


def test_a_dotenv_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "agent.yaml").touch()
    (tmp_path / ".env").mkdir()

    with pytest.raises(SettingsError, match=r"\.env: cannot be read: Is a directory$"):
        load(tmp_path / "agent.yaml", {}, tmp_path / ".env")


def test_a_default_persona_that_is_not_there_names_those_that_are(tmp_path):
    [line] = problems_of(tmp_path, "personas:\n  default: fr")

    assert line == (
        "agent.yaml:2: personas.default: no persona fr in config/personas (there are: en, ru)"
    )


def test_a_folder_without_personas_is_an_error(tmp_path):
    [line] = problems_of(tmp_path, f"personas: {{folder: {tmp_path / 'none'}}}")

    assert line == "agent.yaml:1: personas.folder: no personas (files NAME.yaml) in none"


def test_endpoints_that_others_can_reach_need_a_token(tmp_path):
    text = "worker: {endpoints_host: 0.0.0.0}"
    [line] = problems_of(tmp_path, text)

    assert line.startswith("agent.yaml:1: worker.endpoints_host: can be reached from outside: set ")
    environ = {"VOICE_AGENT__WORKER__ENDPOINTS_TOKEN": "t"}
    assert load(tmp_path / "agent.yaml", environ).worker.endpoints_host == "0.0.0.0"


def test_the_port_of_the_framework_is_on_loopback_unless_it_is_opened_by_name(tmp_path):
    [line] = problems_of(tmp_path, "worker: {host: 0.0.0.0}")

    assert line.startswith("agent.yaml:1: worker.host: can be reached from outside, and ")
    (tmp_path / "agent.yaml").write_text("worker: {host: 0.0.0.0, open_host: true}")
    assert load(tmp_path / "agent.yaml", {}).worker.host == "0.0.0.0"
    assert load(environ={}).worker.host == "127.0.0.1"


def test_the_error_reads_as_its_lines_and_travels_between_processes():
    error = pickle.loads(pickle.dumps(SettingsError("one", "two")))

    assert error.problems == ("one", "two")
    assert str(error) == "one\ntwo"
