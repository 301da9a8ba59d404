"""When certificates end, as read from a real server and from files, and who is told."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from agent.call import now
from ops.front.alerts import Alerts
from ops.health import certificates
from ops.health.certificates import Certificates, of_file, of_server

pytestmark = pytest.mark.needs("openssl")


def made(folder, days):
    """A certificate and its key, that end in so many days."""
    file, key = folder / f"{days}.pem", folder / f"{days}.key"
    make = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    where = ("-nodes", "-days", str(days), "-subj", "/CN=localhost", "-keyout", key, "-out", file)
    subprocess.run([*make, *where], check=True, capture_output=True)
    return file, key


def serving(file, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key)
    return asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)


def url_of(server):
    return f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def in_days(days):
    return pytest.approx((now() + timedelta(days=days)).timestamp(), abs=120)


async def test_the_certificate_of_a_server_that_nobody_trusts_is_read(tmp_path):
    async with await serving(*made(tmp_path, 40)) as server:
        end = await of_server(url_of(server))
    assert end.timestamp() == in_days(40)


def test_of_a_chain_the_first_to_end_counts(tmp_path):
    (leaf, _), (issuer, _) = made(tmp_path, 90), made(tmp_path, 30)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.read_bytes() + issuer.read_bytes())
    assert of_file(chain).timestamp() == in_days(30)


async def test_both_become_figures_and_one_that_ends_soon_an_alert(tmp_path):
    told, alerts = [], Alerts()
    alerts.listeners.append(told.append)
    (own, _), (theirs, key) = made(tmp_path, 90), made(tmp_path, 5)
    async with await serving(theirs, key) as server:
        watch = Certificates(url_of(server), own, alerts)
        await watch.look()
        await watch.look()
    name = "voice_certificate_expires_timestamp_seconds"
    assert REGISTRY.get_sample_value(name, {"name": "livekit"}) == in_days(5)
    assert REGISTRY.get_sample_value(name, {"name": "serve"}) == in_days(90)
    assert [(one.name, one.level) for one in told] == [("CertificateExpiring", "warning")]


async def test_a_server_that_is_away_keeps_its_last_figure(tmp_path):
    watch = Certificates("wss://127.0.0.1:9", tmp_path / "none.pem", Alerts())
    assert await watch.look() == {}


async def test_a_renewed_certificate_is_told_and_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "EVERY", 0.0)
    ends = iter([2, 400])
    told, over = [], asyncio.Event()
    alerts = Alerts()

    def hear(alert):
        told.append(alert.level)
        if alert.level == "info":
            over.set()

    def of_file(_path):
        return datetime.now(UTC) + timedelta(days=next(ends, 400))

    alerts.listeners.append(hear)
    monkeypatch.setattr(certificates, "of_file", of_file)
    watch = Certificates("ws://127.0.0.1:7880", tmp_path / "own.pem", alerts)
    watch.start()
    await asyncio.wait_for(over.wait(), 5)
    await watch.aclose()
    assert told == ["critical", "info"]


async def test_without_tls_there_is_nothing_to_look_at():
    watch = Certificates("ws://127.0.0.1:7880", None, Alerts())
    watch.start()
    assert await watch.look() == {}
    await watch.aclose()
