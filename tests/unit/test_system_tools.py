"""Tests that lack a system package: it is installed, or they are skipped and it is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import system_tools
from tests.system_tools import Tool

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of our own: `apt-get` makes a file for each package, unless it is told to fail."""
    installer = tmp_path / "bin" / "apt-get"
    installer.parent.mkdir()
    installer.write_text(
        "#!/bin/sh\n"
        f'echo "$DEBIAN_FRONTEND $*" >> {tmp_path}/log\n'
        f'if [ -e {tmp_path}/broken ]; then echo "E: no route" >&2; exit 100; fi\n'
        f'case "$*" in *install*) touch {tmp_path}/tool-a {tmp_path}/tool-b;; esac\n'
    )
    installer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{installer.parent}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


@pytest.fixture
def tools(machine):
    return {name: Tool(files=str(machine / name)) for name in ("tool-a", "tool-b")}


def asked(machine):
    log = machine / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_what_is_there_costs_nothing(machine, tools, capsys):
    (machine / "tool-a").touch()
    (machine / "tool-b").touch()
    system_tools.main(tools)
    assert capsys.readouterr().out == ""
    assert asked(machine) == []


def test_root_is_told_and_installs_what_is_missing(machine, tools, capsys):
    (machine / "tool-a").touch()
    system_tools.main(tools)
    assert capsys.readouterr().out == "tests: installing the system packages tool-b\n"
    update, install = asked(machine)
    assert update == "noninteractive -qq update"
    assert install.startswith("noninteractive -qq install --yes --no-install-recommends")
    assert install.endswith(" tool-b")


def test_what_must_be_true_before_is_made_true(machine, tools):
    prepared = []
    tools["tool-b"] = Tool(files=tools["tool-b"].files, before=lambda: prepared.append("b"))
    system_tools.main(tools)
    assert prepared == ["b"]


def test_an_installation_that_fails_fails_no_run(machine, tools, capsys):
    (machine / "broken").touch()
    system_tools.main(tools)
    assert capsys.readouterr().out.splitlines() == [
        "tests: installing the system packages tool-a, tool-b",
        "tests: E: no route",
        "tests: tool-a, tool-b could not be installed: their tests are skipped",
    ]


def test_who_is_not_root_reads_one_line(machine, tools, capsys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    system_tools.main(tools)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("tests: tool-a, tool-b not installed (not root)")
    assert asked(machine) == []


def test_a_machine_without_apt_reads_one_line(machine, tools, capsys):
    (machine / "bin" / "apt-get").unlink()
    os.environ["PATH"] = str(machine / "bin")
    system_tools.main(tools)
    (line,) = capsys.readouterr().out.splitlines()
    assert "(no apt-get)" in line


def test_a_program_on_the_path_will_do(machine):
    assert Tool(program="apt-get").is_there()
    assert not Tool(program="no-such-program").is_there()
    assert not Tool(files="/no/such/*/file").is_there()


SKIPPING = """
import pytest

@pytest.mark.needs("made-up")
def test_one(): ...

@pytest.mark.needs("made-up")
def test_two(): ...

def test_three():
    pytest.skip("PostgreSQL is not installed (package postgresql)")

@pytest.mark.livekit
def test_four():
    pytest.skip("no server")

def test_five(): ...
"""


def inner(tmp_path, source, **variables):
    """A run of pytest on `source` under the house's conftest."""
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import *\n"
        "from tests import system_tools\n"
        "system_tools.TOOLS['made-up'] = system_tools.Tool(files='/no/such/file')\n"
    )
    (tmp_path / "test_inner.py").write_text(source)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    options = ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_one_line_says_what_was_missing_and_what_it_cost(tmp_path):
    done = inner(tmp_path, SKIPPING)
    assert done.returncode == 0, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "for want of" in line]
    assert (
        line
        == "4 skipped: 2 for want of made-up, 1 for want of no server, 1 for want of postgresql"
    )
    assert "SKIPPED [" not in done.stdout


def test_strictly_a_skip_is_a_failure_except_for_servers(tmp_path):
    done = inner(tmp_path, SKIPPING, VOICE_AI_STRICT_SKIPS="1")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "STRICT_SKIPS" in line]
    for name in ("test_one", "test_two", "test_three"):
        assert f"::{name}" in line
    assert "test_four" not in line


def test_strictly_a_skipped_file_is_a_failure_too(tmp_path):
    source = "import pytest\npytest.skip('not today', allow_module_level=True)\n"
    other = tmp_path / "test_other.py"
    other.write_text("def test_it(): ...\n")
    done = inner(tmp_path, source, VOICE_AI_STRICT_SKIPS="1")
    assert done.returncode == 1, done.stdout
    assert "must not be skipped: test_inner.py" in done.stdout


def test_strictly_a_run_without_forbidden_skips_passes(tmp_path):
    source = "import pytest\n@pytest.mark.sip\ndef test_it(): pytest.skip('no server')\n"
    done = inner(tmp_path, source, VOICE_AI_STRICT_SKIPS="1")
    assert done.returncode == 0, done.stdout
