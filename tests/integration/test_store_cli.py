"""`python -m ops calls` as an operator meets it: a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.call import EndReason
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    TurnCommitted,
    TurnFinished,
)
from agent.pseudonym import Pseudonyms
from agent.store import CallLog
from tests import canaries

pytest_plugins = ["tests.postgres"]

ROOT = Path(__file__).parents[2]
CALL, OPEN = "e1" * 16, "f2" * 16
SALTED = canaries.secret()
SALT = {"VOICE_AGENT__SECURITY__CALLER_SALT": SALTED}
NUMBER, OTHER = "+15550142", "+15550143"
PSEUDONYM = Pseudonyms(SALTED.encode()).of_number(NUMBER)
USAGE = {"models": [{"type": "llm_usage", "provider": "groq", "model": "m", "output_tokens": 9}]}
USAGE["telephony"] = {"trunk": "ST_1", "seconds": 74.0}
COST = {
    "currency": "USD",
    "prices": "2026-11-21",
    "total": None,
    "known": "0.000007",
    "providers": {"groq": "0.000007", "ST_1": None},
    "parts": [
        {"kind": "llm", "provider": "groq", "model": "m", "cost": "0.000007"},
        {"kind": "telephony", "provider": "ST_1", "model": "", "cost": None},
    ],
}
NOON = datetime(2025, 1, 31, 12, 0, tzinfo=UTC)


def ops(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ops", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"TZ": "UTC", "PATH": "", **variables},
        check=False,
    )


def opened(call_id, at):
    return CallOpened(
        call_id=call_id, seq=1, at=at, room="r", room_sid="", job_id="j", agent_name="a", pid=7
    )


def fill(log):
    def later(seconds):
        return NOON + timedelta(seconds=seconds)

    key = {"call_id": CALL}
    said = "[red]open\x1b[31m?"
    number = PSEUDONYM
    log.apply(
        "host/1",
        [
            opened(CALL, NOON),
            CallerJoined(**key, seq=2, at=later(1), identity="x", number=number, persona="en"),
            TurnCommitted(**key, seq=3, at=later(2), turn=1, user_text=said),
            TurnFinished(**key, seq=4, at=later(3), turn=1, agent_text="From nine.", latency=0.42),
            CallNote(**key, seq=5, at=later(4), name="dtmf", detail={"digits": 1}),
            CallEnded(
                **key, seq=6, at=later(75), reason=EndReason.CALLER_HANGUP, usage=USAGE, cost=COST
            ),
        ],
    )
    log.apply("host/1", [opened(OPEN, datetime.now(UTC) - timedelta(minutes=5))])


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    log = CallLog.open(url)
    fill(log)
    log.close()
    return url


def rows(done):
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


def refused(done):
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


def test_a_list_shows_a_line_a_call_with_the_beginning_of_the_pseudonym(url):
    header, newest, oldest = rows(ops("calls", "list", "--database", url))
    assert header == ["when", "duration", "persona", "number", "turns", "end", "id"]
    assert newest[-3:] == ["goes", "on", OPEN[:8]]
    assert oldest == [
        *("2025-01-31", "12:00:00", "1:15", "en", PSEUDONYM[:8], "1", "caller_hangup", CALL[:8])
    ]


def test_pseudonyms_are_shown_when_asked_for(url):
    assert PSEUDONYM in ops("calls", "list", "--numbers", "--database", url).stdout


def test_a_list_can_be_narrowed(url):
    def ids(*options):
        done = ops("calls", "list", "--json", *options, "--database", url)
        return [call["id"] for call in json.loads(done.stdout)]

    assert ids("--open") == [OPEN]
    assert ids("--limit", "1") == [OPEN]
    assert ids("--since", "1h") == [OPEN]
    assert ids("--since", "2025-01-31T12:00") == [OPEN, CALL]


def test_json_is_complete(url):
    (call,) = (
        call
        for call in json.loads(ops("calls", "list", "--json", "--database", url).stdout)
        if call["id"] == CALL
    )
    assert call["caller_number"] == PSEUDONYM
    assert call["cost"] == COST
    assert datetime.fromisoformat(call["ended_at"]) == NOON + timedelta(seconds=75)
    record = json.loads(ops("calls", "show", CALL, "--json", "--database", url).stdout)
    assert record["call"] == call
    assert record["turns"][0]["latency"] == 0.42
    assert [event["kind"] for event in record["events"]][-1] == "call_ended"


def test_a_call_is_shown_with_its_turns_latencies_and_notes(url):
    done = ops("calls", "show", "e1", "--database", url)
    lines = rows(done)
    assert ["call", CALL] in lines
    assert ["end", "caller_hangup"] in lines
    assert ["1", "[red]open", "[31m?", "From", "nine.", "0.42", "s"] in lines
    assert ["4.0", "s", "dtmf", '{"digits":', "1}"] in lines


def test_a_call_is_shown_with_what_it_cost_by_provider(url):
    lines = rows(ops("calls", "show", "e1", "--database", url))
    told = "cost not known; at least 0.000007 USD (prices of 2026-11-21)"
    assert told.split() in lines
    assert ["groq", "llm", "m", "0.000007"] in lines
    assert ["ST_1", "telephony", "not", "in", "the", "price", "book"] in lines
    assert ["telephony", "ST_1:", "74.0", "seconds"] in lines


def test_the_calls_of_one_caller_are_found_by_the_number_that_is_not_kept(url):
    def found(number):
        done = ops("calls", "list", "--caller", number, "--json", "--database", url, **SALT)
        assert (done.returncode, done.stderr) == (0, "")
        return [call["id"] for call in json.loads(done.stdout)]

    assert found(NUMBER) == found("1 555 01 42") == [CALL]
    assert found(OTHER) == []
    assert NUMBER.encode() not in Path(url.removeprefix("sqlite:///")).read_bytes()


@pytest.mark.parametrize(("number", "told"), [("anna", "expected a phone"), (NUMBER, "no salt")])
def test_a_caller_who_cannot_be_looked_for_is_one_line(url, tmp_path, number, told):
    elsewhere = {"VOICE_AGENT__DATA__FOLDER": str(tmp_path / "none")}
    asked = ops("calls", "list", "--caller", number, "--database", url, **elsewhere)
    assert told in refused(asked)
    assert not (tmp_path / "none").exists()


def test_what_callers_say_cannot_colour_the_terminal(url):
    assert "\x1b" not in ops("calls", "show", "e1", "--database", url).stdout


def test_an_empty_list_says_how_to_make_a_call(tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    CallLog.open(url).close()
    done = ops("calls", "list", "--database", url)
    assert (done.returncode, done.stdout) == (
        0,
        "No calls in the record. `make call` makes one.\n",
    )
    assert json.loads(ops("calls", "list", "--json", "--database", url).stdout) == []


@pytest.mark.parametrize("asked", ["dead", "nonsense", ""])
def test_an_unknown_id_is_one_line(url, asked):
    assert "no call has an id" in refused(ops("calls", "show", asked, "--database", url))


def test_a_missing_database_is_named_with_its_setting_and_not_made(tmp_path):
    path = tmp_path / "none" / "calls.db"
    line = refused(ops("calls", "list", VOICE_AGENT__STORE__URL=f"sqlite:///{path}"))
    assert str(path) in line
    assert "store.url" in line
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_time_is_one_line(url):
    assert "--since '1x'" in refused(ops("calls", "list", "--since", "1x", "--database", url))


def test_wrong_settings_are_one_line():
    assert "store.urll" in refused(ops("calls", "list", VOICE_AGENT__STORE__URLL="x"))


def test_a_database_that_does_not_answer_is_one_line_without_its_password():
    line = refused(ops("calls", "list", "--database", "postgresql://u:secret@127.0.0.1:1/calls"))
    assert "127.0.0.1" in line
    assert "secret" not in line


def test_calls_are_read_from_postgresql(postgres_url):
    log = CallLog.open(postgres_url)
    fill(log)
    log.close()
    lines = rows(ops("calls", "list", "--database", postgres_url))
    assert [line[-1] for line in lines] == ["id", OPEN[:8], CALL[:8]]


@pytest.mark.parametrize("command", ["list", "show"])
def test_help_gives_an_example(command):
    assert f"python -m ops calls {command}" in ops("calls", command, "--help").stdout
