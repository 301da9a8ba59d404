"""The search for canary secrets (`tests/canaries.py`) in all that a run of the tests brought out.

Searched are what pytest captured of each test (output and log), what tests read of `capsys`, of
commands in this process and of child processes, and the logs and databases that tests left in their
folders. A hit fails the run and names the test, and never the secret.

For plain pytest, too: `-p tests.canary_watch`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests import canaries

LOGS = (".log", ".jsonl", ".out", ".err", ".db", ".db-wal", ".prom")
"""How the names of files end that may hold no secret."""

LARGEST = 50_000_000
"""Bytes of a file; what is longer is not searched."""

_folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Watch(config), "canaries")


@pytest.fixture(autouse=True, scope="session")
def _canaries(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tells where the folders of the tests are."""
    request.config.stash[_folder] = tmp_path_factory.getbasetemp()


class _LogWatch(logging.Handler):
    """Looks at what is logged, with the values beside the message, which pytest does not show."""

    def __init__(self, look: Callable[[str, str], None]) -> None:
        super().__init__()
        self._look = look

    def emit(self, record: logging.LogRecord) -> None:
        self._look("log", f"{record.getMessage()} {vars(record)}")
        if record.exc_info:
            self._look("log", _PLAIN.formatException(record.exc_info))


_PLAIN = logging.Formatter()


class _Watch:
    """Looks at all output of one run of the tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._hits: dict[str, None] = {}  # a set that keeps its order
        self._test = ""
        self._taps = pytest.MonkeyPatch()
        self._taps.setattr(canaries, "watchers", [self.look])
        self._log = _LogWatch(self.look)
        logging.getLogger().addHandler(self._log)
        self._tap(pytest.CaptureFixture, "readouterr")
        self._tap(CliRunner, "invoke", lambda done: (done.stdout, done.stderr))
        self._tap(subprocess.Popen, "communicate")
        self._tap_async(asyncio.subprocess.Process, "communicate")

    def look(self, where: str, *texts: Any) -> None:
        """Remember the test and the place if there is a secret in one of the texts."""
        for text in texts:
            if isinstance(text, str | bytes) and canaries.is_in(text):
                self._hits[f"{self._test or 'outside of the tests'} ({where})"] = None

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._test = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._test = report.nodeid
        for where, text in report.sections:
            self.look(where, text)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._test = report.nodeid
        for where, text in report.sections:
            self.look(where, text)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._taps.undo()
        logging.getLogger().removeHandler(self._log)
        self._search_folders()
        if hasattr(self._config, "workeroutput"):  # one of several processes that test
            self._config.workeroutput["shown"] = list(self._hits)
        if self._hits and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear what one of several processes found."""
        self._hits |= dict.fromkeys(getattr(node, "workeroutput", {}).get("shown", ()))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for hit in self._hits:
            terminalreporter.write_line(f"a secret was shown: {hit}", red=True)

    def _search_folders(self) -> None:
        """The logs and databases below the folders that tests had."""
        base = self._config.stash.get(_folder, None)
        for folder, _, names in os.walk(base) if base else ():
            for name in names:
                path = Path(folder, name)
                if name.endswith(LOGS) and path.is_file() and path.stat().st_size <= LARGEST:
                    self._test = str(path.relative_to(base))
                    self.look("file", path.read_bytes())

    def _tap(self, owner: type, name: str, texts: Any = tuple) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        def tapped(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            self.look(f"{owner.__name__}.{name}", *texts(result))
            return result

        self._taps.setattr(owner, name, tapped)

    def _tap_async(self, owner: type, name: str) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        async def tapped(*args: Any, **options: Any) -> Any:
            result = await method(*args, **options)
            self.look(f"{owner.__name__}.{name}", *result)
            return result

        self._taps.setattr(owner, name, tapped)
