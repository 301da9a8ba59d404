"""Checks are asked seldom, once at a time and within their time; what they come to together."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from agent import metrics, shared
from agent.store.access import Access
from config.settings import load
from ops.front.alerts import Alerts
from ops.front.clients import new_key
from ops.front.plane import Plane
from ops.health import stores, telephone
from ops.health.board import Board, overall, sum_of
from ops.health.check import Check, Result, Status, Unwell, Watched, attempt
from ops.health.monitor import Monitor
from ops.serve import app

pytest_plugins = ["tests.redis_server"]

WELL, ILL = Result(Status.HEALTHY), Result(Status.UNHEALTHY)
SO_SO, NONE = Result(Status.DEGRADED), Result(Status.NOT_CONFIGURED)


class Asked:
    """A check whose answers are set by the test."""

    def __init__(self, name="redis", every=15.0, within=5.0):
        self.times, self.error, self.go_on = 0, None, asyncio.Event()
        self.go_on.set()
        self.check = Check(name, self._ask, every, within)

    async def _ask(self):
        self.times += 1
        await self.go_on.wait()
        if self.error:
            raise self.error
        return "fine"


@pytest.fixture
def now():
    class Clock:
        at = 0.0

        def __call__(self):
            return self.at

    return Clock()


async def test_many_who_ask_at_once_ask_once(now):
    asked = Asked()
    asked.go_on.clear()
    watched = Watched(asked.check, now)
    waiting = [asyncio.create_task(watched.result()) for _ in range(50)]
    await asyncio.sleep(0)
    asked.go_on.set()
    results = await asyncio.gather(*waiting)
    assert asked.times == 1
    assert {result.status for result in results} == {Status.HEALTHY}


async def test_a_check_runs_again_after_its_time_and_not_before(now):
    asked = Asked(every=15.0)
    watched = Watched(asked.check, now)
    first = await watched.result()
    asked.error = Unwell("gone")
    now.at = 14.9
    assert await watched.result() is first
    now.at = 15.0
    assert (await watched.result()).detail == "gone"
    assert asked.times == 2


async def test_who_gives_up_waiting_does_not_end_the_question(now):
    asked = Asked()
    asked.go_on.clear()
    watched = Watched(asked.check, now)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watched.result(), 0.01)
    asked.go_on.set()
    assert (await watched.result()).status is Status.HEALTHY
    assert asked.times == 1


async def test_a_check_that_hangs_is_unhealthy_after_its_time():
    asked = Asked(within=0.05)
    asked.go_on.clear()
    result = await attempt(asked.check)
    assert (result.status, result.detail) == (Status.UNHEALTHY, "no answer within 0.05 s")
    assert result.latency_ms >= 50


async def test_a_check_that_breaks_says_so_without_its_words(caplog):
    asked = Asked()
    asked.error = KeyError("hush")
    result = await attempt(asked.check)
    assert result.detail == "the check itself failed (KeyError)"


async def test_a_check_leaves_its_figures_and_takes_them_away():
    asked = Asked(every=0.0)
    watched = Watched(asked.check)
    series = lambda: {  # noqa: E731
        sample.labels["check"]: sample.value for sample in metrics.HEALTH.collect()[0].samples
    }
    await watched.result()
    assert series()["redis"] == 1.0
    asked.error = Unwell("half", Status.DEGRADED)
    await watched.result()
    assert series()["redis"] == 0.5
    asked.error = Unwell("none", Status.NOT_CONFIGURED)
    await watched.result()
    assert "redis" not in series()


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ({"database": WELL, "spool": WELL, "keys": WELL, "stt": WELL, "redis": NONE}, "healthy"),
        ({"database": WELL, "spool": WELL, "keys": WELL, "stt": SO_SO}, "degraded"),
        ({"database": WELL, "spool": WELL, "keys": WELL, "livekit": ILL, "redis": ILL}, "degraded"),
        ({"database": ILL, "spool": WELL, "keys": WELL}, "degraded"),
        ({"database": WELL, "spool": ILL, "keys": WELL}, "degraded"),
        ({"database": ILL, "spool": ILL, "keys": WELL}, "unhealthy"),
        ({"database": WELL, "spool": WELL, "keys": ILL}, "unhealthy"),
    ],
)
def test_unhealthy_is_only_who_cannot_do_his_own_work(checks, status):
    assert overall(checks) == status


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ([NONE, NONE], "not_configured"),
        ([WELL, NONE], "healthy"),
        ([WELL, ILL], "degraded"),
        ([ILL, NONE], "unhealthy"),
        ([SO_SO, SO_SO], "degraded"),
    ],
)
def test_a_group_is_as_its_parts(results, status):
    assert sum_of(results) == status


def what(alert):
    return alert.level, alert.about.get("subject", alert.name)


async def test_the_monitor_tells_of_changes_alone():
    redis, keys, told = Asked("redis", every=0.0), Asked("keys", every=0.0), []
    board = Board([redis.check, keys.check])
    monitor = Monitor(board, 60.0, Alerts([lambda alert: told.append(what(alert))]))
    await monitor.look()
    assert told == []
    redis.error = Unwell("away")
    await monitor.look()
    await monitor.look()
    assert told == [("warning", "redis")]
    keys.error, redis.error = Unwell("empty"), None
    await monitor.look()
    assert told[1:] == [
        ("info", "redis"),
        ("warning", "keys"),
        ("critical", "ControlPlaneDown"),
    ]
    keys.error = None
    await monitor.look()
    assert told[4:] == [
        ("info", "keys"),
        ("info", "ControlPlaneDown"),
    ]


async def test_what_is_not_configured_is_no_change():
    asked, told = Asked("redis", every=0.0), []
    asked.error = Unwell("none", Status.NOT_CONFIGURED)
    monitor = Monitor(Board([asked.check]), 60.0, Alerts([told.append]))
    await monitor.look()
    assert told == []


@pytest.fixture
def settings(tmp_path):
    return load(
        environ={
            "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
            "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
            "LIVEKIT_API_KEY": "key-of-a-test",
            "LIVEKIT_API_SECRET": "secret-of-a-test-that-is-long-enough",
        }
    )


async def test_the_database_takes_a_write_and_nothing_is_left_of_it(settings):
    plane = Plane.of(settings)
    check = {one.name: one for one in stores.checks(plane)}["database"]
    assert (await attempt(check)).status is Status.HEALTHY
    assert await plane.database.run(lambda log: log.audit_trail()) == []
    await plane.aclose()


async def test_a_database_that_hangs_has_one_thread_and_no_more(settings):
    plane, hung, asked = Plane.of(settings), threading.Event(), []

    def hang(_log):
        asked.append(1)
        hung.wait(60)

    check = {one.name: one for one in stores.checks(plane)}["database"]
    check = replace(check, within=0.05)
    run = plane.database.run
    plane.database.run = lambda _work: run(hang)
    for _ in range(5):
        assert (await attempt(check)).detail == "no answer within 0.05 s"
    hung.set()
    assert (await attempt(replace(check, within=30.0))).status is Status.HEALTHY
    assert len(asked) == 1
    await check.aclose()
    await plane.aclose()


@pytest.mark.needs("redis-server")
async def test_a_redis_that_hangs_or_is_slow_is_told(settings, redis_server, monkeypatch):
    url = settings.redis.model_copy(update={"url": redis_server.url})
    plane = Plane.of(settings.model_copy(update={"redis": url}))
    check = {one.name: one for one in stores.checks(plane)}["redis"]
    assert (await attempt(check)).status is Status.HEALTHY
    monkeypatch.setattr(shared, "BOUND", 0.0)
    assert (await attempt(check)).status is Status.DEGRADED
    redis_server.hang()
    told = await attempt(replace(check, within=0.2))
    assert (told.status, told.detail) == (Status.UNHEALTHY, "no answer within 0.2 s")
    redis_server.go_on()
    await plane.aclose()


async def test_the_spool_tells_how_many_calls_wait_and_that_it_cannot_be_written(settings):
    plane = Plane.of(settings)
    check = {one.name: one for one in stores.checks(plane)}["spool"]
    spool = settings.data.folder / "spool"
    assert (await attempt(check)).detail == "can be written; 0 calls wait in it"
    assert os.listdir(spool) == []  # noqa: PTH208 - hidden ones too
    (spool / "x.jsonl").write_text("")
    assert (await attempt(check)).detail == "can be written; 1 calls wait in it"
    (spool / "x.jsonl").unlink()
    spool.rmdir()
    spool.write_text("a file in its place")
    result = await attempt(check)
    assert result.status is Status.UNHEALTHY
    await plane.aclose()


def test_gateways_are_those_of_the_setting_else_of_the_outbound_trunks(tmp_path):
    file = tmp_path / "sip.yaml"
    file.write_text(
        "outbound_trunks:\n"
        "  - {name: out, address: sip.example.test, transport: tls, numbers: ['+15550100']}\n"
    )
    assert telephone.gateways(("gw.test:5070",), {}, file) == [("gw.test:5070", "udp")]
    assert telephone.gateways((), {}, file) == [("sip.example.test", "tls")]
    assert telephone.gateways((), {}, tmp_path / "none.yaml") == []


async def key_with(plane, *scopes):
    row, key = new_key("a test", scopes)
    await plane.database.run(lambda log: Access(log.engine).add_key(row))
    return {"Authorization": f"Bearer {key}"}


NAMES = {
    *("livekit", "room", "egress", "ingress", "sip", "redis", "database", "spool", "keys"),
    *("sip_gateway", "stt", "llm", "tts"),
}


def test_strangers_hear_one_word_and_clients_of_the_scope_hear_all(settings):
    application = app(settings)
    plane = application.state.plane
    with TestClient(application) as client:
        headers = client.portal.call(key_with, plane, "health")
        others = client.portal.call(key_with, plane, "calls")
        told = client.get("/health")
        assert (told.status_code, told.json()["checks"]) == (200, {})
        assert client.get("/health", headers=others).json()["checks"] == {}
        assert client.get("/health", headers=headers).json()["checks"]["database"]
        for path in ("detailed", "livekit", "sip", "ai", "database", "redis"):
            assert client.get(f"/health/{path}").status_code == 401
            assert client.get(f"/health/{path}", headers=others).status_code == 403
            assert client.get(f"/health/{path}", headers=headers).status_code == 200
        detailed = client.get("/health/detailed", headers=headers).json()
        assert set(detailed["checks"]) == NAMES
        assert detailed["checks"]["redis"]["status"] == "not_configured"
        assert detailed["checks"]["redis"]["latency_ms"] is None


def test_without_a_key_to_sign_with_nothing_can_be_done(settings, tmp_path):
    bare = settings.model_copy(update={"livekit": type(settings.livekit)()})
    with TestClient(app(bare)) as client:
        told = client.get("/health")
        assert (told.status_code, told.json()["status"]) == (503, "unhealthy")


@pytest.mark.parametrize("broken", ["in its place", "full"])
async def test_the_spool_of_webhooks_is_looked_at_too(settings, broken):
    limit = settings.webhooks.model_copy(update={"spool_bytes": 10})
    plane = Plane.of(settings.model_copy(update={"webhooks": limit}))
    check = {one.name: one for one in stores.checks(plane)}["spool"]
    assert (await attempt(check)).status is Status.HEALTHY
    folder = settings.data.folder / "webhooks"
    if broken == "full":
        (folder / "1.jsonl").write_text("x" * 10)
    else:
        folder.rmdir()
        folder.write_text("a file")
    assert (await attempt(check)).status is Status.UNHEALTHY
    await plane.aclose()
