"""What is wrong now, in its order, with what mends it; and what the record has to say."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from agent.call import EndReason, now
from agent.events import CallEnded, CallNote, CallOpened, TurnCommitted, TurnFinished
from agent.metrics import FAULTS
from agent.store import CallLog
from agent.store.audit_figures import AuditFigures
from config.settings import ROOT, load
from ops.doctor.examine import NAMES as DOCTORS
from ops.doctor.finding import Finding, Level
from ops.recovery import record
from ops.recovery.causes import CHECKS, KINDS, ordered
from ops.recovery.steps import NAMES as STEPS
from tests.sip_operator import invoke

pytest_plugins = ["tests.postgres"]

RUNBOOK = (ROOT / "ops" / "docs" / "runbook.md").read_text("utf-8")


@pytest.fixture
def variables(tmp_path):
    return {
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
        "VOICE_AGENT__WORKER__PORT": "0",
        "VOICE_AGENT__WORKER__ENDPOINTS_PORT": "0",
        "VOICE_AGENT__SERVE__PORT": "0",
        "VOICE_AGENT__HEALTH__WITHIN": "1",
    }


def causes(*arguments, env):
    code, out, err = invoke("diagnose", "--json", *arguments, env=env)
    told = json.loads(out)
    assert (code, err) == (told["exit"], "")
    return code, {one["check"]: one for one in told["causes"]}


def test_every_check_leads_to_a_step_and_a_section_that_there_are():
    sections = set(re.findall(r"^## (\w+)", RUNBOOK, re.MULTILINE))
    assert {one.section for one in CHECKS.values()} - sections == {""}
    assert {one.step for one in CHECKS.values()} - set(STEPS) == {""}
    assert [name for name, one in CHECKS.items() if not one.kinds <= set(KINDS)] == []
    assert set(DOCTORS) <= set(CHECKS)
    assert {f"calls:{reason.value}" for reason in FAULTS} <= set(CHECKS)
    for kind in KINDS:
        assert [one for one in CHECKS.values() if kind in one.kinds], kind


def test_causes_come_before_their_effects_and_what_is_well_comes_last():
    def finding(check, level):
        return Finding(level, check, "", check=check)

    found = [
        finding("calls:trunk_failure", Level.BROKEN),
        finding("memory", Level.WELL),
        finding("providers", Level.BROKEN),
        finding("redis", Level.DEGRADED),
        finding("network", Level.BROKEN),
    ]
    assert [one.finding.check for one in ordered(found, None)] == [
        "network",
        "providers",
        "redis",
        "calls:trunk_failure",
        "memory",
    ]
    assert [one.finding.check for one in ordered(found, "sip")] == [
        "network",
        "calls:trunk_failure",
    ]


def test_a_fresh_install(variables, tmp_path):
    code, found = causes(env=variables)
    assert (code, found["settings"]["level"]) == (2, "broken")
    assert found["settings"]["recover"] == "reload"
    assert not [name for name in found if name.startswith("calls:")]
    assert not (tmp_path / "calls.db").exists()
    assert not (tmp_path / "data").exists(), "nothing is made"
    told = invoke("diagnose", env=variables)[1]
    assert "no calls yet" in told
    assert "-> " in told


def test_what_is_away_is_a_finding(variables):
    nobody = "127.0.0.1:9"
    away = {
        **variables,
        "VOICE_AGENT__STORE__URL": f"postgresql://tester:hush-hush@{nobody}/calls",
        "REDIS_URL": f"redis://{nobody}/0",
        "LIVEKIT_URL": f"ws://{nobody}",
        "LIVEKIT_API_KEY": "key-of-a-test",
        "LIVEKIT_API_SECRET": "secret-of-a-test-that-is-long-enough",
    }
    code, found = causes(env=away)
    assert code == 2
    assert {"network", "database", "redis"} <= set(found)
    assert found["redis"]["recover"] == "restart-redis"
    assert found["database"]["runbook"] == "SpoolNotEmpty"
    assert next(iter(found)) == "network"
    assert "hush-hush" not in str(found)
    code, found = causes("--kind", "performance", env=away)
    assert (code, "network" in found, "redis" in found) == (1, False, True)


def test_settings_that_are_wrong_are_the_cause(variables):
    wrong = {**variables, "VOICE_AGENT__WORKER__MAX_CALS": "3"}
    code, found = causes("--kind", "sip", env=wrong)
    assert (code, list(found)) == (2, ["settings"])


def test_a_kind_that_there_is_not(variables):
    assert invoke("diagnose", "--kind", "weather", env=variables)[0] == 2


def calls(url, reasons, latency=0.9):
    log = CallLog.open(url)
    for index, reason in enumerate(reasons):
        call = f"{index:032x}"
        log.apply(
            "w",
            [
                CallOpened(
                    call_id=call,
                    seq=1,
                    room="r",
                    room_sid=f"RM_{index}",
                    job_id=f"AJ_{index}",
                    agent_name="voice-ai",
                    pid=1,
                ),
                *turn(call, latency),
                *([failed(call)] if reason is EndReason.PROVIDER_FAILURE else []),
                CallEnded(call_id=call, seq=9, reason=reason),
            ],
        )
    return log


def turn(call, latency):
    yield TurnCommitted(call_id=call, seq=2, turn=1, user_text="", confidence=0.9)
    yield TurnFinished(call_id=call, seq=3, turn=1, agent_text="", latency=latency)


def failed(call):
    detail = {"of": "stt", "provider": "deepgram", "error": "APIStatusError", "state": "down"}
    return CallNote(call_id=call, seq=4, name="provider_failed", detail=detail)


def test_the_record_tells_of_failed_calls_providers_and_latency(variables, tmp_path):
    settings = load(environ=variables)
    reasons = [EndReason.CALLER_HANGUP] * 7 + [EndReason.PROVIDER_FAILURE, EndReason.REJECTED_BUSY]
    calls(settings.store.url, [*reasons, EndReason.TRUNK_FAILURE], latency=3.0).close()
    for name in ("spool/bad/a.jsonl", "webhooks/dead/a.jsonl", "spool/b.jsonl"):
        path = settings.data.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    found = record.look(settings, timedelta(hours=1))
    told = {(one.check, one.level): one.came_back for one in found}
    assert told["calls:trunk_failure", Level.BROKEN] == "1 of 10 calls in 1 h"
    assert "1 times in 1 h (APIStatusError)" in told["calls:provider_failure", Level.DEGRADED]
    assert told["calls:rejected_busy", Level.DEGRADED] == "1 of 10 in 1 h"
    assert told["latency", Level.DEGRADED] == "p95 3.0 s over 10 answers in 1 h"
    assert told["spool", Level.DEGRADED] == "1 calls wait for the database"
    assert sum(one.check == "dead-letters" for one in found) == 2
    (nothing,) = [
        one for one in record.look(settings, timedelta(microseconds=1)) if one.check == "record"
    ]
    assert nothing.level is Level.WELL


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgresql"))])
def store_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/calls.db"
    return request.getfixturevalue("postgres_url")


def test_figures_of_both_databases(store_url):
    log = calls(store_url, [EndReason.CALLER_HANGUP] * 3 + [EndReason.PROVIDER_FAILURE])
    figures, since = AuditFigures(log.engine), now() - timedelta(days=1)
    assert figures.endings(since) == {"caller_hangup": 3, "provider_failure": 1}
    (one,) = figures.provider_failures(since)
    assert (one.kind, one.provider, one.count) == ("stt", "deepgram", 1)
    told = figures.latency(since)
    assert (told.turns, told.p50, told.p95) == (4, 0.9, 0.9)
    assert figures.latency(now()).p95 is None
    assert figures.size().bytes > 10_000
    assert all(0 <= seconds < 20 for seconds in figures.timings().values())
    assert figures.webhooks_given_up() == figures.failed_recordings(since) == []
    log.close()
