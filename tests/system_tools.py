"""System packages that some tests need: installed as root on Debian and its kin, else named.

`make test` and `make acceptance` run this file before the tests. A package that cannot be had is
no failure here: its tests are skipped, and the last lines of the run say so.
"""

# ruff: noqa: T201 - what it prints is for people

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
PATIENCE = 600.0
"""Seconds that one command of the package manager may take."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What proves that a package is installed: a program on PATH or a file that the glob finds."""

    program: str = ""
    files: str = ""
    before: Callable[[], None] | None = None
    """What must be true before the package is installed."""

    def is_there(self) -> bool:
        """Is the tool installed, by the package or otherwise?"""
        if self.program and shutil.which(self.program):
            return True
        return bool(self.files) and any(Path("/").glob(self.files.lstrip("/")))


def _no_main_cluster() -> None:
    """Tests run servers of their own: the package shall not make and start one."""
    if not CREATE_CLUSTER.exists():
        CREATE_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        CREATE_CLUSTER.write_text("create_main_cluster = false\n")


TOOLS: Mapping[str, Tool] = {
    "postgresql": Tool("initdb", "/usr/lib/postgresql/*/bin/initdb", _no_main_cluster),
    "openssl": Tool("openssl"),
    "redis-server": Tool("redis-server"),
    "wrk": Tool("wrk"),
    "prometheus": Tool("promtool"),
    "prometheus-alertmanager": Tool("amtool"),
    "systemd": Tool("systemd-analyze"),
    "asterisk-core-sounds-en-wav": Tool(
        files="/usr/share/asterisk/sounds/en_US_f_Allison/hello-world.wav"
    ),
}
"""By the name of the Debian package."""


def main(tools: Mapping[str, Tool] = TOOLS) -> None:
    """Install what is missing, or say that it is missing. Never raises."""
    lacking = missing(tools)
    if not lacking:
        return
    names = ", ".join(lacking)
    installer = shutil.which("apt-get")
    if os.geteuid() != 0 or installer is None:
        who = "not root" if installer else "no apt-get"
        print(f"tests: {names} not installed ({who}): the tests that need them are skipped")
        return
    print(f"tests: installing the system packages {names}", flush=True)
    try:
        _install(installer, {name: tools[name] for name in lacking})
    except (OSError, subprocess.SubprocessError) as error:
        print(f"tests: {_why(error)}")
    if still := missing(tools):
        print(f"tests: {', '.join(still)} could not be installed: their tests are skipped")


def missing(tools: Mapping[str, Tool] = TOOLS) -> list[str]:
    """The packages of `tools` that are not installed."""
    return [package for package, tool in tools.items() if not tool.is_there()]


def _install(installer: str, tools: Mapping[str, Tool]) -> None:
    for tool in tools.values():
        if tool.before:
            tool.before()
    keep_settings = (
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
    )
    for arguments in (
        ("update",),
        ("install", "--yes", "--no-install-recommends", *keep_settings, *tools),
    ):
        subprocess.run(
            [installer, "-qq", *arguments],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=arguments[0] == "install",  # an old list of packages may do
        )


def _why(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return said.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
