"""A mistake in the settings costs one line before the start, not a call."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent import start
from agent.errors import StartError
from agent.start import check_livekit, check_ports, check_transport, prepare, with_livekit
from config import settings as module
from config.settings import load
from tests import canaries

KEYS = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": canaries.secret()}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Set variables of a process that has no others of ours."""
    kept = {"VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data")}
    monkeypatch.setattr(module.os, "environ", kept)
    return kept


def test_a_sound_configuration_is_prepared(environment, tmp_path):
    settings, personas = prepare()
    assert {"en", "ru"} <= set(personas)
    assert settings.data.folder == tmp_path / "data"
    assert list((tmp_path / "data").iterdir()) == []


def test_dotenv_is_read_where_it_is_asked_for(environment, tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("VOICE_AGENT__WORKER__MAX_CALLS=3\n")
    assert prepare()[0].worker.max_calls == 10
    assert prepare(dotenv)[0].worker.max_calls == 3


def test_wrong_settings_are_a_start_error(environment):
    environment["VOICE_AGENT__WORKER__MAX_CALS"] = "3"
    with pytest.raises(StartError, match=r"VOICE_AGENT__WORKER__MAX_CALS: .*did you mean"):
        prepare()


def test_a_missing_persona_is_named(environment):
    environment["VOICE_AGENT__PERSONAS__DEFAULT"] = "klingon"
    with pytest.raises(StartError, match=r"PERSONAS__DEFAULT: .*no persona klingon .*en, ru"):
        prepare()


def test_a_persona_without_a_provider_says_what_each_lacks(environment):
    environment["VOICE_AGENT__PERSONAS__DEFAULT"] = "ru"
    with pytest.raises(StartError, match=r"ru: .*DEEPGRAM_API_KEY.*offline speaks English only"):
        prepare()


@pytest.mark.parametrize("below", ["file/data", "file"], ids=["below a file", "a file itself"])
def test_a_data_folder_that_cannot_be_written_is_named(environment, tmp_path, below):
    # Permissions do not stop root; a file in the place of a folder does.
    (tmp_path / "file").touch()
    environment["VOICE_AGENT__DATA__FOLDER"] = str(tmp_path / below)
    with pytest.raises(StartError) as caught:
        prepare()
    told = str(caught.value)
    assert told.startswith(f"data.folder: {tmp_path / below} cannot be written (")
    assert told.endswith("set VOICE_AGENT__DATA__FOLDER")


def test_a_worker_does_not_start_on_half_a_restore(environment, tmp_path):
    environment["VOICE_AGENT__BACKUP__FOLDER"] = str(tmp_path)
    (tmp_path / "restore.journal").touch()
    with pytest.raises(StartError, match="a restore goes on or was cut off"):
        prepare()
    assert not (tmp_path / "data").exists()


def test_workers_of_one_data_folder_start_at_once(environment, tmp_path):
    environment["VOICE_AGENT__DATA__FOLDER"] = str(tmp_path / "data")
    settings, _ = prepare()
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(start._check_data_folder, [settings] * 400))
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize("variable", ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"])
def test_what_livekit_needs_is_named(variable):
    variables = {"LIVEKIT_URL": "wss://example.test", **KEYS}
    check_livekit(load(environ=variables))
    del variables[variable]
    with pytest.raises(StartError, match=f"^{variable} missing: "):
        check_livekit(load(environ=variables))


def test_all_that_is_missing_is_one_line_and_shows_another_way():
    with pytest.raises(StartError) as caught:
        check_livekit(load(environ={}))
    told = str(caught.value)
    assert told.startswith("LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET missing")
    assert "python agent.py call" in told
    assert "\n" not in told


def test_what_the_command_line_gives_is_not_missing():
    check_livekit(with_livekit(load(environ=KEYS), {"url": "wss://example.test"}))


def test_an_insecure_url_on_the_command_line_is_refused_too():
    variables = {"LIVEKIT_URL": "wss://example.test", **KEYS}
    with pytest.raises(StartError, match="in the clear"):
        check_livekit(with_livekit(load(environ=variables), {"url": "ws://example.test"}))


@pytest.mark.parametrize(
    "url",
    ["wss://example.test", "https://example.test", "ws://localhost:7880", "ws://127.0.0.1:7880",
     "http://[::1]:7880", "ws://127.8.9.10", ""],
)  # fmt: skip
def test_encrypted_and_local_urls_are_accepted(url):
    check_transport(url, allowed=False)


@pytest.mark.parametrize(
    "url",
    ["ws://example.test", "http://example.test", "ws://192.0.2.1:7880", "WS://example.test",
     "ws://localhost.example.test", "ws://[2001:db8::1]", "ws://0.0.0.0"],
)  # fmt: skip
def test_keys_are_not_sent_in_the_clear_unless_it_is_asked_for(url):
    with pytest.raises(StartError, match=r"LIVEKIT_URL: .*security\.allow_insecure_livekit"):
        check_transport(url, allowed=False)
    check_transport(url, allowed=True)


def test_an_insecure_url_in_the_settings_is_refused():
    variables = {"LIVEKIT_URL": "ws://example.test", **KEYS}
    with pytest.raises(StartError, match="in the clear"):
        check_livekit(load(environ=variables))
    variables["VOICE_AGENT__SECURITY__ALLOW_INSECURE_LIVEKIT"] = "true"
    check_livekit(load(environ=variables))


@pytest.fixture
def taken_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize("setting", ["port", "endpoints_port"])
def test_a_port_in_use_is_named_with_its_setting(taken_port, setting):
    variables = {
        "VOICE_AGENT__WORKER__PORT": "0",
        "VOICE_AGENT__WORKER__ENDPOINTS_PORT": "0",
        f"VOICE_AGENT__WORKER__{setting.upper()}": str(taken_port),
    }
    with pytest.raises(StartError) as caught:
        check_ports(load(environ=variables))
    told = str(caught.value)
    assert told.startswith(f"worker.{setting}: port {taken_port} on 127.0.0.1 cannot be used (")
    assert f"set VOICE_AGENT__WORKER__{setting.upper()}, 0 picks a free one" in told


def test_free_ports_are_fine():
    variables = {"VOICE_AGENT__WORKER__PORT": "0", "VOICE_AGENT__WORKER__ENDPOINTS_PORT": "0"}
    check_ports(load(environ=variables))


def test_an_address_that_is_not_of_this_machine_is_named():
    variables = {
        "VOICE_AGENT__WORKER__OPEN_HOST": "true",
        "VOICE_AGENT__WORKER__HOST": "192.0.2.1",
        "VOICE_AGENT__WORKER__PORT": "0",
    }
    with pytest.raises(StartError, match=r"worker\.port: port 0 on 192\.0\.2\.1 cannot be used"):
        check_ports(load(environ=variables))


def test_the_paths_of_the_checkout_do_not_depend_on_where_it_is_started(environment, monkeypatch):
    del environment["VOICE_AGENT__DATA__FOLDER"]
    monkeypatch.chdir("/")
    assert load().data.folder == Path(module.ROOT / "data")
