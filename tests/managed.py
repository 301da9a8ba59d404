"""A manager of services for tests: `systemctl`, `docker` and `kubectl` on PATH that really restart
the programs that a test gave them, and write down what they were asked.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.programs import INHERITED, PATIENCE, ROOT

PROGRAMS = ("systemctl", "docker", "kubectl")

ACTING = """#!{python}
import json, os, signal, subprocess, sys, time
from pathlib import Path

state = Path({state!r})
with (state / "asked.jsonl").open("a") as asked:
    asked.write(json.dumps([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
files = [(state / one.replace("/", "_")).with_suffix(".unit") for one in sys.argv[1:]]
units = [file for file in files if file.exists()]
if "status" in sys.argv or not units:
    sys.exit(0 if "status" in sys.argv or "daemon-reload" in sys.argv else "no such unit")
unit = units[0]
told = json.loads(unit.read_text())
if told["pid"]:
    try:
        os.kill(told["pid"], signal.SIGKILL)
        while True:
            os.kill(told["pid"], 0)
            if Path(f"/proc/{{told['pid']}}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
            time.sleep(0.02)
    except (ProcessLookupError, FileNotFoundError):
        pass
with (state / "output").open("ab") as output:
    started = subprocess.Popen(
        told["command"], cwd=told["cwd"], env=told["env"], stdin=subprocess.DEVNULL,
        stdout=output, stderr=output, start_new_session=True,
    )
unit.write_text(json.dumps({{**told, "pid": started.pid}}))
"""


class Managed:
    """Services by name, each a command. What was started is ended by `close`, by its id."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self._state = folder / "units"
        self.bin.mkdir(parents=True)
        self._state.mkdir()
        for name in PROGRAMS:
            path = self.bin / name
            path.write_text(ACTING.format(python=sys.executable, state=str(self._state)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.path = os.pathsep.join((str(self.bin), os.environ["PATH"]))

    def add(self, unit: str, command: Sequence[str], variables: Mapping[str, str] = {}) -> None:
        """A service that is not started yet."""
        told = {
            "command": list(command),
            "cwd": str(ROOT),
            "env": {**INHERITED, **variables},
            "pid": 0,
        }
        self._file(unit).write_text(json.dumps(told))

    def start(self, unit: str) -> int:
        """Start it as an operator would: the id of its process."""
        subprocess.run([self.bin / "systemctl", "restart", unit], check=True)
        return self.pid(unit)

    def pid(self, unit: str) -> int:
        """Of the process that runs now."""
        return int(json.loads(self._file(unit).read_text())["pid"])

    def send(self, unit: str, sign: signal.Signals) -> None:
        """Do something to it that its manager did not."""
        os.kill(self.pid(unit), sign)

    @property
    def asked(self) -> list[str]:
        """What was asked of the manager, each in a line."""
        file = self._state / "asked.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [shlex.join(json.loads(line)) for line in lines]

    def close(self) -> None:
        """End what it started."""
        for file in self._state.glob("*.unit"):
            pid = json.loads(file.read_text())["pid"]
            try:
                if pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _file(self, unit: str) -> Path:
        return (self._state / unit.replace("/", "_")).with_suffix(".unit")


def redis_command(port: int) -> list[str]:
    """A Redis in memory only."""
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    return ["redis-server", *options]


def listens(port: int) -> None:
    """Wait until somebody takes connections there."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            assert time.monotonic() < until, f"nobody listens at {port}"
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def managed(tmp_path, monkeypatch):
    """A manager on PATH; what it runs ends with the test."""
    managed = Managed(tmp_path / "manager")
    monkeypatch.setenv("PATH", managed.path)
    yield managed
    managed.close()


@pytest.fixture
def redis_port(managed, unused_tcp_port_factory):
    """The port of a Redis that systemd runs as redis.service."""
    port = unused_tcp_port_factory()
    managed.add("redis.service", redis_command(port))
    managed.start("redis.service")
    listens(port)
    return port
