"""`python -m ops serve` as a process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from tests.programs import INHERITED, PATIENCE, ROOT, run, settings

SERVE = ("-m", "ops", "serve", "--port", "0")


@pytest.fixture
def variables(tmp_path):
    return {
        **settings(tmp_path),
        "VOICE_AGENT__SERVE__CLIENT_KEY_FILE": str(tmp_path / "key"),
        "LIVEKIT_API_KEY": "key-of-a-test",
        "LIVEKIT_API_SECRET": "secret-of-a-test-that-is-long-enough",
    }


class Served:
    """One process: its URL, and what it wrote."""

    def __init__(self, folder, variables, *options):
        # One each: two that write into one file tear its lines.
        self._log = folder / f"serve-{id(self):x}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *SERVE, *options],
                cwd=ROOT,
                env={**INHERITED, **variables},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        until = time.monotonic() + PATIENCE
        while not (told := [line for line in self.lines() if line["event"] == "listening"]):
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        self.url = told[0]["url"]

    def lines(self):
        """Every whole line of the log, which holds nothing but JSON."""
        whole = self._log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def serve(tmp_path, variables):
    started = []

    def start(*options, **more):
        started.append(Served(tmp_path, {**variables, **more}, *options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def ask(url, key, **options):
    headers = {"Authorization": f"Bearer {key}"}
    asked = {"kind": "viewer", "identity": "who", "room": "lobby"}
    return requests.post(f"{url}/tokens", json=asked, headers=headers, timeout=PATIENCE, **options)


def test_a_first_start_makes_a_key_that_works_and_a_second_makes_none(serve, tmp_path):
    served = serve("--first-key")
    file = tmp_path / "key"
    key = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert ask(served.url, key).status_code == 200
    assert served.end() == 0
    assert key not in str(served.lines())
    again = serve("--first-key")
    assert file.read_text().strip() == key
    assert ask(again.url, key).status_code == 200


def test_without_a_key_it_serves_and_says_why_it_does_nothing(serve, tmp_path):
    served = serve()
    assert ask(served.url, "vak_1_2").status_code == 503
    assert requests.get(f"{served.url}/health", timeout=PATIENCE).status_code == 200
    assert not (tmp_path / "key").exists()


def test_without_a_database_it_starts_and_says_503(serve):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://who@127.0.0.1:{nobody.getsockname()[1]}/calls"
        served = serve("--first-key", VOICE_AGENT__STORE__URL=url)
        assert ask(served.url, "vak_1_2").status_code == 503
        assert requests.get(f"{served.url}/health", timeout=PATIENCE).status_code == 200
        assert served.end() == 0


@pytest.mark.needs("openssl")
def test_it_speaks_tls_with_a_certificate(serve, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    served = serve(
        "--first-key",
        VOICE_AGENT__SERVE__TLS_CERTIFICATE=str(certificate),
        VOICE_AGENT__SERVE__TLS_KEY=str(key),
    )
    assert served.url.startswith("https://")
    answer = ask(served.url, (tmp_path / "key").read_text().strip(), verify=str(certificate))
    assert answer.status_code == 200
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_what_is_switched_off_is_not_there(serve):
    served = serve("--first-key", "--without", "tokens")
    told = next(line for line in served.lines() if line["event"] == "listening")
    assert "tokens" not in told["sidecars"]
    assert "health" in told["sidecars"]


def test_in_the_clear_to_others_it_warns(serve):
    warned = "client keys and tokens travel in the clear: nothing here speaks TLS"
    assert warned in [line["event"] for line in serve("--host", "0.0.0.0").lines()]
    proxied = serve("--host", "0.0.0.0", VOICE_AGENT__SERVE__TRUSTED_PROXIES="127.0.0.1")
    assert warned not in [line["event"] for line in proxied.lines()]


@pytest.mark.parametrize(
    ("options", "more", "says"),
    [
        (["--only", "token"], {}, "--only: no sidecar token: did you mean tokens?"),
        ([], {"LIVEKIT_URL": "ws://livekit.example"}, "in the clear"),
        (["--host", "no.such.host.invalid"], {}, "serve.host"),
        ([], {"VOICE_AGENT__SERVE__TLS_KEY": "/nowhere.pem"}, "serve.tls_certificate"),
        ([], {"VOICE_AGENT__SERVE__TRUSTED_PROXIES": "nobody"}, "serve.trusted_proxies"),
        ([], {"VOICE_AGENT__SERVE__SIDECARS": "tokens,webhook"}, "did you mean webhooks?"),
        ([], {"LIVEKIT_URL": "ws://livekit.example.com"}, "LIVEKIT_URL: ws://"),
        (["--first-key"], {"VOICE_AGENT__SERVE__CLIENT_KEY_FILE": "/proc/key"}, "/proc/key"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(variables, options, more, says):
    done = run(*SERVE, *options, variables={**variables, **more}, within=PATIENCE)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert re.search(re.escape(says), errors[0]), errors
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(variables):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("-m", "ops", "serve", "--port", str(port), variables=variables, within=PATIENCE)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: serve.port: port {port} on 127.0.0.1")
