import json

import pytest
from typer.testing import CliRunner

from config.settings import ROOT
from config.sources import masked
from ops.config import app
from tests import canaries

SECRETS = {
    "LIVEKIT_API_SECRET": canaries.secret(),
    "DATABASE_URL": "postgresql://voice:hush/h@sh@db.test/calls",
    "REDIS_URL": "redis://:hush@cache.test:6379/0?password=hush",
    "LIVEKIT_URL": "wss://example.test",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "VOICE_AGENT_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_show_masks_secrets_and_tells_origins():
    shown = CliRunner().invoke(app, ["show"], env=SECRETS)
    rows = {line.split()[0]: line.split()[1:] for line in shown.output.splitlines() if line.strip()}

    assert shown.exit_code == 0
    assert "hush" not in shown.output
    assert rows["livekit.api_secret"] == ["set", "environment", "LIVEKIT_API_SECRET"]
    assert rows["providers.openai.api_key"] == ["not", "set", "default"]
    assert rows["store.url"][0] == "postgresql://voice:***@db.test/calls"
    assert rows["redis.url"][0] == "redis://:***@cache.test:6379/0?password=***"
    assert rows["speech.stt"][:3] == ["deepgram,", "openai,", "offline"]
    assert rows["worker.idle_processes"][0] == "null"
    assert rows["worker.drain_timeout"][0] == "3600"
    assert rows["log.level"][1].startswith("config/agent.yaml:")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://a:hush@h/d", "postgresql://a:***@h/d"),
        ("postgresql://a/b:hu@sh@h/d", "postgresql://a/b:***@h/d"),
        ("postgresql://h/d?user=a&password=hush&x=1", "postgresql://h/d?user=a&password=***&x=1"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("sqlite:///calls.db", "sqlite:///calls.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert masked(url) == shown


def test_show_for_machines_is_json_with_the_same_masks():
    shown = CliRunner().invoke(app, ["show", "--json"], env=SECRETS)
    rows = json.loads(shown.output)

    assert "hush" not in shown.output
    assert rows["livekit.api_secret"] == {
        "value": "set",
        "origin": "environment LIVEKIT_API_SECRET",
    }
    assert rows["worker.port"]["value"] == 8081
    assert rows["speech.tts"]["value"] == ["cartesia", "openai", "offline"]
    assert rows["data.folder"]["value"] == str(ROOT / "data")


def test_a_dotenv_file_is_shown_when_it_is_asked_for(tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_KEY=hush\n")

    shown = CliRunner().invoke(app, ["show", "--json", "--dotenv", str(tmp_path / ".env")])

    assert json.loads(shown.output)["providers.openai.api_key"]["value"] == "set"


def test_check_is_content_with_what_ships():
    checked = CliRunner().invoke(app, ["check"])

    assert checked.exit_code == 0
    assert checked.output == (
        "The settings, the personas (en, ru), the prices and the retry policies are right.\n"
    )


@pytest.mark.parametrize("command", ["check", "show"])
def test_wrong_settings_are_lines_on_standard_error_and_exit_code_2(command):
    env = {"VOICE_AGENT__WORKER__MAX_CALS": "3", "VOICE_AGENT__LOG__LEVEL": "loud"}

    checked = CliRunner().invoke(app, [command], env=env)

    assert checked.exit_code == 2
    assert checked.stdout == ""
    assert sorted(line.split(":")[0] for line in checked.stderr.splitlines()) == [
        "environment VOICE_AGENT__LOG__LEVEL",
        "environment VOICE_AGENT__WORKER__MAX_CALS",
    ]


def test_check_finds_a_broken_persona(tmp_path):
    (tmp_path / "en.yaml").write_text("language: en\n")

    checked = CliRunner().invoke(
        app, ["check"], env={"VOICE_AGENT__PERSONAS__FOLDER": str(tmp_path)}
    )

    assert checked.exit_code == 2
    assert "en.yaml: prompt: is required but missing" in checked.stderr


def test_a_mistake_in_the_price_book_is_a_line_on_standard_error(tmp_path):
    (tmp_path / "prices.yaml").write_text("date: 2026-11-21\nllm: {openai: {m: {}}}\n")
    environ = {"VOICE_AGENT__COSTS__PRICES": str(tmp_path / "prices.yaml")}
    checked = CliRunner().invoke(app, ["check"], env=environ)

    assert checked.exit_code == 2
    assert "prices.yaml:2: llm.openai.m.input_per_million: is required" in checked.stderr


def test_show_tells_groups_of_choices_too(tmp_path):
    file = tmp_path / "agent.yaml"
    file.write_text(
        'admission: {notation: {country_code: "7", digits: 10}}\n'
        'personas: {by_number: {"+15555550100": {persona: ru}}}\n'
    )
    environ = {"VOICE_AGENT_CONFIG": str(file)}
    rows = json.loads(CliRunner().invoke(app, ["show", "--json"], env=environ).output)

    assert rows["admission.notation"]["value"]["country_code"] == "7"
    assert rows["personas.by_number"]["value"]["+15555550100"]["persona"] == "ru"
    assert CliRunner().invoke(app, ["show"], env=environ).exit_code == 0
