"""A private Redis for tests: in memory only, on a free port of the loopback."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis

PROGRAM = "redis-server"
STARTS_WITHIN = 30.0


class RedisServer:
    """One server. It can be killed and started again on its port, and be made to hang."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        options = ("--port", str(self._port), "--bind", "127.0.0.1", "--save", "")
        self._process = subprocess.Popen(
            [PROGRAM, *options, "--appendonly", "no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + STARTS_WITHIN
        with redis.Redis.from_url(self.url, socket_timeout=1.0) as client:
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


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server of the test's own, started."""
    if shutil.which(PROGRAM) is None:
        pytest.skip("Redis is not installed (package redis-server)")
    server = RedisServer()
    server.start()
    yield server
    server.kill()
