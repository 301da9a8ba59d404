"""The steps of a recovery: what each does to a real Redis and real services, what none does."""

from __future__ import annotations

import ast
import json
import re
import signal
import sys
import threading
import time
from datetime import timedelta

import pytest
import redis
from redis.asyncio import Redis as AsyncRedis

from agent import sessions, shared
from agent.call import now
from agent.events import CallOpened
from agent.hourly import HourlyCalls
from agent.leases import SharedPlaces
from agent.ledger import Presence
from agent.pause import FILE, Pause
from agent.places import Capacity, LocalPlaces
from agent.sessions import RedisSessions, Session
from agent.store import CallLog
from agent.store.access import RevocationRow
from config.recovery import Recovery
from config.settings import ROOT, load
from ops.front.limits import Limits
from ops.front.plane import Plane
from ops.health import stores
from ops.health.check import Status, attempt
from ops.recovery import calls
from ops.recovery.journal import alone
from ops.recovery.keys import CACHES, KEPT, is_cache
from ops.recovery.manager import Manager
from ops.recovery.recover import recover
from ops.recovery.steps import NAMES, STEPS
from ops.tokens.revocations import Revocations
from tests.sip_operator import invoke

pytest_plugins = ["tests.managed"]
pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture
def port(redis_port):
    return redis_port


@pytest.fixture
def variables(tmp_path, port, monkeypatch):
    variables = {
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
        "VOICE_AGENT__WORKER__ENDPOINTS_PORT": "0",
        "VOICE_AGENT__SERVE__PORT": "0",
        "VOICE_AGENT__HEALTH__WITHIN": "1",
        "VOICE_AGENT__RECOVERY__MANAGER": "systemd",
        "VOICE_AGENT__RECOVERY__REDIS": "redis.service",
        "VOICE_AGENT__RECOVERY__DRAIN": "0",
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
    }
    for name, value in variables.items():  # steps read the configuration anew
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def settings(variables):
    return load(environ=variables)


def only(name):
    return [step for step in STEPS if step.name == name]


def a_call(settings, worker_id):
    """A call in the record that goes on."""
    log = CallLog.open(settings.store.url)
    opened = CallOpened(
        call_id="a" * 32,
        seq=1,
        room="r",
        room_sid="RM_1",
        job_id="AJ_1",
        agent_name="voice-ai",
        pid=1,
    )
    log.apply(worker_id, [opened])
    log.close()


