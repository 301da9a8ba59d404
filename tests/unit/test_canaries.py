"""A secret that gets out fails the run of the tests, which then names the test."""

from __future__ import annotations

import re
import sys
import tempfile

import pytest

from tests import canaries
from tests.programs import ROOT, run

LEAKS = """
import asyncio
import logging
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from tests import canaries

SECRET = canaries.secret()
SAY = [sys.executable, "-c", "import sys; print(sys.argv[1])", SECRET]


def test_printed():
    print(f"the key is {SECRET}")


def test_standard_error():
    print(SECRET, file=sys.stderr)


def test_logged():
    logging.getLogger("a").warning("key %s", SECRET)


def test_beside_a_message():
    logging.getLogger("a").warning("refused", extra={"given": SECRET})


def test_in_an_error():
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("a").exception("refused")


def test_read_by_the_test(capsys):
    print(SECRET)
    capsys.readouterr()


def test_command():
    app = typer.Typer()
    app.command()(lambda: print(SECRET))
    CliRunner().invoke(app, [])


def test_process():
    subprocess.run(SAY, capture_output=True)


def test_async_process():
    async def talk():
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*SAY, stdout=pipe, stderr=pipe)
        await process.communicate()

    asyncio.run(talk())


def test_line_by_line():
    canaries.look("a worker", SECRET.encode())


def test_file(tmp_path):
    (tmp_path / "worker.log").write_text(SECRET)


@pytest.fixture
def told():
    yield
    print(SECRET)


def test_fixture(told):
    pass


def test_made_by_the_product():
    print(canaries.guard("vak_0123_made-by-the-product"))


def test_silent(tmp_path, capsys):
    (tmp_path / "own.key").write_text(SECRET)
    print("the key is set", len(SECRET), canaries.MARK)
    logging.getLogger("a").warning("refused %s", SECRET[:8])
    assert capsys.readouterr().out
"""
HIT = re.compile(r"a secret was shown: (?:\S+::)?(\S+?)(?:0/\S+)? \((.+)\)")


@pytest.fixture
def tested(tmp_path):
    """Run pytest with the watch on tests of its own: exit code and output."""

    def tests(code, *options):
        (tmp_path / "test_it.py").write_text(code)
        with tempfile.TemporaryDirectory() as base:  # the watch of this run must not find it
            return pytest_in(base, *options)

    def pytest_in(base, *options):
        done = run(
            *("-m", "pytest", "-q", "-p", "tests.canary_watch", "--rootdir", str(tmp_path)),
            *("-c", "/dev/null", "-p", "no:cacheprovider", "--basetemp", base),
            *(*options, str(tmp_path / "test_it.py")),
            variables={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            within=60,
        )
        return done.returncode, done.stdout + done.stderr

    return tests


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=["one", "two processes"])
def test_each_way_out_is_found_and_the_test_named(tested, options):
    code, out = tested(LEAKS, *options)
    assert code == pytest.ExitCode.TESTS_FAILED, out
    assert "14 passed" in out
    shown = set(HIT.findall(out))
    expected = {
        "test_printed": "Captured stdout call",
        "test_standard_error": "Captured stderr call",
        "test_logged": "Captured log call",
        "test_beside_a_message": "log",
        "test_in_an_error": "Captured log call",
        "test_read_by_the_test": "CaptureFixture.readouterr",
        "test_command": "CliRunner.invoke",
        "test_process": "Popen.communicate",
        "test_async_process": "Process.communicate",
        "test_line_by_line": "a worker",
        "test_file": "file",
        "test_fixture": "Captured stdout teardown",
        "test_made_by_the_product": "Captured stdout call",
    }
    assert expected.items() <= shown
    assert expected.keys() == dict(shown).keys()
    assert not canaries.is_in(out)


def test_a_run_that_tells_nothing_passes(tested):
    code, out = tested(LEAKS, "-k", "silent")
    assert (code, HIT.findall(out)) == (0, []), out


def test_what_is_printed_while_tests_are_collected_is_found(tested):
    code, out = tested(
        "from tests import canaries\nprint(canaries.secret())\ndef test_it(): pass\n"
    )
    assert code == pytest.ExitCode.TESTS_FAILED, out
    assert HIT.findall(out) == [("test_it.py", "Captured stdout")]


def test_a_canary_can_sign_and_is_another_each_time():
    assert len(canaries.secret()) >= 32
    assert canaries.secret() != canaries.secret()
    assert canaries.is_in(f"'{canaries.secret()}'".encode())
    assert not canaries.is_in(f"{canaries.MARK} {sys.executable}")
