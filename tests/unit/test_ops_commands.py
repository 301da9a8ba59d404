"""Every command of `python -m ops` is found by its name, and no other is loaded for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ops.__main__ import NOUNS, VERBS, app

LOADED = """
import sys
from typer.testing import CliRunner
from ops.__main__ import app
assert CliRunner().invoke(app, ["config", "--help"]).exit_code == 0
print(sorted(name for name in sys.modules if name in ("ops.bench", "ops.serve", "fastapi")))
"""


@pytest.mark.parametrize("name", [*NOUNS, *VERBS])
def test_a_command_is_found_and_tells_how_it_is_used(name):
    told = CliRunner().invoke(app, [name, "--help"])
    assert told.exit_code == 0
    assert "Usage" in told.output


def test_the_help_names_every_command():
    told = CliRunner().invoke(app, ["--help"])
    assert told.exit_code == 0
    assert [name for name in (*NOUNS, *VERBS) if f" {name} " not in told.output] == []


def test_a_command_that_there_is_not():
    assert CliRunner().invoke(app, ["nonsense"]).exit_code == 2


def test_what_is_not_asked_for_is_not_loaded():
    ran = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert ran.stdout.strip() == "[]"
