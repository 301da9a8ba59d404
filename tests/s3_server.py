"""A private S3 server for tests (moto), on a free port of the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

STARTS_WITHIN = 60.0
BUCKET = "calls"


class S3Server:
    """One server, empty but for the bucket. It can be killed."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and make the bucket."""
        program = Path(sys.executable).with_name("moto_server")
        self._process = subprocess.Popen(
            [str(program), "-H", "127.0.0.1", "-p", str(self._port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                self._make_bucket()
            except urllib.error.HTTPError:
                raise  # it answers, and refuses
            except urllib.error.URLError:
                assert self._process.poll() is None, "moto_server ended"
                assert time.monotonic() < until, "moto_server does not answer"
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End it without a goodbye."""
        self._process.kill()
        self._process.wait()

    def keys(self) -> list[str]:
        """The names of the objects in the bucket."""
        text = self._ask(f"{BUCKET}?list-type=2").decode()
        return [piece.partition("</Key>")[0] for piece in text.split("<Key>")[1:]]

    def put(self, key: str, data: bytes) -> None:
        """Keep an object, as egress does."""
        self._ask(f"{BUCKET}/{key}", data)

    def get(self, key: str) -> bytes:
        """What an object holds."""
        return self._ask(f"{BUCKET}/{key}")

    def _make_bucket(self) -> None:
        self._ask(BUCKET, b"")

    def _ask(self, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/{path}",
            data=data,
            method="GET" if data is None else "PUT",
            headers={
                "Authorization": "AWS4-HMAC-SHA256 Credential=owner/1/us-east-1/s3/aws4_request"
            },
        )
        with urllib.request.urlopen(request) as answer:
            return answer.read()


@pytest.fixture
def s3() -> Iterator[S3Server]:
    if not shutil.which("moto_server", path=str(Path(sys.executable).parent)):
        pytest.skip("moto_server")
    server = S3Server()
    server.start()
    yield server
    server.kill()
