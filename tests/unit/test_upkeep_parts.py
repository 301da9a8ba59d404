"""What the daily look and the analysis are made of: error lines, certificates, sizes."""

from __future__ import annotations

import gzip
import json
import os
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta

import pytest

from ops.upkeep import expiry, sizes
from ops.upkeep.error_lines import error_lines

NOON = datetime(2026, 11, 13, 12, tzinfo=UTC)


def line(level, said, at=NOON, **more):
    return json.dumps({"level": level, "timestamp": at.isoformat(), **more, "message": said}) + "\n"


def test_error_lines_since_then_are_counted_by_what_they_say(tmp_path):
    (tmp_path / "voice.log").write_text(
        line("ERROR", "a provider failed")
        + line("error", "a provider failed", extra='with "level": in it')
        + line("INFO", "all is well", error='"level": "error"')
        + line("CRITICAL", "no room on the disk")
        + line("ERROR", "long ago", NOON - timedelta(days=2))
        + 'not JSON, "level": "error"\n'
        + '{"level": "error"'
    )
    with gzip.open(tmp_path / "voice.log.1.gz", "wt") as file:
        file.write(line("error", "rotated \x1b[31maway"))
    (tmp_path / "notes.txt").write_text(line("error", "no log file"))
    found = error_lines(tmp_path, NOON - timedelta(days=1))
    assert (found.files, found.lines) == (2, 4)
    assert found.messages[0] == ("a provider failed", 2)
    assert dict(found.messages)["rotated  [31maway"] == 1
    assert found.unread == ()


def test_the_lines_of_the_control_plane_are_read_too(tmp_path):
    told = {"event": "the database is away", "level": "error", "timestamp": "2026-11-13T12:00:00Z"}
    (tmp_path / "ops.log").write_text(json.dumps(told) + "\n")
    assert error_lines(tmp_path, NOON).messages == (("the database is away", 1),)


def test_a_file_that_was_not_written_to_since_then_is_not_read(tmp_path):
    path = tmp_path / "old.log"
    path.write_text(line("error", "x"))
    before = NOON.timestamp() - 1
    os.utime(path, (before, before))
    assert error_lines(tmp_path, NOON).files == 0


def test_a_compressed_file_that_is_damaged_is_named(tmp_path):
    whole = bytearray(gzip.compress(line("error", "x").encode()))
    whole[10] = 0xFF  # no such kind of block
    (tmp_path / "voice.log.1.gz").write_bytes(whole)
    (unread,) = error_lines(tmp_path, NOON).unread
    assert unread.startswith(str(tmp_path / "voice.log.1.gz"))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "cut.log.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    (unread,) = error_lines(tmp_path, NOON - timedelta(days=3650)).unread
    assert "cut.log.gz" in unread


def test_no_folder_has_no_lines(tmp_path):
    assert error_lines(tmp_path / "none", NOON).files == 0


@pytest.fixture(scope="module", params=["rsa:2048", "ec"])
def certificate(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    file, key = folder / "cert.pem", folder / "key.pem"
    kind = ["-newkey", "rsa:2048"]
    if request.param == "ec":
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, "-nodes", "-days", "40", "-subj", "/CN=localhost",
         "-keyout", key, "-out", file],
        check=True, capture_output=True,
    )  # fmt: skip
    return file, key


@pytest.mark.needs("openssl")
def test_the_expiry_of_a_file_is_what_openssl_says(certificate):
    file, _ = certificate
    asked = ["openssl", "x509", "-noout", "-enddate", "-in", file]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    at = ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))
    found = expiry.of_file("serve", file)
    assert found.expires == datetime.fromtimestamp(at, UTC)
    assert found.days_left(datetime.now(UTC)) == 39


@pytest.mark.needs("openssl")
def test_the_expiry_of_a_server_that_nobody_trusts(certificate):
    file, key = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        found = expiry.of_server("livekit.url", f"wss://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert found.expires == expiry.of_file("same", file).expires


def test_what_has_no_certificate_says_so(tmp_path):
    assert expiry.of_server("livekit.url", "ws://127.0.0.1:1") is None
    assert "no certificate" in expiry.of_server("livekit.url", "wss://127.0.0.1:1").error
    (tmp_path / "x.pem").write_text("nothing")
    assert "no certificate in PEM form" in expiry.of_file("x", tmp_path / "x.pem").error
    assert "No such file" in expiry.of_file("x", tmp_path / "y.pem").error


def test_a_heap_counts_what_has_changed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "new").write_bytes(b"x" * 10)
    (tmp_path / "old").write_bytes(b"x" * 5)
    os.utime(tmp_path / "old", (1, 1))
    found = sizes.heap(tmp_path, datetime(2000, 1, 1, tzinfo=UTC))
    assert (found.files, found.size, found.changed) == (2, 15, 10)
    assert sizes.heap(tmp_path / "none", NOON) == sizes.Heap()
    assert sizes.disk(tmp_path / "not" / "yet").total > 0


@pytest.mark.parametrize(
    ("size", "said"), [(None, "–"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB")]
)
def test_sizes_for_people(size, said):
    assert sizes.told(size) == said
