"""The front door of ops serve: who comes in, how often, with how much, and what is told of it."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from agent.errors import StoreUnavailable
from agent.store.access import Access
from ops.front import limits
from ops.front.addresses import Addresses, site
from ops.front.alerts import Alerts
from ops.front.limits import Here
from ops.front.suspicion import MOST, Suspicion
from tests.control_plane import ControlPlane
from tests.programs import PATIENCE

pytest_plugins = ["tests.redis_server"]

ASKED = {"kind": "viewer", "identity": "who", "room": "lobby"}


@pytest.fixture
async def plane(tmp_path):
    async with ControlPlane(tmp_path) as plane:
        yield plane


async def test_without_a_client_key_all_is_closed_and_it_is_said_why(plane):
    status, told = await plane.ask("/tokens", ASKED)
    assert status == 503
    assert "ops clients add" in told["detail"]
    assert (await plane.ask("/health"))[0] == 200


async def test_no_route_is_open_without_credentials(plane):
    await plane.key("admin")
    described = plane.app.openapi()["paths"]
    public = {"/health", "/webhooks/livekit"}
    assert "/tokens" in described
    for path in [*described, "/openapi.json", "/docs", "/", "/nothing"]:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
            for headers in ({}, {"Authorization": "Bearer vak_1_2"}, {"Authorization": "Basic eA"}):
                url = path.replace("{", "").replace("}", "")
                async with plane.http.request(method, url, headers=headers, data=b"{") as answer:
                    assert path in public or answer.status == 401, (method, path)
        plane.plane.limits = type(plane.plane.limits)(None)


async def test_every_route_needs_a_scope_that_it_documents(plane):
    nobody = await plane.key("tokens:viewer:no-such-room")
    for path, methods in plane.app.openapi()["paths"].items():
        for method, told in methods.items():
            if path in {"/health", "/webhooks/livekit"}:
                continue
            assert told["security"], path
            assert {"401", "403", "413", "422", "429", "503"} <= set(told["responses"]), path
            if not path.startswith("/tokens"):
                url = path.replace("{", "").replace("}", "")
                status, _ = await plane.ask(url, key=nobody, method=method.upper())
                assert status == 403, (method, path)


async def test_a_key_is_refused_within_a_second_of_its_end(plane):
    key = await plane.key("tokens")
    assert (await plane.ask("/tokens", ASKED, key))[0] == 200
    other = await plane.key("admin", name="other")
    key_id = key.split("_")[1]
    await plane.plane.database.run(lambda log: Access(log.engine).revoke_key(key_id))
    async with asyncio.timeout(1.0 * 2):
        while (await plane.ask("/tokens", ASKED, key))[0] != 401:  # noqa: ASYNC110 - asks anew
            await asyncio.sleep(0.05)
    assert (await plane.ask("/tokens", ASKED, other))[0] == 200


async def test_clients_are_known_for_a_while_when_the_database_is_away(plane, monkeypatch):
    key = await plane.key("tokens")
    assert (await plane.ask("/tokens", ASKED, key))[0] == 200

    async def away(_work):
        raise StoreUnavailable

    monkeypatch.setattr(plane.plane.database, "run", away)
    clients = plane.plane.clients
    clients._again_at = 0.0
    assert (await plane.ask("/tokens", ASKED, key))[0] == 200
    clients._again_at, clients._read_at = 0.0, clients._read_at - 301
    assert (await plane.ask("/tokens", ASKED, key))[0] == 503


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_is_refused(plane, chunked):
    key = await plane.key("tokens")

    async def body():
        for _ in range(11):
            yield b" " * 100_000

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = body() if chunked else b" " * 1_000_001
    async with plane.http.post("/tokens", data=data, headers=headers) as answer:
        assert answer.status == 413
        assert set(await answer.json()) == {"detail"}
    fits = json.dumps(ASKED).encode().ljust(1_000_000)
    async with plane.http.post("/tokens", data=fits, headers=headers) as answer:
        assert answer.status == 200


HEADER = b"X: %b\r\n" % (b"x" * 1000)


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n", HEADER),
        (b"GET /health HTTP/1.1\r\nX: ", b"x" * 1000),
        (b"GET /", b"x" * 1000),
        (
            b"POST /tokens HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            HEADER,
        ),
    ],
    ids=["headers", "header", "path", "trailers"],
)
async def test_a_head_without_an_end_is_not_kept(plane, before, again):
    url = urlsplit(plane.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    sent = 0
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(before)
            while sent < 10_000_000:
                writer.write(again)
                sent += len(again)
                await writer.drain()
            assert (await reader.read()).endswith(b"too long.")
    except ConnectionError:
        pass  # closed while we wrote
    finally:
        writer.transport.abort()
    assert sent < 10_000_000


async def test_small_chunks_and_requests_in_a_row_are_no_long_head(plane):
    key = await plane.key("tokens")
    url = urlsplit(plane.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST /tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    body = json.dumps(ASKED) + " " * 30_000
    chunks = "".join(f"1\r\n{letter}\r\n" for letter in body) + "0\r\n\r\n"
    one = f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            writer.write(one.encode())
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b'refreshable_until"')
            await reader.readuntil(b"}")
    writer.close()


async def test_answers_carry_the_headers_of_security_also_when_they_are_errors(plane):
    key = await plane.key("tokens")
    for path, used in (("/health", ""), ("/nothing", key), ("/nothing", "")):
        headers = {"Authorization": f"Bearer {used}"} if used else {}
        async with plane.http.get(path, headers=headers) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert not {"Server", "Strict-Transport-Security"} & set(answer.headers)


async def test_an_error_of_ours_is_told_in_the_one_shape_and_logged(plane, monkeypatch, caplog):
    key = await plane.key("tokens")
    monkeypatch.setattr("ops.tokens.token.sign", lambda *_: 1 / 0)
    status, told = await plane.ask("/tokens", ASKED, key)
    assert (status, set(told)) == (500, {"detail"})
    assert "ZeroDivisionError" in caplog.text
    assert key not in caplog.text


async def test_another_host_than_ours_is_no_matter(plane):
    async with plane.http.get("/health", headers={"Host": "somewhere.example"}) as answer:
        assert answer.status == 200


async def test_browsers_are_not_let_in_unless_their_origin_is_named(tmp_path):
    ours = {"Origin": "https://desk.example.com", "Access-Control-Request-Method": "POST"}
    async with ControlPlane(tmp_path) as plane:
        await plane.key("tokens")
        async with plane.http.options("/tokens", headers=ours) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
    named = {"VOICE_AGENT__SERVE__CORS_ORIGINS": "https://desk.example.com"}
    async with ControlPlane(tmp_path, **named) as plane:
        async with plane.http.options("/tokens", headers=ours) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == ours["Origin"]
        theirs = {**ours, "Origin": "https://evil.example.com"}
        async with plane.http.options("/tokens", headers=theirs) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers


async def statuses(plane, times, key="", path="/tokens", **headers):
    return [
        (await plane.ask(path, ASKED, key, headers={"X-Forwarded-For": "", **headers}))[0]
        for _ in range(times)
    ]


async def test_a_client_may_come_so_often_and_is_told_when_to_come_again(tmp_path):
    async with ControlPlane(tmp_path, VOICE_AGENT__SERVE__PER_MINUTE="10") as plane:
        interactive = await plane.key("tokens", per_minute=None)
        assert await statuses(plane, 11, interactive) == [200] * 10 + [429]
        headers = {"Authorization": f"Bearer {interactive}"}
        async with plane.http.get("/openapi.json", headers=headers) as answer:
            assert answer.status == 429
            assert 0 < int(answer.headers["Retry-After"]) <= 60
        lifted, narrow = await plane.key("tokens"), await plane.key("tokens", per_minute=3)
        assert await statuses(plane, 30, lifted) == [200] * 30
        assert await statuses(plane, 4, narrow) == [200] * 3 + [429]
        assert (await plane.ask("/health"))[0] == 200


async def test_an_address_may_come_so_often_whatever_it_brings(tmp_path):
    proxied = {
        "VOICE_AGENT__SERVE__PER_MINUTE": "10",
        "VOICE_AGENT__SERVE__TRUSTED_PROXIES": "127.0.0.0/8",
    }
    async with ControlPlane(tmp_path, **proxied) as plane:
        await plane.key("tokens")
        one, two = ({"X-Forwarded-For": f"9.9.9.9, 203.0.113.{n}"} for n in (1, 2))
        assert await statuses(plane, 11, "vak_1_2", **one) == [401] * 10 + [429]
        assert await statuses(plane, 1, "vak_1_2", **two) == [401]
        assert (await plane.ask("/health", headers=one))[0] == 200


async def test_nobody_but_a_trusted_proxy_says_whose_request_it_is(tmp_path):
    async with ControlPlane(tmp_path, VOICE_AGENT__SERVE__PER_MINUTE="5") as plane:
        await plane.key("tokens")
        told = [
            (await statuses(plane, 1, **{"X-Forwarded-For": f"203.0.113.{n}"}))[0] for n in range(6)
        ]
        assert told == [401] * 5 + [429]


def test_the_nearest_address_that_is_no_proxy_is_the_clients():
    addresses = Addresses(["10.0.0.0/8", "2001:db8::1"])
    assert addresses.client("203.0.113.9", "1.1.1.1") == "203.0.113.9"
    assert addresses.client("10.0.0.1", "") == "10.0.0.1"
    assert addresses.client("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2") == "203.0.113.9"
    assert addresses.client("10.0.0.1", "203.0.113.9:4711") == "203.0.113.9"
    assert addresses.client("::ffff:10.0.0.1", "[2001:db8::2]:80, 2001:db8::1") == "2001:db8::2"
    assert addresses.client("10.0.0.1", "1.1.1.1, nonsense") == "10.0.0.1"
    assert addresses.client("", "1.1.1.1") == ""
    assert site("2001:db8::1:2") == site("2001:db8:0:ff::1") != site("2001:db8:0:100::1")
    assert site("203.0.113.9") == "203.0.113.9"


def test_a_window_slides_and_whoever_waits_as_told_comes_in(monkeypatch):
    moment = 6_000_030.0
    monkeypatch.setattr("ops.front.limits.time.monotonic", lambda: moment)
    here = Here()
    assert [here.wait("a", 10) for _ in range(11)] == [0] * 10 + [36]
    assert here.wait("b", 10) == 0
    moment += 35
    assert here.wait("a", 10) == 1
    moment += 1
    assert [here.wait("a", 10) for _ in range(2)] == [0, 6]
    moment += 6
    assert [here.wait("a", 10) for _ in range(2)] == [0, 6]
    moment += 150
    assert [here.wait("a", 10) for _ in range(11)][:10] == [0] * 10


def test_what_is_counted_of_very_many_addresses_has_an_end(monkeypatch):
    monkeypatch.setattr(limits, "MOST", 100)
    here = Here()
    for n in range(1000):
        assert here.wait(f"address:{n}", 1) == 0
    assert here.wait("address:999", 1) > 0
    assert len(here._now) <= 100
    assert len(here._before) <= 100


@pytest.mark.needs("redis-server")
async def test_processes_with_one_redis_count_together_and_go_on_without_it(
    tmp_path, redis_server, caplog
):
    shared = {"VOICE_AGENT__SERVE__PER_MINUTE": "10", "REDIS_URL": redis_server.url}
    async with ControlPlane(tmp_path, **shared) as one, ControlPlane(tmp_path, **shared) as two:
        key = await one.key("tokens", per_minute=None)
        assert await statuses(one, 5, key) == [200] * 5
        async with asyncio.timeout(10):
            while two.plane.clients._known.keys() != one.plane.clients._known.keys():
                await two.plane.clients.client(key)
                await asyncio.sleep(0.05)
        assert await statuses(two, 6, key) == [200] * 5 + [429]
        redis_server.kill()
        assert await statuses(one, 11, key) == [200] * 10 + [429]
        assert caplog.messages.count("Redis is away") == 1


async def test_what_looks_like_an_attack_is_counted_and_told(plane, caplog):
    told = []
    plane.plane.alerts.listeners.append(lambda alert: told.append(alert.name))
    key = await plane.key("tokens")
    for _ in range(10):
        await plane.ask("/tokens", ASKED, "vak_1_secret-of-nobody")
        await plane.ask("/tokens", {**ASKED, "room": "voice-ai-call-1"}, key)
        forged = (await plane.ask("/tokens", ASKED, key))[1]["token"][:-20] + "a" * 20
        await plane.ask("/tokens/validate", {"token": forged}, key)
    for n in range(61):
        await plane.ask("/tokens", {**ASKED, "room": f"room-{n}"}, key)
    assert sorted(told) == [
        "suspicious_bad_key",
        "suspicious_bad_signature",
        "suspicious_many_rooms",
        "suspicious_refused_grant",
    ]
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert "somebody tries client keys" in logged
    assert not any(secret in logged for secret in ("secret-of-nobody", forged, key))


def test_an_attack_from_many_addresses_is_one_alert():
    told = []
    suspicion = Suspicion(Alerts([told.append]))
    for n in range(50):
        suspicion.note("burst", f"203.0.113.{n}")
    assert [(alert.name, alert.about["who"]) for alert in told] == [
        ("suspicious_burst", "203.0.113.0")
    ]


async def test_whoever_has_many_addresses_is_one_suspect(tmp_path):
    proxied = {
        "VOICE_AGENT__SERVE__PER_MINUTE": "10",
        "VOICE_AGENT__SERVE__TRUSTED_PROXIES": "127.0.0.0/8",
    }
    async with ControlPlane(tmp_path, **proxied) as plane:
        await plane.key("tokens")
        told = []
        plane.plane.alerts.listeners.append(
            lambda alert: told.append((alert.name, alert.about["who"]))
        )
        for n in range(13):
            await statuses(plane, 1, "vak_1_2", **{"X-Forwarded-For": f"2001:db8::{n:x}"})
        assert told == [
            ("suspicious_bad_key", site("2001:db8::")),
            ("suspicious_burst", site("2001:db8::")),
        ]


def test_an_alert_is_told_once_in_a_while_and_says_how_often_it_was_held_back(monkeypatch):
    moment = 1000.0
    monkeypatch.setattr("ops.front.alerts.time.monotonic", lambda: moment)
    told = []
    alerts = Alerts([lambda alert: told.append((alert.level, alert.left_out, alert.about))])
    for subject in ("a", "a", "a", "b"):
        alerts.tell("name", "message", "critical", subject=subject)
    moment += 61
    alerts.tell("name", "message", "critical", subject="a", times=3)
    assert told == [
        ("critical", 0, {"subject": "a"}),
        ("critical", 0, {"subject": "b"}),
        ("critical", 2, {"subject": "a", "times": 3}),
    ]


def test_what_is_remembered_of_suspects_has_an_end():
    suspicion = Suspicion(Alerts())
    for n in range(3 * MOST):
        suspicion.note("bad_key", str(n))
        suspicion.room(str(n), "lobby", 5)
    assert len(suspicion._seen) <= MOST
    assert len(suspicion._rooms) <= MOST
