"""`python -m ops health`: nothing there yet, all well, and each thing that it needs away."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from agent.store import CallLog
from config.settings import load
from ops.health.check import Status
from ops.upkeep.health import look
from tests.programs import run, settings
from tests.serving import Serving
from tests.year import Year, fill

pytest_plugins = ["tests.postgres", "tests.redis_server"]

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
IDLE = ("cpu", "memory", "disk", "sip_gateway")
"""What is left out: how busy and full the machine of the tests is."""


def environment(folder, **more):
    known = {"PATH": os.environ["PATH"], **settings(folder)}
    return {**known, "VOICE_AGENT__LOG__FOLDER": str(folder / "logs"), **more}


def looked(variables, *expected):
    return asyncio.run(look(load(environ=variables), IDLE, expected, NOW))


def test_a_fresh_install_is_left_as_it_is(tmp_path):
    ran = run(
        "-m", "ops", "health", "--without", ",".join(IDLE), variables=environment(tmp_path),
        within=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "calls: no calls yet" in ran.stdout
    assert "no log file configured" in ran.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("redis-server")
async def test_all_is_well_and_then_redis_is_away(tmp_path, redis_server):
    fill(f"sqlite:///{tmp_path}/calls.db", Year(NOW, 50, days=3))
    async with Serving(tmp_path, "--only", "health", REDIS_URL=redis_server.url) as serving:
        port = serving.url.rpartition(":")[2]
        variables = environment(
            tmp_path, REDIS_URL=redis_server.url, VOICE_AGENT__SERVE__PORT=port,
            LIVEKIT_API_KEY="APItest", LIVEKIT_API_SECRET="s" * 40,
        )  # fmt: skip
        await serving.get("/health")
        found = await look(load(environ=variables), IDLE, ("serve",), NOW)
        assert found.status is Status.HEALTHY, found.checks
        told = {name for name, one in found.checks.items() if one.status is Status.HEALTHY}
        assert told >= {"serve", "redis", "database", "spool", "stt", "llm", "tts"}
        assert found.figures["calls"].startswith("0 go on; the last began at 2026-11-")
        assert found.figures["connections"]["ops serve"] >= 1
        redis_server.kill()
        found = await look(load(environ=variables), IDLE, (), NOW)
        assert found.checks["redis"].status is Status.UNHEALTHY
        assert found.checks["database"].status is Status.HEALTHY
        assert found.status is Status.UNHEALTHY


def test_what_must_run_here_and_does_not_is_found(tmp_path):
    variables = environment(tmp_path, VOICE_AGENT__SERVE__PORT="1")
    assert looked(variables).checks["serve"].status is Status.NOT_CONFIGURED
    found = looked(variables, "serve", "worker")
    assert found.checks["serve"].status is Status.UNHEALTHY
    assert found.checks["worker"].status is Status.UNHEALTHY


def test_error_lines_make_the_day_degraded(tmp_path):
    (tmp_path / "logs").mkdir()
    entry = {"level": "ERROR", "message": "x", "timestamp": (NOW - timedelta(1)).isoformat()}
    (tmp_path / "logs" / "voice.log").write_text(json.dumps(entry) + "\n")
    found = looked(environment(tmp_path))
    assert found.errors.lines == 1
    assert found.status is Status.DEGRADED


def test_a_database_and_a_server_that_are_away(tmp_path):
    variables = environment(
        tmp_path, DATABASE_URL="postgresql://u:hush@127.0.0.1:1/calls", LIVEKIT_URL="ws://127.0.0.1:1",
        LIVEKIT_API_KEY="APItest", LIVEKIT_API_SECRET="s" * 40,
    )  # fmt: skip
    del variables["VOICE_AGENT__STORE__URL"]
    arguments = ("-m", "ops", "health", "--json", "--without", "cpu,memory,disk")
    ran = run(*arguments, variables=variables, within=120)
    assert (ran.returncode, ran.stderr) == (1, "")
    told = json.loads(ran.stdout)
    assert told["status"] == "unhealthy"
    for name in ("database", "livekit", "room"):
        assert told["checks"][name]["status"] == "unhealthy"
        assert "\n" not in told["checks"][name]["detail"]
    assert "hush" not in ran.stdout
    assert told["calls"] == "not known: the call log does not answer"


def test_a_database_of_an_earlier_release_is_not_brought_up_to_date_by_looking(tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    log = CallLog.open(url)
    with log.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    log.close()
    found = looked(environment(tmp_path))
    assert "start the agent once" in found.checks["database"].detail
    with log.engine.connect() as connection:
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    log.close()
    assert revision == "0001"


def test_a_check_that_there_is_not(tmp_path):
    ran = run("-m", "ops", "health", "--without", "nix", variables=environment(tmp_path), within=60)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: --without: no nix: there are livekit, ")
