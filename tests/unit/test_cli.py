"""The command line as people meet it: a mistake is one line and exit code 2, never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.cli import main
from tests import canaries

ROOT = Path(__file__).parents[2]
INHERITED = {"PATH": os.environ["PATH"]}
LIVEKIT = {
    "LIVEKIT_URL": "wss://example.test",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": canaries.secret(),
}


class Done(NamedTuple):
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "agent.yaml").write_text("worker:\n  max_cals: 5\n")
    (folder / "file").touch()
    return folder


@pytest.fixture(scope="module")
def taken_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def programs(folder, taken_port):
    """Processes of their own, started together: importing the framework takes seconds."""
    data = {"VOICE_AGENT__DATA__FOLDER": str(folder / "data")}
    ports = {
        "VOICE_AGENT__WORKER__PORT": "0",
        "VOICE_AGENT__WORKER__ENDPOINTS_PORT": str(taken_port),
    }
    runs = {
        "no server": (["start"], {}),
        "unknown key": (["start"], {"VOICE_AGENT_CONFIG": str(folder / "agent.yaml")}),
        "no persona": (["start"], LIVEKIT | {"VOICE_AGENT__PERSONAS__DEFAULT": "nobody"}),
        "port in use": (["start"], LIVEKIT | ports),
        "unwritable": (["start"], {"VOICE_AGENT__DATA__FOLDER": str(folder / "file" / "data")}),
        "no scenario": (["call", "--scenario", "nonsense"], {}),
    }
    started = {
        name: subprocess.Popen(
            [sys.executable, str(ROOT / "agent.py"), *arguments],
            cwd=folder,
            env=INHERITED | data | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, (arguments, variables) in runs.items()
    }
    try:
        done = {}
        for name, process in started.items():
            stdout, stderr = process.communicate(timeout=120)
            done[name] = Done(process.returncode, stdout, stderr)
        yield done
    finally:
        for process in started.values():
            process.kill()
            process.wait()


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The same commands in this process: in an empty folder, with no other variables of ours."""

    def run(*arguments, **variables):
        data = {"VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data")}
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["agent.py", *arguments])
        monkeypatch.setattr(os, "environ", INHERITED | data | variables)
        with pytest.raises(SystemExit) as stop:
            main()
        return Done(stop.value.code or 0, *capsys.readouterr())

    return run


def refusal(done):
    """The one line with which a command refused to start."""
    assert "Traceback" not in done.stdout + done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("voice-ai: ")
    return line.removeprefix("voice-ai: ")


def test_help_lists_the_commands_and_how_to_begin(run):
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("dev", "start", "console", "connect", "download-files", "call"):
        assert f" {command} " in done.stdout
    assert "python agent.py call" in done.stdout
    assert " stage " not in done.stdout


def test_help_of_call_shows_examples_and_exit_codes(run):
    done = run("call", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("--scenario", "--persona", "--wav", "--calls", "--json", "Exit code 0 only when"):
        assert words in done.stdout


def test_the_scenarios_are_listed(run):
    done = run("call", "--list")
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert {"opening-hours", "barge-in", "silence", "transfer"} <= set(names)


def test_start_without_a_server_names_what_is_missing(programs):
    line = refusal(programs["no server"])
    assert line.startswith("LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET missing")


def test_start_does_not_read_dotenv_and_dev_does(run, tmp_path):
    (tmp_path / ".env").write_text("LIVEKIT_URL=ws://example.test\n")
    assert refusal(run("start")).startswith("LIVEKIT_URL, ")
    assert refusal(run("dev")).startswith("LIVEKIT_API_KEY, LIVEKIT_API_SECRET missing")


def test_a_url_on_the_command_line_counts(run):
    assert refusal(run("start", "--url", "wss://example.test")).startswith("LIVEKIT_API_KEY, ")


def test_an_unknown_key_in_the_settings_is_named_with_its_line(programs, folder):
    line = refusal(programs["unknown key"])
    where = f"{folder / 'agent.yaml'}:2"
    assert line == f"{where}: worker.max_cals: unknown key, did you mean worker.max_calls?"


def test_a_missing_persona_is_named(programs, run):
    call = run("call", VOICE_AGENT__PERSONAS__DEFAULT="nobody")
    for done in (programs["no persona"], call):
        line = refusal(done)
        assert "personas.default: no persona nobody" in line
        assert "there are: en, ru" in line


def test_a_port_in_use_is_named_with_its_setting(programs, taken_port):
    line = refusal(programs["port in use"])
    assert line.startswith(
        f"worker.endpoints_port: port {taken_port} on 127.0.0.1 cannot be used ("
    )
    assert line.endswith("set VOICE_AGENT__WORKER__ENDPOINTS_PORT, 0 picks a free one")


def test_a_data_folder_that_cannot_be_written_is_named(programs, run, folder):
    data = folder / "file" / "data"
    call = run("call", VOICE_AGENT__DATA__FOLDER=str(data))
    for done in (programs["unwritable"], call):
        assert refusal(done).startswith(f"data.folder: {data} cannot be written (")


def test_a_url_in_the_clear_is_refused(run):
    line = refusal(run("start", **LIVEKIT | {"LIVEKIT_URL": "ws://example.test"}))
    assert "ws:// to example.test would send keys and audio in the clear" in line


def test_a_scenario_that_is_not_there_is_named_with_those_that_are(programs):
    line = refusal(programs["no scenario"])
    assert "nonsense" in line
    assert "opening-hours" in line


def test_a_persona_that_is_not_there_is_named(run):
    assert "no persona nobody" in refusal(run("call", "--persona", "nobody"))


def test_a_recording_that_is_not_there_is_named(run, tmp_path):
    assert "missing.wav" in refusal(run("call", "--wav", str(tmp_path / "missing.wav")))


def test_an_output_folder_that_cannot_be_made_is_named(run, tmp_path):
    (tmp_path / "file").touch()
    line = refusal(run("call", "--out", str(tmp_path / "file" / "out")))
    assert line.startswith(f"--out {tmp_path / 'file' / 'out'}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["call", "--calls", "0"], "--calls"), (["call", "--colour"], "--colour"), (["sing"], "sing")],
)
def test_what_no_command_understands_is_exit_code_2(run, arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_url_that_names_no_database_we_know_is_told_in_one_line(run):
    line = refusal(run("start", **LIVEKIT, DATABASE_URL="mysql://user:hush@example.test/calls"))
    assert "DATABASE_URL" in line
    assert "hush" not in line
