"""What all tests share: which system tools they need, and an honest account of what was skipped.

A test says `@pytest.mark.needs("postgresql")` for a package of `tests/system_tools.py`. With
VOICE_AI_STRICT_SKIPS=1, any skip other than of tests marked `livekit` or `sip` fails the run.
"""

from __future__ import annotations

import os
import re
from collections import Counter

import pytest

from tests.system_tools import TOOLS

pytest_plugins = ["tests.canary_watch"]

MAY_SKIP = {"livekit", "sip"}
REAL_TIME = {"integration", "acceptance"}
"""Folders of tests with processes and audio that run by the clock. A busy machine can starve one of
them: it is run once more, and the summary names it (RERUN). What fails twice has failed."""
CLOCKED = "clocked"
"""The group of tests whose audio or time limits run by the clock. With several processes of tests
(pytest -n) one has them all, one after another, and the others are nicer than it."""
NICER = 10
NAMED = 5
"""Skipped tests that the line about forbidden skips names, at most."""

forbidden = pytest.StashKey[list[str]]()


@pytest.fixture(autouse=True)
def environment():
    """What a command under test puts into the environment is gone with the test."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def pytest_configure(config):
    config.stash[forbidden] = []


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name in REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=1))
        is_clocked = item.get_closest_marker(CLOCKED)
        item.add_marker(pytest.mark.xdist_group(CLOCKED if is_clocked else item.path.name))
    items.sort(key=lambda item: not item.get_closest_marker(CLOCKED))


def pytest_runtest_setup(item):
    is_one_of_several = "PYTEST_XDIST_WORKER" in os.environ
    if is_one_of_several and not item.get_closest_marker(CLOCKED):
        os.setpriority(os.PRIO_PROCESS, 0, NICER)
    for mark in item.iter_markers("needs"):
        for package in mark.args:
            if not TOOLS[package].is_there():
                pytest.skip(f"not installed (package {package})")


def pytest_sessionfinish(session):
    if os.environ.get("VOICE_AI_STRICT_SKIPS") != "1":
        return
    session.config.stash[forbidden] += [
        report.nodeid
        for report in _skipped(session.config)
        if not MAY_SKIP & set(getattr(report, "keywords", ()))  # a file has none
    ]
    if session.config.stash[forbidden] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    cost = Counter(_why(report) for report in _skipped(config))
    if cost:
        parts = ", ".join(f"{count} for want of {what}" for what, count in sorted(cost.items()))
        terminalreporter.write_line(f"{cost.total()} skipped: {parts}", yellow=True)
    if named := config.stash[forbidden]:
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        terminalreporter.write_line(
            f"VOICE_AI_STRICT_SKIPS: must not be skipped: {', '.join(named[:NAMED])}{more}",
            red=True,
        )


def _skipped(config):
    """The reports of skipped tests, and of files that were skipped as a whole."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter.stats.get("skipped", []) if reporter else []


def _why(report):
    """The missing package, else the reason that the test gave."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    package = re.search(r"\(package ([\w.+-]+)\)", reason)
    return package[1] if package else reason.removeprefix("Skipped: ")
