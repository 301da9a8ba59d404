"""`python -m ops doctor sip --file`: what it says of a call, and its exit code."""

import json

import pytest

from tests.sip_operator import invoke

FILE = """
inbound_trunks:
  - name: main
    numbers: ["+70000000100"]
    allowed_addresses: [203.0.113.0/24]
  - name: second
    numbers: ["+70000000101"]
    auth: {username: caller, password: "${SIP_PASSWORD}"}
dispatch_rules:
  - name: first
    trunks: [main]
  - name: keyed
    trunks: [second]
    callee: {pin: "${PIN}"}
"""
CALL = ("--from", "+70000000001", "--to", "+70000000100", "--ip", "203.0.113.7")


@pytest.fixture
def doctor(tmp_path):
    def ask(*arguments, text=FILE, **variables):
        file = tmp_path / "sip.yaml"
        file.write_text(text)
        env = {"SIP_PASSWORD": "hush", "PIN": "4321", **variables}
        code, out, err = invoke("doctor", "sip", "--file", str(file), *arguments, env=env)
        assert "hush" not in out + err
        assert "4321" not in out + err
        return code, out, err

    return ask


def test_a_call_that_is_taken_is_well(doctor):
    code, out, _ = doctor(*CALL)
    assert code == 0
    assert "* inbound trunk main: matches" in out
    assert "* dispatch rule first: matches" in out
    assert "taken by inbound trunk main and dispatch rule first" in out
    assert "voice-ai is dispatched" in out


def test_a_call_that_is_dropped_names_the_field_of_the_nearest_trunk(doctor):
    code, out, _ = doctor(*CALL[:-1], "198.51.100.1")
    assert code == 2
    assert "- inbound trunk main: allowed_addresses: 198.51.100.1 is not in 203.0.113.0/24" in out
    assert "the nearest: inbound trunk main: allowed_addresses" in out


def test_the_same_for_machines(doctor):
    code, out, _ = doctor(*CALL[:-1], "198.51.100.1", "--json")
    told = json.loads(out)
    assert (code, told["exit"], told["verdict"]["outcome"]) == (2, 2, "dropped")
    assert {one["name"]: one["field"] for one in told["trunks"]} == {
        "main": "allowed_addresses",
        "second": "numbers",
    }
    assert {one["name"]: one["field"] for one in told["rules"]} == {
        "first": "trunks",
        "keyed": "trunks",
    }
    assert told["findings"][0]["level"] == "broken"


def test_a_password_and_a_pin_are_told_beforehand(doctor):
    code, out, _ = doctor("--from", "+70000000001", "--to", "+70000000101", "--ip", "203.0.113.7")
    assert code == 0
    assert "after the trunk's password (407)" in out
    assert "dispatch rule keyed asks the caller for a PIN first" in out


def test_another_agent_than_the_workers_is_broken(doctor):
    code, out, _ = doctor(*CALL, VOICE_AGENT__WORKER__AGENT_NAME="somebody-else")
    assert code == 2
    assert "voice-ai is dispatched, and the worker is somebody-else" in out


def test_a_rule_that_takes_calls_without_a_trunk_is_degraded(doctor):
    code, out, _ = doctor(*CALL, text="dispatch_rules: [{name: all}]\n")
    assert code == 1
    assert "takes the call although it matches no trunk" in out


def test_equal_rules_are_degraded(doctor):
    text = (
        "inbound_trunks: [{name: main, numbers: ['+70000000100'],"
        " allowed_addresses: [203.0.113.7]}]\n"
        "dispatch_rules:\n"
        "  - {name: a, trunks: [main], numbers: ['+70000000100']}\n"
        "  - {name: b, trunks: [main], inbound_numbers: ['+70000000001']}\n"
    )
    code, out, _ = doctor(*CALL, text=text)
    assert code == 1
    assert "dispatch rule a and dispatch rule b: rank the same" in out


def test_a_trunk_that_knows_the_caller_by_the_from_host_alone_is_degraded(doctor):
    text = (
        "inbound_trunks: [{name: main, numbers: ['+70000000100'], allow_open: true,\n"
        "  allowed_addresses: [sip.provider.example, 203.0.113.0/24]}]\n"
        "dispatch_rules: [{name: r, trunks: [main]}]\n"
    )
    host = "--host", "sip.provider.example"
    elsewhere = (*CALL[:-1], "198.51.100.1")
    code, out, _ = doctor(*elsewhere, *host, text=text)
    assert code == 1
    assert "inbound trunk main: takes the call by its From host sip.provider.example alone" in out
    assert doctor(*CALL, *host, text=text)[0] == 0
    auth = "allow_open: true, auth: {username: caller, password: '${SIP_PASSWORD}'}"
    challenged = text.replace("allow_open: true", auth)
    assert doctor(*elsewhere, *host, text=challenged)[0] == 0


def test_trunks_in_conflict_are_broken(doctor):
    text = (
        "inbound_trunks:\n"
        "  - {name: a, numbers: ['+70000000100'], allowed_addresses: [203.0.113.7]}\n"
        "  - {name: b, numbers: ['+70000000100'], allowed_addresses: [203.0.113.7],"
        " allowed_numbers: ['+70000000001']}\n"
        "dispatch_rules: [{name: r}]\n"
    )
    code, out, _ = doctor(*CALL, text=text)
    assert code == 2
    assert "refused with 503: inbound trunk a and inbound trunk b have the number" in out
    code, out, _ = doctor(text=text)
    assert code == 1
    assert "some calls are refused with 503: inbound trunk a and inbound trunk b match" in out


def test_without_a_call_the_agents_of_all_rules_are_examined(doctor):
    code, out, _ = doctor()
    assert code == 0
    assert out.count("voice-ai is dispatched") == 2
    assert doctor(text="owner: x\n")[0] == 2


def test_an_outbound_address_that_does_not_answer_is_degraded(doctor):
    text = FILE + (
        "outbound_trunks: [{name: out, address: '127.0.0.1:99999', numbers: ['+70000000100']}]\n"
    )
    code, out, _ = doctor(*CALL, text=text)
    assert code == 1
    assert "OPTIONS to outbound trunk out 127.0.0.1:99999: cannot be asked" in out
    assert doctor(*CALL, "--no-options", text=text)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "+7"], "a call has --from, --to and --ip: --to and --ip"),
        ([*CALL[:-1], "here"], "--ip here is no IP address"),
    ],
)
def test_half_a_call_is_refused(doctor, arguments, said):
    code, _, err = doctor(*arguments)
    assert code == 2
    assert said in err
