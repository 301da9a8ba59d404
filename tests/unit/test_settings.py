import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import CONFIG_FILE, ROOT, Settings, load
from config.sources import ECOSYSTEM, from_dotenv


@pytest.fixture
def agent_yaml(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "agent.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_shipped_file_says_the_defaults_that_the_code_has():
    assert load(CONFIG_FILE, {}).model_dump() == Settings().model_dump()


def test_an_empty_file_leaves_the_defaults(agent_yaml):
    settings = load(agent_yaml("# nothing yet\nspeech:\n"), {})

    assert settings.model_dump() == Settings().model_dump()
    assert settings.origin("worker.max_calls") == "default"


def test_each_source_wins_over_the_one_before(agent_yaml, tmp_path):
    path = agent_yaml("worker:\n  port: 1\n  endpoints_port: 1\n  max_calls: 1\n")
    dotenv = tmp_path / ".env"
    dotenv.write_text("VOICE_AGENT__WORKER__ENDPOINTS_PORT=2\nVOICE_AGENT__WORKER__MAX_CALLS=2\n")

    worker = load(path, {"VOICE_AGENT__WORKER__MAX_CALLS": "3"}, dotenv).worker

    assert (worker.port, worker.endpoints_port, worker.max_calls) == (1, 2, 3)


def test_every_value_tells_where_it_came_from(agent_yaml, tmp_path):
    path = agent_yaml("worker:\n  max_calls: 5\n")
    dotenv = tmp_path / ".env"
    dotenv.write_text("# keys\nOPENAI_API_KEY=sk-1\n")

    settings = load(path, {"LIVEKIT_URL": "wss://example.test"}, dotenv)

    assert settings.origin("worker.max_calls") == f"{path}:2"
    assert settings.origin("livekit.url") == "environment LIVEKIT_URL"
    assert settings.origin("providers.openai.api_key") == f"{dotenv}:2 OPENAI_API_KEY"
    assert settings.origin("worker.port") == "default"


URLS = {"LIVEKIT_URL": "wss://h", "REDIS_URL": "redis://h", "DATABASE_URL": "postgresql://h/d"}


@pytest.mark.parametrize("name", ECOSYSTEM)
@pytest.mark.parametrize("mounted", [False, True], ids=["value", "file"])
def test_the_ecosystems_names_are_honoured(name, mounted, tmp_path, agent_yaml):
    given = URLS.get(name, "k-123")
    secret = tmp_path / "secret"
    secret.write_text(f"{given}\n")
    environ = {f"{name}_FILE": str(secret)} if mounted else {name: given}

    value = load(agent_yaml(""), environ)
    for part in ECOSYSTEM[name]:
        value = getattr(value, part)

    assert (value if name in URLS else value.get_secret_value()) == given


def test_our_own_name_wins_over_the_ecosystems(agent_yaml):
    environ = {"VOICE_AGENT__LIVEKIT__URL": "wss://ours", "LIVEKIT_URL": "wss://theirs"}

    assert load(agent_yaml(""), environ).livekit.url == "wss://ours"


def test_our_own_names_can_be_mounted_too(agent_yaml, tmp_path):
    (tmp_path / "token").write_text("t-1")
    environ = {"VOICE_AGENT__WORKER__ENDPOINTS_TOKEN_FILE": str(tmp_path / "token")}

    assert load(agent_yaml(""), environ).worker.endpoints_token.get_secret_value() == "t-1"


def test_an_empty_variable_counts_as_not_set_and_hides_the_dotenv_line(agent_yaml, tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("OPENAI_API_KEY=sk-1\nGROQ_API_KEY=gk-1\n")

    settings = load(agent_yaml(""), {"OPENAI_API_KEY": "", "DATABASE_URL": ""}, dotenv)

    assert not settings.providers.openai.api_key.get_secret_value()
    assert settings.providers.groq.api_key.get_secret_value() == "gk-1"
    assert settings.store.url == Settings().store.url


@pytest.mark.parametrize(
    "text", ["deepgram,offline", " deepgram , offline ", '["deepgram", "offline"]']
)
def test_lists_in_the_environment_are_json_or_separated_by_commas(text, agent_yaml):
    settings = load(agent_yaml(""), {"VOICE_AGENT__SPEECH__STT": text})

    assert settings.speech.stt == ("deepgram", "offline")


def test_deeper_sections_are_reached_from_the_environment(agent_yaml):
    environ = {"VOICE_AGENT__PROVIDERS__DEEPGRAM__BASE_URL": "ws://127.0.0.1:9/v1/listen"}

    assert load(agent_yaml(""), environ).providers.deepgram.base_url == "ws://127.0.0.1:9/v1/listen"


def test_the_environment_may_name_another_file(agent_yaml):
    path = agent_yaml("worker: {max_calls: 7}")

    assert load(environ={"VOICE_AGENT_CONFIG": str(path)}).worker.max_calls == 7


def test_the_real_environment_is_read_when_none_is_passed(agent_yaml, monkeypatch):
    monkeypatch.setenv("VOICE_AGENT__WORKER__MAX_CALLS", "6")

    assert load(agent_yaml("")).worker.max_calls == 6


def test_a_dotenv_file_is_read_only_when_it_is_asked_for(tmp_path, agent_yaml, monkeypatch):
    (tmp_path / ".env").write_text("VOICE_AGENT__WORKER__MAX_CALLS=4\n")
    monkeypatch.chdir(tmp_path)

    assert load(agent_yaml(""), {}).worker.max_calls == 10
    assert load(agent_yaml(""), {}, tmp_path / "missing").worker.max_calls == 10


def test_a_secret_in_dotenv_is_taken_as_it_stands(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("LIVEKIT_API_SECRET='a${HOME}b'\n")

    assert from_dotenv(dotenv, [])["LIVEKIT_API_SECRET"].value == "a${HOME}b"


def test_relative_paths_begin_at_the_checkout_wherever_one_stands(
    tmp_path, monkeypatch, agent_yaml
):
    monkeypatch.chdir(tmp_path)
    settings = load(agent_yaml("data: {folder: elsewhere}\nstore: {url: 'sqlite:///x/y.db'}"), {})

    assert settings.data.folder == ROOT / "elsewhere"
    assert settings.personas.folder == ROOT / "config" / "personas"
    assert settings.store.url == f"sqlite:///{ROOT}/x/y.db"


@pytest.mark.parametrize(
    "url", ["sqlite:////var/lib/calls.db", "sqlite:///:memory:", "sqlite://", "postgresql://u@h/d"]
)
def test_other_database_urls_are_left_alone(url, agent_yaml):
    assert load(agent_yaml(""), {"DATABASE_URL": url}).store.url == url


def test_settings_go_to_another_process_whole(agent_yaml):
    settings = load(agent_yaml(""), {"OPENAI_API_KEY": "sk-1"})

    arrived = pickle.loads(pickle.dumps(settings))

    assert arrived == settings
    assert arrived.providers.openai.api_key.get_secret_value() == "sk-1"
    assert arrived.origin("providers.openai.api_key") == "environment OPENAI_API_KEY"


def test_no_secret_is_in_the_representation(agent_yaml):
    environ = {"DATABASE_URL": "postgresql://u:hush@h/d", "REDIS_URL": "redis://:hush@h"}
    settings = load(agent_yaml(""), {**environ, "LIVEKIT_API_SECRET": "hush"})

    assert "hush" not in repr(settings)


def test_the_example_of_env_is_valid_and_names_every_known_variable():
    problems: list[str] = []

    names = from_dotenv(ROOT / ".env.example", problems)

    assert not problems
    assert set(names) == set(ECOSYSTEM)
    assert load(environ={}, dotenv=ROOT / ".env.example").model_dump() == Settings().model_dump()


def test_reading_settings_imports_nothing_heavy():
    code = "import sys, config.settings, config.persona; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    heavy = {
        "livekit",
        "numpy",
        "sqlalchemy",
        "rich",
        "typer",
        "asyncio",
        "agent",
        "plugins",
        "ops",
    }

    assert not heavy.intersection(modules)
