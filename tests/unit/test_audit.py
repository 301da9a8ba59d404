"""What an audit finds: each thing that is not as it should be, by itself, with its priority."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.call import now
from agent.store import CallLog
from agent.store.access import Access
from agent.store.audit_figures import Latency, Size
from config.settings import ROOT, load
from config.sip import load_sip
from ops.front.clients import new_key
from ops.health import certificates
from ops.upkeep import audit_configuration, audit_performance, audit_secrets, audit_security
from ops.upkeep.audit_advice import Priority
from ops.upkeep.audit_performance import Month
from tests.sip_operator import invoke

HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW
KEYS = {"LIVEKIT_API_KEY": "key-of-a-test", "LIVEKIT_API_SECRET": "s3cret" * 8}
MONTH = Month(30, {"caller_hangup": 100}, Latency(100, 0.8, 1.2), Size(2**20, 0.0), {})


@pytest.fixture
def variables(tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    return {
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
        "VOICE_AGENT__DATA__FOLDER": str(data),
        "LIVEKIT_URL": "wss://example.test",
        "SIP_NUMBER": "+70000000100",
        "SIP_ALLOWED_ADDRESSES": "203.0.113.7",
        **KEYS,
    }


def security(variables, **changed):
    settings = load(environ={**variables, **changed})
    found = audit_security.examine(settings, {**variables, **changed}, [], timedelta(days=180))
    return [(one.check, one.priority) for one in found if "config/" not in one.found]


def test_a_sound_installation_has_nothing_to_mend(variables):
    assert security(variables) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"VOICE_AGENT__SERVE__HOST": "0.0.0.0"}, ("open doors", HIGH)),
        (
            {"VOICE_AGENT__SERVE__TRUSTED_PROXIES": "0.0.0.0/0"},
            ("open doors", HIGH),
        ),
        ({"VOICE_AGENT__SERVE__PER_MINUTE": "0"}, ("open doors", MEDIUM)),
        ({"VOICE_AGENT__SERVE__METRICS": "loopback"}, ("open doors", LOW)),
        (
            {"VOICE_AGENT__WORKER__HOST": "0.0.0.0", "VOICE_AGENT__WORKER__OPEN_HOST": "true"},
            ("open doors", HIGH),
        ),
        ({"VOICE_AGENT__SECURITY__ALLOW_INSECURE_LIVEKIT": "true"}, ("open doors", LOW)),
        (
            {
                "VOICE_AGENT__SECURITY__ALLOW_INSECURE_LIVEKIT": "true",
                "LIVEKIT_URL": "ws://example.test",
            },
            ("open doors", HIGH),
        ),
        ({"VOICE_AGENT__SECURITY__TRACES_WITH_CONTENT": "true"}, ("privacy", MEDIUM)),
        ({"VOICE_AGENT__RECORDING__DAYS": "0"}, ("retention", MEDIUM)),
        (
            {"LIVEKIT_URL": "ws://localhost:7880", "LIVEKIT_API_SECRET": "secret"},
            ("secrets", LOW),
        ),
        (
            {
                "VOICE_AGENT__WORKER__ENDPOINTS_TOKEN": "changeme",
                "VOICE_AGENT__WORKER__ENDPOINTS_HOST": "0.0.0.0",
            },
            ("secrets", HIGH),
        ),
        ({"VOICE_AGENT__SECURITY__CALLER_SALT": "short"}, ("secrets", MEDIUM)),
        ({"REDIS_URL": "rediss://cache.test:6379/0"}, ("stores", HIGH)),
        ({"REDIS_URL": "redis://:long-password@cache.test:6379/0"}, ("stores", LOW)),
        ({"DATABASE_URL": "postgresql://u:p@db.test/calls"}, ("stores", MEDIUM)),
    ],
)
def test_each_open_door_and_weak_secret_is_found_by_itself(variables, changed, found):
    if "DATABASE_URL" in changed:
        variables.pop("VOICE_AGENT__STORE__URL")
    assert security(variables, **changed) == [found]


@pytest.mark.parametrize(
    "url", ["redis://localhost/0", "rediss://:p@cache.test/0", "unix:///run/redis.sock", ""]
)
def test_a_redis_that_is_as_it_should_be(variables, url):
    assert security(variables, REDIS_URL=url) == []


def test_modes_of_files(variables, tmp_path):
    data = tmp_path / "data"
    (data / "caller_salt").write_text("x")
    (data / "caller_salt").chmod(0o644)
    assert security(variables) == [("file modes", HIGH)]
    (data / "caller_salt").chmod(0o600)
    data.chmod(0o755)
    assert security(variables) == [("file modes", MEDIUM)]
    data.chmod(0o777)
    assert security(variables) == [("file modes", MEDIUM), ("file modes", HIGH)]


def test_old_keys_and_the_key_of_the_first_start(variables, tmp_path):
    keys = tmp_path / "data" / "keys"
    keys.mkdir(mode=0o700)
    file = keys / "APIold.key"
    file.write_text(f"APIold: {'x1' * 20}\n")
    file.chmod(0o600)
    assert security(variables) == []
    long_ago = (now() - timedelta(days=200)).timestamp()
    os.utime(file, (long_ago, long_ago))
    assert security(variables) == [("age of keys", MEDIUM)]
    first = tmp_path / "client-key"
    first.write_text("va_x_y")
    first.chmod(0o600)
    changed = {"VOICE_AGENT__SERVE__CLIENT_KEY_FILE": str(first)}
    assert ("first client key", MEDIUM) in security(variables, **changed)


def test_client_keys():
    row, _ = new_key("desk", ("admin",), 0)
    old = replace(row, made_at=now() - timedelta(days=400))
    found = list(audit_secrets.client_keys([old], timedelta(days=180)))
    assert [(one.check, one.priority) for one in found] == [
        ("client keys", MEDIUM),
        ("age of keys", MEDIUM),
        ("unused keys", MEDIUM),
        ("client keys", LOW),
    ]
    narrow, _ = new_key("kiosk", ("tokens",))
    assert list(audit_secrets.client_keys([narrow], timedelta(days=180))) == []
    made = now() - timedelta(days=100)
    for used, found in ((None, ["unused keys"]), (made, ["unused keys"]), (now(), [])):
        one = replace(narrow, made_at=made, used_at=used)
        told = list(audit_secrets.client_keys([one], timedelta(days=180)))
        assert [advice.check for advice in told] == found


@pytest.mark.parametrize(
    ("trunk", "found"),
    [
        ("{name: main, numbers: ['+1'], allow_open: true}", [("trunks", HIGH)]),
        ("{name: main, numbers: ['+1'], allowed_addresses: [sip.test], allow_open: true}",
         [("trunks", HIGH)]),
        ("{name: main, numbers: ['+1'], allowed_addresses: [203.0.113.0/24]}", []),
    ],
)  # fmt: skip
def test_trunks_that_take_calls_from_anybody(variables, tmp_path, monkeypatch, trunk, found):
    file = tmp_path / "sip.yaml"
    file.write_text(f"inbound_trunks:\n  - {trunk}\n")
    monkeypatch.setattr(audit_security, "load_sip", lambda told: load_sip(told, file))
    assert security(variables) == found


@pytest.mark.parametrize(("redact", "level"), [("[card, phone, keys]", MEDIUM), ("[phone]", HIGH)])
def test_a_persona_that_keeps_what_it_should_not(variables, tmp_path, redact, level):
    text = (ROOT / "config" / "personas" / "en.yaml").read_text()
    assert "redact: [card, email, phone, keys]" in text
    folder = tmp_path / "personas"
    folder.mkdir()
    (folder / "en.yaml").write_text(text.replace("[card, email, phone, keys]", redact))
    changed = {"VOICE_AGENT__PERSONAS__FOLDER": str(folder)}
    assert ("privacy", level) in security(variables, **changed)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("days", "found"), [(90, []), (10, [("certificates", MEDIUM)]), (2, [("certificates", HIGH)])]
)
def test_the_end_of_a_certificate(variables, tmp_path, days, found):
    file, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days))
    where = ("-keyout", key, "-out", file, "-subj", "/CN=localhost")
    subprocess.run([*make, *where], check=True, capture_output=True)
    changed = {"VOICE_AGENT__SERVE__TLS_CERTIFICATE": str(file)}
    assert security(variables, **changed) == found
    asked = subprocess.run(
        ("openssl", "x509", "-in", file, "-noout", "-enddate", "-dateopt", "iso_8601"),
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert f"{certificates.of_file(file):%Y-%m-%d %H:%M:%S}Z" in asked
    file.write_text("no certificate")
    assert security(variables, **changed) == [("certificates", HIGH)]


@pytest.mark.parametrize(
    ("month", "found"),
    [
        (MONTH, []),
        (replace(MONTH, latency=Latency(100, 1.0, 2.5)), [("response latency", MEDIUM)]),
        (replace(MONTH, latency=Latency(100, 1.0, 6.0)), [("response latency", HIGH)]),
        (replace(MONTH, latency=Latency(3, 1.0, 6.0)), []),
        (
            replace(MONTH, endings={"caller_hangup": 92, "trunk_failure": 8}),
            [("failed calls", MEDIUM)],
        ),
        (
            replace(MONTH, endings={"caller_hangup": 80, "trunk_failure": 20}),
            [("failed calls", HIGH)],
        ),
        (
            replace(MONTH, endings={"caller_hangup": 80, "rejected_busy": 20}),
            [("capacity", MEDIUM)],
        ),
        (replace(MONTH, timings={"the newest calls": 2.0}), [("slow queries", MEDIUM)]),
        (replace(MONTH, size=Size(6 * 2**30, 0.0)), [("database size", LOW)]),
        (replace(MONTH, size=Size(2**30, 0.5)), [("database size", LOW)]),
    ],
)
def test_the_month(variables, month, found):
    told = audit_performance.examine(load(environ=variables), month)
    assert [(one.check, one.priority) for one in told if one.check != "disk"] == found


def test_a_chain_with_one_provider(variables):
    told = audit_performance.examine(load(environ={**variables, "DEEPGRAM_API_KEY": "k"}), None)
    assert "speech.stt: deepgram alone" in str([one.found for one in told])


def test_every_variable_and_every_path(variables, tmp_path):
    def found(**changed):
        told = {**variables, **changed}
        advice = audit_configuration.examine(load(environ=told), told)
        return [(one.check, one.priority, one.found) for one in advice if one.priority != LOW]

    ours = [one for one in found() if one[0] != "providers"]
    assert ours == []
    ((_, level, said),) = [one for one in found(SIP_NUMBER="") if one[0] == "variables"]
    assert (level, "config/sip.yaml:" in said, "SIP_NUMBER" in said) == (MEDIUM, True, True)
    auth = tmp_path / "auth.yaml"
    auth.write_text("keys:\n  - {key: APIb, secret: '${OTHER_SECRET}'}\n")
    told = found(VOICE_AGENT__LIVEKIT__AUTH=str(auth))
    assert ("variables", HIGH) in [one[:2] for one in told]
    auth.write_text(f"keys:\n  - {{key: APIb, secret_file: {tmp_path}/none}}\n")
    told = found(VOICE_AGENT__LIVEKIT__AUTH=str(auth))
    assert ("paths", HIGH) in [one[:2] for one in told]
    told = found(VOICE_AGENT__COSTS__PRICES=str(tmp_path / "none.yaml"))
    assert ("paths", HIGH) in [one[:2] for one in told]
    told = found(LIVEKIT_URL="", LIVEKIT_API_KEY="")
    assert [one[1] for one in told if one[0] == "variables"] == [HIGH, HIGH]


def audited(*arguments, env):
    code, out, err = invoke("audit", "--json", *arguments, env=env)
    assert err == ""
    return code, json.loads(out)


def test_the_command(variables, tmp_path):
    CallLog.open(variables["VOICE_AGENT__STORE__URL"]).close()
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"])
    row, _ = new_key("desk", ("admin",))
    Access(log.engine).add_key(row)
    log.close()
    (tmp_path / "calls.db").chmod(0o600)
    code, told = audited("--out", str(tmp_path / "out" / "audit.json"), env=variables)
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == told
    assert (code, told["performance_audit"]["figures"]["calls"]) == (0, 0)
    assert "client keys" in {one["check"] for one in told["recommendations"]}
    order = [one["priority"] for one in told["recommendations"]]
    assert order == sorted(order, key=["high", "medium", "low"].index)
    code, out, _ = invoke("audit", env=variables)
    assert (code, "no calls yet" in out, "0 high" in out) == (0, True, True)
    code, told = audited(env={**variables, "VOICE_AGENT__SERVE__HOST": "0.0.0.0"})
    assert (code, told["security_audit"]["status"]) == (1, "needs_attention")
    assert KEYS["LIVEKIT_API_SECRET"] not in str(told)


def test_a_fresh_install_and_what_is_away(variables, tmp_path):
    code, told = audited(env=variables)
    assert (code, told["performance_audit"]["figures"]) == (0, None)
    assert not (tmp_path / "calls.db").exists()
    away = "postgresql://tester:hush-hush@127.0.0.1:9/calls"
    code, told = audited(env={**variables, "VOICE_AGENT__STORE__URL": away})
    assert (code, "hush-hush" in str(told)) == (1, False)
    assert told["recommendations"][0]["check"] == "database"
    code, told = audited(env={**variables, "VOICE_AGENT__WORKER__MAX_CALS": "1"})
    assert (code, told["recommendations"][0]["check"]) == (1, "settings")