def test_every_prefix_of_a_key_is_known_as_a_cache_or_as_kept():
    """Whoever adds keys to Redis says in ops/recovery/keys.py whether they may be cleared."""
    written = set()
    for folder in ("agent", "ops", "config"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    written |= set(re.findall(r"voice-ai:[a-z:_-]+", node.value))
    assert {"voice-ai:places:", "voice-ai:revoked:", "voice-ai:hourly"} <= written
    assert [one for one in sorted(written) if is_cache(one) is None] == []
    assert not set(CACHES) & set(KEPT)


async def everybody_writes(plane):
    """What each user of Redis keeps there."""
    local = LocalPlaces(Capacity(1, 1), set)
    places = SharedPlaces(local, plane.redis, group="voice-ai", worker="w")
    await places.take("AJ_1")
    session = Session("c" * 32, "room", "RM_1", "AJ_1", "w", now())
    await RedisSessions(plane.redis, "voice-ai").beat([session], [])
    hourly = HourlyCalls(5, plane.redis, group="voice-ai", secret="s")
    assert await hourly.allows("+15550100")
    assert await Limits(plane.redis).wait("desk", 5) == 0
    end = now() + timedelta(hours=1)
    row = RevocationRow(id="t", kind="token", room="r", revoked_at=now(), expires_at=end)
    revocations = Revocations(plane.database, plane.redis)
    await revocations.add(row)
    await revocations.load()
    check = {one.name: one for one in stores.checks(plane)}["redis"]
    assert (await attempt(check)).status is not Status.UNHEALTHY


async def test_clearing_caches_takes_the_cache_and_nothing_else(settings, monkeypatch):
    monkeypatch.setattr(shared, "BOUND", 10.0)
    plane = Plane.of(settings)
    await everybody_writes(plane)
    client = AsyncRedis(connection_pool=plane.redis)
    await client.set("of-somebody-else", "1")
    before = set(await client.keys("*"))
    ours = before - {"of-somebody-else"}
    assert [key for key in sorted(ours) if is_cache(key) is None] == []
    users = [prefix for prefix in (*CACHES, *KEPT) if any(prefix in key for key in ours)]
    assert sorted(users) == sorted((*CACHES, *KEPT)), "every user of Redis has written something"
    outcome = await recover(settings, only("clear-caches"), is_asked=True)
    assert outcome.is_well
    gone = before - set(await client.keys("*"))
    assert gone
    assert all(is_cache(key) for key in gone)
    assert not [key for key in await client.keys("*") if is_cache(key)]
    await plane.aclose()


async def test_a_cache_that_nobody_can_read_is_cleared_and_that_heals(settings, port, managed):
    with redis.Redis(port=port) as client:
        client.set("{voice-ai:sessions:voice-ai}:beats", "not a sorted set")
        client.set("voice-ai:revoked:x", "token")
        outcome = await recover(settings, STEPS[1:])
        assert (outcome.healed_by, list(outcome.before)) == ("clear-caches", ["sessions"])
        assert client.exists("voice-ai:revoked:x")
    assert managed.asked == ["systemctl restart redis.service"], "by the test alone"


async def test_what_passes_by_itself_is_well_at_the_first_step(settings, managed):
    managed.send("redis.service", signal.SIGSTOP)
    timer = threading.Timer(3.0, managed.send, ("redis.service", signal.SIGCONT))
    timer.start()
    try:
        outcome = await recover(settings, STEPS)
    finally:
        timer.join()
    assert outcome.healed_by == "reconnect"
    assert len(managed.asked) == 1


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_redis_that_answers_nobody_is_restarted_last(settings, managed, sign, port):
    a_call(settings, "another-host/w")
    before = managed.pid("redis.service")
    managed.send("redis.service", sign)
    outcome = await recover(settings, STEPS[2:])
    assert [one.step for one in outcome.steps] == list(NAMES[2:])
    assert (outcome.healed_by, outcome.is_well) == ("restart-redis", True)
    assert managed.asked[1:] == [
        "systemctl --no-ask-password daemon-reload",
        "systemctl --no-ask-password restart redis.service",
    ]
    assert managed.pid("redis.service") != before
    told = json.loads((settings.data.folder / "recovery").glob("*.json").__next__().read_text())
    assert told["healed"] == "restart-redis"
    assert told["steps"][-1]["commands"] == ["systemctl --no-ask-password restart redis.service"]
    log = CallLog.open(settings.store.url)
    trail = [(row.what, row.object.partition(":")[0]) for row in log.audit_trail()]
    assert ("recover.restart-redis", "done") in trail
    assert log.list_calls()[0].ended_at is None, "the call goes on"
    log.close()


async def test_a_redis_that_answers_and_is_ill_waits_for_calls_to_end(settings, managed, port):
    a_call(settings, "another-host/w")
    with redis.Redis(port=port) as client:
        client.execute_command("CONFIG", "SET", "min-replicas-to-write", "1")
        outcome = await recover(settings, only("restart-redis"))
    assert not outcome.is_well
    assert "1 calls go on" in outcome.steps[0].told
    assert len(managed.asked) == 1, "nothing was restarted"
    assert not Pause(settings.data.folder).is_on, "calls are let in again"
    log = CallLog.open(settings.store.url)
    log.end_call("a" * 32, "caller_hangup")
    log.close()
    outcome = await recover(settings, only("restart-redis"))
    assert outcome.healed_by == "restart-redis"


async def test_nobody_is_let_in_while_calls_are_waited_for(settings):
    settings.data.folder.mkdir(parents=True)
    async with calls.drained(settings):
        assert Pause(settings.data.folder).is_on
    assert not Pause(settings.data.folder).is_on


async def test_who_is_killed_while_calls_are_waited_for_leaves_admission_stopped_for_minutes(
    variables, monkeypatch
):
    """Not for the hours that calls may last: callers hear that all is busy."""
    settings = load(environ=variables | {"VOICE_AGENT__RECOVERY__DRAIN": "86400"})
    file, left, counts = settings.data.folder / FILE, [], iter([1, 0])

    async def going_on(_settings):
        left.append(float(file.read_text()) - time.time())
        return next(counts)

    monkeypatch.setattr(calls, "going_on", going_on)
    async with calls.drained(settings):
        left.append(float(file.read_text()) - time.time())
    assert all(100 < seconds < 600 for seconds in left)
    assert left[-1] > settings.recovery.within, "it holds while something restarts"


async def test_calls_of_a_worker_elsewhere_that_hangs_go_on(settings, port):
    a_call(settings, "another-host/w")
    with redis.Redis(port=port) as client:  # it is taken to know of all that live
        client.set(f"{{{sessions.PREFIX}{settings.worker.agent_name}}}:since", 1)
    assert await calls.going_on(settings) == 1


async def test_a_password_that_is_refused_is_no_reason_to_restart(settings, managed, port):
    with redis.Redis(port=port) as client:
        client.config_set("requirepass", "another")
    outcome = await recover(settings, only("restart-redis"))
    assert (outcome.steps[0].outcome, "password" in outcome.steps[0].told) == ("skipped", True)
    assert len(managed.asked) == 1


SERVICE = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "healthy", "checks": {"registered": True}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""


@pytest.mark.parametrize(("service", "setting"), [("serve", "PORT"), ("worker", "ENDPOINTS_PORT")])
async def test_a_service_that_does_not_answer_is_restarted(
    variables, managed, service, setting, unused_tcp_port
):
    port = unused_tcp_port
    managed.add(f"{service}.service", [sys.executable, "-c", SERVICE, str(port)])
    variables[f"VOICE_AGENT__{service.upper()}__{setting}"] = str(port)
    variables[f"VOICE_AGENT__RECOVERY__{service.upper()}"] = f"{service}.service"
    outcome = await recover(load(environ=variables), STEPS[1:])
    assert list(outcome.before) == [service]
    assert outcome.healed_by == "restart-services"
    assert managed.asked[1:] == [f"systemctl --no-ask-password restart {service}.service"]


async def test_a_worker_with_calls_is_not_restarted(variables, managed, tmp_path, unused_tcp_port):
    """Its lock is held: it hangs, and its calls may go on in their own processes."""
    port = unused_tcp_port
    managed.add("worker.service", [sys.executable, "-c", SERVICE, str(port)])
    variables["VOICE_AGENT__WORKER__ENDPOINTS_PORT"] = str(port)
    variables["VOICE_AGENT__RECOVERY__WORKER"] = "worker.service"
    settings = load(environ=variables)
    presence = Presence(settings.data.folder / "run")
    presence.announce()
    a_call(settings, presence.worker_id)
    outcome = await recover(settings, only("restart-services"))
    assert (outcome.steps[0].outcome, outcome.is_well) == ("failed", False)
    assert "calls go on" in outcome.steps[0].told
    assert len(managed.asked) == 1
    presence.leave()
    assert (await recover(settings, only("restart-services"))).is_well


async def test_nothing_is_restarted_into_a_wrong_configuration(
    variables, managed, monkeypatch, unused_tcp_port
):
    port = unused_tcp_port
    managed.add("serve.service", [sys.executable, "-c", SERVICE, str(port)])
    variables["VOICE_AGENT__SERVE__PORT"] = str(port)
    variables["VOICE_AGENT__RECOVERY__SERVE"] = "serve.service"
    settings = load(environ=variables)
    monkeypatch.setenv("VOICE_AGENT__WORKER__MAX_CALS", "3")
    outcome = await recover(settings, [*only("restart-services"), *only("reload")])
    assert [one.outcome for one in outcome.steps] == ["failed", "failed"]
    assert "did you mean" in outcome.steps[1].told
    assert len(managed.asked) == 1
    monkeypatch.delenv("VOICE_AGENT__WORKER__MAX_CALS")
    outcome = await recover(settings, only("reload"))
    assert (outcome.healed_by, outcome.is_well) == ("reload", True)


async def test_a_manager_that_fails_is_told_and_the_next_step_is_taken(
    variables, managed, unused_tcp_port
):
    variables["VOICE_AGENT__RECOVERY__SERVE"] = "unknown.service"
    variables["VOICE_AGENT__SERVE__PORT"] = str(unused_tcp_port)
    outcome = await recover(load(environ=variables), [STEPS[1], STEPS[-1]])
    assert [one.outcome for one in outcome.steps] == ["failed", "skipped"]
    assert "exit code 1: no such unit" in outcome.steps[0].told


def test_commands_of_each_manager():
    def commands(**section):
        manager = Manager(Recovery(within=30, **section))
        return [" ".join(one) for one in manager.restart("worker")]

    assert commands(manager="systemd", worker="voice@1.service") == [
        "systemctl --no-ask-password restart voice@1.service"
    ]
    assert commands(manager="compose", worker="w", compose_file="/srv/c.yml") == [
        "docker compose --file /srv/c.yml restart --timeout 30 w"
    ]
    assert commands(manager="kubernetes", worker="deployment/w", namespace="calls") == [
        "kubectl --namespace calls rollout restart deployment/w",
        "kubectl --namespace calls rollout status deployment/w --timeout=30s",
    ]
    assert commands(worker="w") == []
    assert commands(manager="systemd") == []
    for name in ("--now", "a b", "$(x)", "-f"):
        with pytest.raises(ValueError, match="worker"):
            Recovery(worker=name)


@pytest.mark.parametrize("manager", ["compose", "kubernetes"])
async def test_redis_is_restarted_through_every_manager(variables, managed, port, manager):
    managed.send("redis.service", signal.SIGKILL)
    variables["VOICE_AGENT__RECOVERY__MANAGER"] = manager
    outcome = await recover(load(environ=variables), only("restart-redis"))
    assert outcome.is_well, outcome


def test_one_at_a_time_and_well_is_well(variables, settings):
    code, out, _ = invoke("recover", "--json", env=variables)
    assert (code, json.loads(out)["steps"]) == (0, [])
    with alone(settings.data.folder):
        code, _, err = invoke("recover", env=variables)
    assert (code, "another recovery" in err) == (2, True)


def test_a_dry_run_does_nothing(variables, managed, settings):
    managed.send("redis.service", signal.SIGKILL)
    code, out, _ = invoke("recover", "--dry-run", "--json", env=variables)
    told = {one["step"]: one["would"] for one in json.loads(out)}
    assert (code, tuple(told)) == (0, NAMES)
    assert told["restart-redis"] == [
        "if it is broken: systemctl --no-ask-password restart redis.service"
    ]
    assert "skip serve" in told["restart-services"][0]
    assert len(managed.asked) == 1
    assert not settings.data.folder.exists()
    assert "restart-redis" in invoke("recover", "--dry-run", env=variables)[1]


def test_wrong_use_is_said_in_a_line(variables):
    for arguments, said in (
        (("--only", "restart-redi"), "did you mean restart-redis?"),
        (("--from", "nonsense"), "there are reconnect"),
        (("--from", "reload", "--only", "reload"), "one of them"),
    ):
        code, _, err = invoke("recover", *arguments, env=variables)
        assert (code, said in err) == (2, True), err


def test_a_fresh_install_is_well(tmp_path):
    variables = {
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
    }
    code, out, _ = invoke("recover", env=variables)
    assert (code, "nothing to recover" in out) == (0, True)
    assert not (tmp_path / "calls.db").exists()
