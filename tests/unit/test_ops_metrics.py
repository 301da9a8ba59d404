"""/metrics of `ops serve`: who may read it, what it says, and that it does not grow."""

from __future__ import annotations

from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from agent import metrics
from agent.store.access import Access
from config.settings import load
from ops.front.clients import new_key
from ops.health.machine import Machine
from ops.serve import app

LABELS = {
    "voice_health_check": {"check"},
    "voice_health_check_latency_seconds": {"check"},
    "voice_session_cache_reads": {"outcome"},
}


@pytest.fixture
def settings(tmp_path):
    def settings(**variables):
        return load(
            environ={
                "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
                "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
                **variables,
            }
        )

    return settings


def from_machine(application, host="127.0.0.1"):
    return TestClient(application, client=(host, 4711))


async def key_with(plane, *scopes):
    row, key = new_key("a test", scopes)
    await plane.database.run(lambda log: Access(log.engine).add_key(row))
    return {"Authorization": f"Bearer {key}"}


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_a_key_of_the_scope_reads_what_the_machine_is_at(settings):
    application = app(settings())
    with from_machine(application) as client:
        headers = client.portal.call(key_with, application.state.plane, "metrics")
        others = client.portal.call(key_with, application.state.plane, "health")
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=others).status_code == 403
        told = client.get("/metrics", headers=headers)
        assert told.headers["content-type"].startswith("text/plain")
        found = families(told.text)
    for told in (metrics.CPU, metrics.MEMORY, metrics.DISK):
        (sample,) = found[told.name].samples
        assert 0 <= sample.value <= 100
        assert found[told.name].documentation == told.meaning
    assert found["voice_spool_calls"].samples[0].value == 0
    assert found["voice_database_pool_in_use"].samples[0].value >= 0
    assert found["voice_data_free_bytes"].samples[0].value > 2**20


def test_only_where_the_settings_say_so_is_the_machine_itself_let_in(settings):
    with from_machine(app(settings(VOICE_AGENT__SERVE__METRICS="loopback"))) as client:
        assert client.get("/metrics").status_code == 200
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 401
        assert client.get("/health/detailed").status_code == 503
    elsewhere = app(settings(VOICE_AGENT__SERVE__METRICS="loopback"))
    with from_machine(elsewhere, "203.0.113.7") as client:
        assert client.get("/metrics").status_code == 401


def test_it_does_not_grow_with_what_is_asked(settings):
    application = app(settings(VOICE_AGENT__SERVE__METRICS="loopback"))

    def series(client):
        found = families(client.get("/metrics").text)
        return {
            (sample.name, *sorted(sample.labels.items()))
            for family in found.values()
            for sample in family.samples
            if not sample.name.startswith(("python_", "process_"))
        }

    def ask(client, numbers):
        for n in numbers:
            client.get(f"/health/{n}")
            client.get(f"/{n}", headers={"Authorization": f"Bearer vak_{n}_x"})

    with from_machine(application) as client:
        client.get("/health")
        ask(client, range(300))  # every status that there is for such a route
        before = series(client)
        ask(client, range(300, 600))
        # The checks of the monitor's first round, and what they asked of the LiveKit API.
        new = {one for one in series(client) - before if not one[0].startswith("livekit_api_")}
        assert len(new) <= 2 * 13
    ours = {name: {label for label, _ in labels} for name, *labels in before}
    assert {name: ours[name] for name in LABELS if name in ours}.items() <= LABELS.items()


def test_the_processors_are_measured_since_the_last_scrape_and_at_most_once_a_second(
    monkeypatch, tmp_path
):
    times = namedtuple("Times", "user system idle iowait")  # noqa: PYI024 - as psutil's
    now, spent = 0.0, iter([times(0, 0, 0, 0), times(30, 10, 50, 10), times(90, 50, 50, 10)])
    monkeypatch.setattr("psutil.cpu_times", lambda: next(spent))
    machine = Machine(tmp_path, lambda: None, lambda: now)

    def cpu():
        """A scrape, in a thread of its own as any may be."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: next(iter(machine.collect()))).result().samples[0].value

    now = 1.0
    assert cpu() == 40.0
    now = 1.5
    assert cpu() == 40.0
    now = 2.0
    assert cpu() == 100.0


def test_calls_that_wait_in_the_spool_are_counted(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_text("")
    usage = namedtuple("Usage", "in_use idle")  # noqa: PYI024 - as `Connections`
    machine = Machine(tmp_path, lambda: usage(3, 1))
    found = {one.name: one.samples[0].value for one in machine.collect()}
    assert found["voice_spool_calls"] == 2
    assert found["voice_database_pool_in_use"] == 3
