"""Every alert fires when it should and is silent when it should not: judged by promtool."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import replace

import pytest

from tests.alert_cases import RULES, STEPS, Case, promtool, rules, unit_test

OPS, WORKER = 'job="voice-ops"', 'job="voice-worker"'
WEEK = 7 * 24 * 60
HOURS = 30
"""Steps of ten minutes for which the same hours of two weeks are compared."""

pytestmark = pytest.mark.needs("prometheus")


ALERTS = [(rule["alert"], rule["labels"]["severity"]) for rule in rules() if "alert" in rule]


def counter(name, labels, per_minute):
    return f"{name}{{{labels}}}", f"0+{per_minute}x{STEPS}"


def gauge(name, labels, value):
    return f"{name}{{{labels}}}", f"{value}x{STEPS}"


def latency(name, labels, bounds, per_minute=60):
    """A histogram of which all observations fall under the last of `bounds` and over the others."""
    below = [counter(f"{name}_bucket", f'{labels},le="{bound}"', 0) for bound in bounds[:-1]]
    full = [
        counter(f"{name}_bucket", f'{labels},le="{bound}"', per_minute)
        for bound in (bounds[-1], "+Inf")
    ]
    return [*below, *full]


def api(*bounds, method="ListRooms"):
    labels = f'{OPS},service="RoomService",method="{method}"'
    return latency("livekit_api_request_duration_seconds", labels, bounds)


def http(*bounds):
    return latency("voice_http_request_duration_seconds", f'{OPS},route="/tokens"', bounds)


def answers(*bounds, kind="caller"):
    return latency("voice_response_latency_seconds", f'{WORKER},kind="{kind}"', bounds)


def statuses(name, labels, good, bad, ok="200", failed="500", label="status"):
    return [
        counter(name, f'{labels},{label}="{ok}"', good),
        counter(name, f'{labels},{label}="{failed}"', bad),
    ]


def connections(good, bad):
    return [
        counter("livekit_connections_total", OPS, good),
        counter("livekit_connection_errors_total", OPS, bad),
    ]


def calls(ended, failed, kind="caller"):
    return [
        counter("voice_calls_total", f'{WORKER},kind="{kind}",reason="caller_hangup"', ended),
        counter(
            "livekit_sip_call_failures_total",
            f'{WORKER},kind="{kind}",reason="media_failure"',
            failed,
        ),
    ]


def lengths(mean, kind="caller"):
    name = "livekit_sip_call_duration_seconds"
    labels = f'{WORKER},kind="{kind}"'
    return [counter(f"{name}_sum", labels, mean), counter(f"{name}_count", labels, 1)]


def hourly(last_week, now):
    """Calls a minute in one hour, and in the same hour a week later; samples every ten minutes."""
    labels = f'{WORKER},kind="caller",reason="caller_hangup"'
    before = last_week * 10 * HOURS
    quiet = WEEK // 10 - HOURS - 1
    series = f"0+{last_week * 10}x{HOURS} {before}x{quiet} {before}+{now * 10}x{HOURS}"
    return [(f"voice_calls_total{{{labels}}}", series)]


def states(**checks):
    names = {"registered": 1, "ready": 1, "not_full": 1, "not_draining": 1, **checks}
    labels = f'{WORKER},instance="w1"'
    return [gauge("voice_worker_state", f'{labels},check="{k}"', v) for k, v in names.items()]


def up(*jobs):
    return [gauge("up", f'{job},instance="i"', 1) for job in jobs]


def rooms(good, bad):
    return statuses("livekit_api_requests_total", f'{OPS},method="create_room"', good, bad)


def refreshes(good, bad):
    return statuses(
        "voice_token_requests_total",
        f'{OPS},operation="refresh"',
        good,
        bad,
        ok="done",
        failed="unavailable",
        label="outcome",
    )


def silences(long):
    labels = f'{WORKER},kind="caller"'
    name = "voice_dead_air_seconds"
    return [
        counter(f"{name}_bucket", f'{labels},le="3.0"', 1),
        counter(f"{name}_count", labels, 1 + long),
    ]


def percent(name, value):
    return [gauge(name, f'{OPS},path="/"', value)]


def certificate(days):
    return [gauge("voice_certificate_expires_timestamp_seconds", f'{OPS},name="x"', days * 86400)]


def readiness(minutes_down):
    labels = f'{WORKER},check="ready",instance="w1"'
    return [(f"voice_worker_state{{{labels}}}", f"1x{STEPS - 1 - minutes_down} 0x{minutes_down}")]


def provider(kind, name, up):
    return [
        gauge("voice_provider_up", f'{WORKER},instance="w1",kind="{kind}",provider="{name}"', up)
    ]


PROVIDER = f'{WORKER},kind="llm",provider="openai"'
CASES = {
    "HighAPILatency": (api(0.1, 0.25), api(0.5, 1.0), api(0.05, 0.1)),
    "HighHTTPLatency": (http(0.1, 0.25), http(0.5, 1.0), http(0.05, 0.1)),
    "HighErrorRate": (connections(97, 3), connections(90, 10), connections(1000, 1)),
    "HighHTTPErrorRate": tuple(
        statuses("voice_http_request_duration_seconds_count", f'{OPS},route="/tokens"', good, bad)
        for good, bad in ((97, 3), (90, 10), (1000, 1))
    ),
    "HighCPUUsage": tuple(percent("livekit_system_cpu_usage", v) for v in (75, 90, 60)),
    "HighMemoryUsage": tuple(percent("livekit_system_memory_usage", v) for v in (85, 95, 75)),
    "HighDiskUsage": tuple(percent("livekit_system_disk_usage", v) for v in (85, 95, 75)),
    "RoomCreationFailing": (rooms(97, 3), rooms(90, 10), rooms(1000, 1)),
    "ParticipantConnectionFailing": (
        connections(97, 3),
        connections(90, 10),
        connections(1000, 1),
    ),
    "PoorAudioQuality": tuple(
        [gauge("livekit_audio_quality_score", WORKER, v)] for v in (3.5, 2.5, 4.2)
    ),
    "SIPCallFailures": (calls(100, 7), calls(100, 15), calls(100, 1)),
    "TokenRefreshFailing": (refreshes(992, 8), refreshes(90, 10), refreshes(10000, 1)),
    "ShortCalls": (lengths(45), lengths(20), lengths(180)),
    "SlowResponse": (answers(2.0, 3.0), answers(5.0, 8.0), answers(0.5, 0.8)),
    "PoorRecognition": tuple(
        [gauge("voice_canary_word_accuracy", OPS, v)] for v in (0.85, 0.7, 0.97)
    ),
    "CertificateExpiring": (certificate(10), certificate(2), certificate(60)),
}
"""Alerts of two severities: what warns, what is critical, what is well."""

SINGLE = {
    ("DeadAir", "warning"): (silences(1), silences(0)),
    ("ProviderFailing", "warning"): tuple(
        [gauge("voice_provider_up", PROVIDER, v)] for v in (0, 1)
    ),
    ("NoProviderLeft", "critical"): (
        [*provider("stt", "a", 1), *provider("llm", "a", 0), *provider("llm", "b", 0)],
        [*provider("llm", "a", 0), *provider("llm", "b", 1), *provider("*", "c", 0)],
    ),
    ("ProviderFlapping", "warning"): tuple(
        [counter("voice_ai_provider_failures_total", PROVIDER, v)] for v in (1, 0.1)
    ),
    ("ProviderRefusedKey", "critical"): tuple(
        [gauge("voice_provider_refused", PROVIDER, v)] for v in (1, 0)
    ),
    ("WorkerNotRegistered", "critical"): (states(registered=0), states()),
    ("WorkerNotReady", "warning"): (states(ready=0), states(ready=0, not_full=0)),
    ("NoWorker", "critical"): (up(OPS), up(OPS, WORKER)),
    ("NoOps", "critical"): (up(WORKER), up(OPS, WORKER)),
    ("CanaryFailed", "critical"): tuple(
        [gauge("voice_canary_up", f'{OPS},worker="any"', v)] for v in (0, 1)
    ),
    ("CallWithoutAgent", "critical"): tuple(
        [counter("voice_unattended_calls_total", f'{OPS},outcome="{v}"', 1)]
        for v in ("dispatched", "left")
    ),
    ("HealthCheckFailing", "warning"): tuple(
        [gauge("voice_health_check", f'{OPS},check="redis"', v)] for v in (0, 1)
    ),
    ("SpoolNotEmpty", "warning"): tuple(
        [gauge("voice_spool_calls", OPS, v), gauge("voice_spool_bytes", f'{OPS},spool="x"', 0)]
        for v in (3, 0)
    ),
    ("WebhooksGivenUp", "critical"): tuple(
        [gauge("voice_webhooks_given_up", OPS, v)] for v in (1, 0)
    ),
    ("RecordingMissing", "warning"): tuple(
        [counter("voice_recordings_total", f'{OPS},outcome="{v}"', 1)]
        for v in ("failed", "complete")
    ),
    ("BackupOld", "warning"): (
        [gauge("voice_backup_last_success_timestamp_seconds", f'{OPS},what="database"', -130000)],
        [gauge("voice_backup_last_success_timestamp_seconds", f'{OPS},what="database"', 0)],
    ),
    ("WebhookLag", "warning"): tuple([gauge("voice_webhook_lag_seconds", OPS, v)] for v in (30, 1)),
    ("UptimeBurnsFast", "critical"): (readiness(10), readiness(0)),
    ("UptimeBurnsSlowly", "warning"): (readiness(20), readiness(0)),
}
"""Alerts of one severity: what fires, what is well."""

LAST_WEEK = {
    ("CallsDropped", "warning"): (hourly(1, 0.2), hourly(1, 1)),
    ("CallsDropped", "critical"): (hourly(1, 0), hourly(0.1, 0)),
}
"""Alerts that look back a week: what fires, what is well."""


def both(alert, severity, fires, is_well, **more):
    yield Case(alert, severity, True, tuple(fires), **more)
    yield Case(alert, severity, False, tuple(is_well), **more)


def thresholds():
    for alert, (warns, is_critical, is_well) in CASES.items():
        yield from both(alert, "warning", warns, is_well)
        yield from both(alert, "critical", is_critical, warns)


def measured_by_last_week():
    at = f"{WEEK + 10 * (HOURS - 3)}m"
    for (alert, severity), series in LAST_WEEK.items():
        yield from both(alert, severity, *series, at=at, interval="10m")


def without_traffic():
    for alert, severity in ALERTS:
        if alert not in {"NoWorker", "NoOps"}:
            # That no worker is there at all is what the uptime is about.
            quiet = readiness(0) if alert.startswith("Uptime") else up(OPS, WORKER)
            yield Case(alert, severity, False, tuple(quiet), "without-traffic")


def of_special_kinds():
    for kind in ("canary", "courtesy"):
        for alert, series in (
            ("SIPCallFailures", calls(100, 50, kind)),
            ("ShortCalls", lengths(5, kind)),
            ("SlowResponse", answers(5.0, 8.0, kind=kind)),
        ):
            yield Case(alert, "warning", False, tuple(series), kind)
    # A refused key counts for all kinds: nobody is left though none is known to be down.
    refused = [*provider("tts", "a", 1), *provider("stt", "b", 1), *provider("*", "a", 0)]
    yield Case("NoProviderLeft", "critical", True, tuple(refused), "refused-key")
    # Methods that block by nature do not count as latency.
    dialling = api(5.0, 10.0, method="create_sip_participant")
    yield Case("HighAPILatency", "warning", False, tuple(dialling), "dialling")


ALL = [
    *thresholds(),
    *(case for key, series in SINGLE.items() for case in both(*key, *series)),
    *measured_by_last_week(),
    *without_traffic(),
    *of_special_kinds(),
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder, by_alert = tmp_path_factory.mktemp("rules"), defaultdict(list)
    for case in ALL:
        by_alert[case.alert, case.interval].append(case)
    return promtool(*(unit_test(folder, *key, cases) for key, cases in by_alert.items()))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_an_alert_fires_when_it_should_and_is_silent_when_not(case, judged):
    wrong, told = judged
    assert case.name not in wrong, told


def test_every_case_is_told_by_its_name():
    assert len({case.name for case in ALL}) == len(ALL)


@pytest.mark.parametrize("change", [{"fires": False}, {"series": ()}])
def test_what_is_not_as_it_should_be_is_found(tmp_path, change):
    fires = next(case for case in ALL if case.name == "ProviderFailing-warning-fires")
    wrong = replace(fires, about="wrong", **change)
    found, _ = promtool(unit_test(tmp_path, fires.alert, fires.interval, [fires, wrong]))
    assert found == {wrong.name}


def test_every_alert_is_tested():
    for fires in (True, False):
        tested = {(case.alert, case.severity) for case in ALL if case.fires is fires}
        assert sorted(tested) == sorted(ALERTS)


@pytest.mark.parametrize("rule", list(rules()), ids=lambda r: r.get("alert") or r["record"])
def test_a_rule_names_its_job_or_a_rule_that_does(rule):
    selectors = re.findall(r"(?<![\w:\"])((?:livekit|voice)_\w+|up)\b(\{[^}]*\})?", rule["expr"])
    assert all("job=" in labels for _, labels in selectors), selectors
    assert selectors or "voice:" in rule["expr"]


ALERT_RULES = [rule for rule in rules() if "alert" in rule]


@pytest.mark.parametrize("rule", ALERT_RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_how_bad_and_what_to_do(rule):
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["labels"]["component"]
    assert rule["annotations"]["summary"]
    page, _, section = rule["annotations"]["runbook_url"].partition("#")
    runbook = (RULES.parents[2] / page).read_text("utf-8")
    assert section in {line[3:].lower() for line in runbook.splitlines() if line[:3] == "## "}


def test_every_section_of_the_runbook_belongs_to_an_alert():
    runbook = (RULES.parents[1] / "docs" / "runbook.md").read_text("utf-8")
    sections = {line[3:] for line in runbook.splitlines() if line.startswith("## ")}
    assert sections == {alert for alert, _ in ALERTS}


def test_the_shipped_files_are_sound():
    told = subprocess.run(
        ["promtool", "check", "rules", *RULES.glob("*.yml")], capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr
    # The files with secrets are not on this machine: only the shape is looked at.
    config = RULES.parent / "prometheus.yml"
    told = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", config], capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr


@pytest.mark.needs("prometheus-alertmanager")
def test_the_notification_routes_are_sound():
    file = RULES.parents[1] / "alertmanager" / "alertmanager.yml"
    told = subprocess.run(["amtool", "check-config", file], capture_output=True, check=False)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=critical component=sip", "on-call,incidents"),
        ("severity=warning component=sip", "chat"),
        ("severity=warning component=upkeep", "mail"),
    ],
)
@pytest.mark.needs("prometheus-alertmanager")
def test_alerts_reach_whom_they_should(labels, receivers):
    file = RULES.parents[1] / "alertmanager" / "alertmanager.yml"
    command = ["amtool", "config", "routes", "test", f"--config.file={file}", *labels.split()]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.strip() == receivers
