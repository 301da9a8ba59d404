"""A private Redis for tests: in memory only, on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

PROGRAM = "redis-server"
STARTS_WITHIN = 30.0


class RedisServer:
    """One server. It can be killed and started again on its port, and be made to hang."""

    def __init__(self, *more: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        self._command = [PROGRAM, *options, "--appendonly", "no", *more]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + STARTS_WITHIN
        with redis.Redis(port=self.port, socket_timeout=1.0) as client:
            while True:
                try:
                    client.ping()
                except (redis.ConnectionError, redis.TimeoutError):
                    assert self._process.poll() is None, f"{PROGRAM} ended"
                    assert time.monotonic() < until, f"{PROGRAM} does not answer"
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """End it without a goodbye."""
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Let it take connections and answer nobody, until it is killed or told to go on."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        self._process.send_signal(signal.SIGCONT)


class Sentinel(RedisServer):
    """Watches one master, alone: it takes the replica as soon as the master is silent."""

    NAME = "calls"

    def __init__(self, folder: Path, master: RedisServer) -> None:
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {self.NAME} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {self.NAME} 1000\n"
            f"sentinel failover-timeout {self.NAME} 5000\n"
        )
        super().__init__()
        self._command = [PROGRAM, str(config), "--sentinel", "--port", str(self.port)]
        self._command += ["--bind", "127.0.0.1"]
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/{self.NAME}/0"


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """A server that is only talked to: that of REDIS_URL, else the test's own."""
    url: str = os.environ.get("REDIS_URL") or request.getfixturevalue("redis_server").url
    return url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server of the test's own, started."""
    if shutil.which(PROGRAM) is None:
        pytest.skip("Redis is not installed (package redis-server)")
    server = RedisServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_sentinel(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, Sentinel]]:
    """A master, its replica and the sentinel that watches them."""
    if shutil.which(PROGRAM) is None:
        pytest.skip("Redis is not installed (package redis-server)")
    (tmp_path / "replica").mkdir()
    master = RedisServer("--dir", str(tmp_path))
    replica = RedisServer(
        "--replicaof", "127.0.0.1", str(master.port), "--dir", str(tmp_path / "replica")
    )
    sentinel = Sentinel(tmp_path, master)
    running = []
    try:
        for one in (master, replica, sentinel):
            one.start()
            running.append(one)
        yield master, replica, sentinel
    finally:
        for one in running:
            one.kill()
