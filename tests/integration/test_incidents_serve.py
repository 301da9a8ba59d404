"""Incidents in processes of their own: two of them, one killed; a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from agent.call import now
from agent.store import CallLog
from agent.store.incidents import Entry, Incident, Incidents, Told
from agent.store.notices import SENT, Notices
from config.incidents import load_contacts
from ops.__main__ import app
from ops.incidents.desk import Desk
from tests.programs import eventually, run
from tests.receivers import HttpReceiver
from tests.serve_process import ServeProcess, client_key, settings

CONTACTS = """\
channels:
  chat: {url: "${TEST_CHAT_URL}"}
notification_channels: {critical: [chat]}
escalation_contacts:
  level_2: [{name: On call, channels: [chat]}]
"""


@pytest.fixture
def variables(tmp_path):
    (tmp_path / "contacts.yaml").write_text(CONTACTS)
    return {
        **settings(tmp_path),
        "VOICE_AGENT__SERVE__SIDECARS": "incidents",
        "VOICE_AGENT__NOTIFICATIONS__CONTACTS": str(tmp_path / "contacts.yaml"),
        "VOICE_AGENT__NOTIFICATIONS__WITHIN": "1",
    }


@pytest.fixture
def log(variables):
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"])
    yield log
    log.close()


async def test_each_step_is_told_once_by_two_of_whom_one_is_killed(variables, log, tmp_path):
    key = client_key(variables["VOICE_AGENT__STORE__URL"], "incidents")
    opened = now() - timedelta(minutes=16)  # levels 1 and 2 are due
    incident = Incident(
        id="abc1",
        level="P1",
        kind="api",
        what="all is down",
        opened_at=opened,
        climbs_from=opened,
    )
    async with HttpReceiver() as hook:
        variables["TEST_CHAT_URL"] = hook.url
        hook.status = 503
        Incidents(log.engine).open(incident, Entry(incident="abc1", at=opened, who="me",
                                                   event="opened"), Told())  # fmt: skip
        async with ServeProcess(variables, key) as first, ServeProcess(variables, key) as second:
            await first.url()
            await second.url()
            await eventually(lambda: Incidents(log.engine).get("abc1").step == 2, "the steps")
            holder = await _first_that_failed(first, second)
            holder.process.kill()
            await holder.process.wait()
            hook.status = 200
            got = await hook.news.first(lambda one: "level 2" in one["message"])
            assert got["type"] == "failure"
            other = second if holder is first else first
            status, told = await other.ask("/incidents/abc1/ack", "POST", json={"text": "I look"})
            assert (status, told["state"]) == (200, "acknowledged")
            await hook.news.first(lambda one: "acknowledged by" in one["message"])
            await eventually(lambda: Notices(log.engine).counts() == {SENT: 2}, "all is sent")
        assert len(hook.got) == 2
    events = [(one.event, one.text) for one in Incidents(log.engine).timeline("abc1")]
    assert events == [
        ("opened", ""),
        ("escalated", "level 1"),
        ("escalated", "level 2: On call"),
        ("acknowledged", "I look"),
    ]


async def _first_that_failed(*processes):
    """The process that sends: its channel is down."""
    waits = {
        asyncio.create_task(one.said("a message is not taken"), name="wait"): one
        for one in processes
    }
    done, others = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return waits[done.pop()]


def test_a_channel_whose_variable_is_missing_is_named_at_the_start(variables):
    done = run("-m", "ops", "serve", variables=variables, within=60)
    assert done.returncode == 2
    assert "channels.chat.url: the environment variable TEST_CHAT_URL is not set" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_as_a_process(variables, log, tmp_path):
    desk = Desk(log, load_contacts(tmp_path / "contacts.yaml"))
    one = desk.open("P1", "api", "down", "alice")
    done = run("-m", "ops", "incident", "list", "--json", variables=variables, within=60)
    assert [row["id"] for row in json.loads(done.stdout)] == [one.id]
    away = {**variables, "VOICE_AGENT__STORE__URL": "postgresql://u:word@127.0.0.1:9/x"}
    done = run("-m", "ops", "incident", "list", variables=away, within=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "word@" not in done.stderr


@pytest.fixture
def alertmanager(tmp_path):
    """Its URL."""
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    process = subprocess.Popen(
        [
            *("prometheus-alertmanager", f"--config.file={config}"),
            *(f"--storage.path={tmp_path / 'am'}", "--web.listen-address=127.0.0.1:0"),
            "--cluster.listen-address=",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if found := re.search(r'msg="Listening on" address=(\S+)', line):
                yield f"http://{found[1]}"
                break
        else:
            pytest.fail("it did not start")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.needs("prometheus-alertmanager")
def test_a_silence_is_one_of_a_real_alertmanager_too(variables, alertmanager, monkeypatch):
    variables["VOICE_AGENT__NOTIFICATIONS__ALERTMANAGER"] = alertmanager
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def said(*words):
        done = CliRunner().invoke(app, ["alert", *words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def known():
        query = ["amtool", "silence", "query", "-o", "json", f"--alertmanager.url={alertmanager}"]
        ran = subprocess.run(query, capture_output=True, text=True, check=True)
        return json.loads(ran.stdout)

    made = {row["of"]: row["id"] for row in said("silence", "SIP.x*", "--for", "2h")}
    (there,) = known()
    assert there["id"] == made["alertmanager"]
    (matcher,) = there["matchers"]
    assert (matcher["name"], matcher["value"]) == ("alertname", r"SIP\.x.*")
    assert {row["id"] for row in said("silences")} == set(made.values())
    for one in made.values():
        said("unsilence", one)
    assert known() == []
    assert said("silences") == []
