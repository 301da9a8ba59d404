"""`ops alert` and `ops incident` as an operator types them, and incidents over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
from threading import Thread

import pytest
from typer.testing import CliRunner

from agent.errors import StoreUnavailable, VoiceAgentError
from agent.store import CallLog
from agent.store.leases import Leases
from agent.store.notices import Notices
from config.errors import SettingsError
from ops.__main__ import app
from tests.control_plane import ControlPlane
from tests.receivers import HttpReceiver

CONTACTS = """\
channels:
  chat: {url: "${TEST_CHAT_URL}"}
  dead: {url: "${TEST_DEAD_URL}"}
notification_channels: {critical: [chat], high: [chat]}
escalation_contacts:
  level_2: [{name: On call, channels: [chat]}]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    contacts = tmp_path / "contacts.yaml"
    contacts.write_text(CONTACTS)
    monkeypatch.setenv("TEST_DEAD_URL", "json://127.0.0.1:9")
    monkeypatch.setenv("TEST_CHAT_URL", "json://127.0.0.1:9")
    monkeypatch.setenv("VOICE_AGENT__STORE__URL", f"sqlite:///{tmp_path}/calls.db")
    monkeypatch.setenv("VOICE_AGENT__DATA__FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("VOICE_AGENT__NOTIFICATIONS__CONTACTS", str(contacts))
    return tmp_path


@pytest.fixture
def log(place):
    log = CallLog.open(f"sqlite:///{place}/calls.db")
    yield log
    log.close()


def run(*words, fails=0):
    ran = CliRunner().invoke(app, words)
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == fails, ran.output
    return ran


def said(*words):
    return json.loads(run(*words, "--json").stdout)


def refused(*words):
    with pytest.raises((VoiceAgentError, SettingsError)) as error:
        run(*words)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("place")
def test_a_fresh_install_has_nothing_and_says_so():
    assert run("incident", "list").stdout == "No incidents yet.\n"
    assert run("alert", "silences").stdout == "No silences.\n"
    assert said("incident", "list") == said("alert", "silences") == []
    assert "no incident 3f2a" in refused("incident", "report", "3f2a")


def test_an_incident_from_its_opening_to_its_report(log, place):
    opened = run("incident", "open", "p1", "--kind", "sip", "--what", "no calls", "--json")
    assert "no ops serve is running" in opened.stderr
    one = json.loads(opened.stdout)
    assert (one["level"], one["state"], one["kind"]) == ("P1", "open", "sip")
    assert Notices(log.engine).counts() == {"": 1}
    begins = one["id"][:6]
    assert "no calls" in run("incident", "list").stdout
    assert said("incident", "ack", begins, "--note", "I look")["state"] == "acknowledged"
    run("incident", "note", begins, "restarted the trunk", "--done")
    run("incident", "note", begins, "why?", "--question")
    assert "restarted the trunk" in run("incident", "show", begins).stdout
    assert "is closed" in run("incident", "close", begins, "--how", "calls come in").stdout
    assert run("incident", "list").stdout == "No open incidents.\n"
    assert [row["id"] for row in said("incident", "list", "--all")] == [one["id"]]
    events = [entry["event"] for entry in said("incident", "show", begins)["timeline"]]
    assert events == ["opened", "acknowledged", "done", "question", "closed"]
    report = said("incident", "report", begins)
    assert report["open_questions"] == ["why?"]
    out = place / "report.md"
    run("incident", "report", begins, "--out", str(out))
    assert out.read_text().startswith(f"# P1 incident {one['id']}: no calls")
    assert "cannot be written" in refused("incident", "report", begins, "--out", str(out))
    as_json = place / "report.json"
    run("incident", "report", begins, "--out", str(as_json))
    assert json.loads(as_json.read_text())["id"] == one["id"]
    done = [line.what for line in reversed(log.audit_trail())]
    assert done == ["incident.open", "incident.ack", *["incident.note"] * 2, "incident.close"]


def test_who_serves_is_seen(log):
    Leases(log.engine).hold("incidents", "a serve", 60)
    opened = run("incident", "open", "P4", "--kind", "api", "--what", "small")
    assert "notification_channels.low is empty" in opened.stderr
    assert "no ops serve" not in opened.stderr


@pytest.mark.usefixtures("place")
def test_an_operator_needs_no_secrets_of_channels(monkeypatch):
    monkeypatch.delenv("TEST_CHAT_URL")
    assert said("incident", "open", "P1", "--kind", "api", "--what", "down")["state"] == "open"
    assert "TEST_CHAT_URL is not set" in refused("alert", "send", "--message", "x")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["incident", "open", "P7", "--kind", "api", "--what", "x"], "no level 'P7'"),
        (["incident", "open", "P1", "--kind", "weather", "--what", "x"], "no kind 'weather'"),
        (["incident", "open", "P1", "--kind", "api", "--what", " "], "the text is empty"),
        (["incident", "ack", "abc"], "no incident abc"),
        (["incident", "note", "abc", "x", "--done", "--question"], "not both"),
        (["alert", "send", "--severity", "critcal", "--message", "x"], "did you mean critical?"),
        (["alert", "send", "--message", " "], "say what happened"),
        (["alert", "send", "--message", "x", "--channel", "no"], "no channel no in"),
        (["alert", "send", "--severity", "info", "--message", "x"], "low in .* is empty"),
        (["alert", "silence", "X", "--for", "soon"], "expected a time such as"),
        (["alert", "silence", " ", "--for", "1h"], "expected an alert's name"),
        (["alert", "unsilence", "abc"], "is no silence in force"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, why):
    assert re.search(why, refused(*words))


@pytest.mark.parametrize(
    "words",
    [
        ["incident", "list"],
        ["incident", "open", "P1", "--kind", "api", "--what", "x"],
        ["alert", "silences"],
        ["alert", "silence", "X", "--for", "1h"],
    ],
)
def test_with_the_database_down_each_says_so_in_a_line(place, monkeypatch, words):
    monkeypatch.setenv("VOICE_AGENT__STORE__URL", "postgresql://u:word@127.0.0.1:9/calls")
    with pytest.raises(StoreUnavailable) as error:
        run(*words)
    assert "\n" not in str(error.value)


def test_a_silence_and_its_end(log):
    (one,) = said("alert", "silence", "Health*", "--subject", "redis", "--for", "2h")
    assert one["of"] == "ops serve"
    assert [row["id"] for row in said("alert", "silences")] == [one["id"]]
    assert "Health*" in run("alert", "silences").stdout
    assert said("alert", "unsilence", one["id"][:4])["ended"]
    assert said("alert", "silences") == []
    assert [line.what for line in log.audit_trail()] == ["alert.unsilence", "alert.silence"]


class Around:
    """A receiver that answers while the test itself waits for a command."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.receiver = HttpReceiver()
        self.thread = Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.wait(self.receiver.__aenter__())

    def wait(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self):
        self.wait(self.receiver.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def around():
    around = Around()
    yield around
    around.close()


def test_a_person_tells_people_and_hears_what_each_channel_said(log, around, monkeypatch):
    monkeypatch.setenv("TEST_CHAT_URL", around.receiver.url)
    send = ["alert", "send", "--severity", "critical", "--component", "sip", "--message", "down"]
    assert said(*send) == [{"channel": "chat", "sent": True, "why": ""}]
    (got,) = around.receiver.got
    assert got["title"] == "[CRITICAL] OperatorMessage (sip)"
    told = run(*send, "--channel", "chat", "--channel", "dead", fails=1).stdout
    assert "chat     sent" in told
    assert "dead     A Connection error" in told
    assert [line.what for line in log.audit_trail()] == ["alert.send"] * 2


def test_people_are_told_also_while_the_database_is_down(place, around, monkeypatch):
    monkeypatch.setenv("TEST_CHAT_URL", around.receiver.url)
    monkeypatch.setenv("VOICE_AGENT__STORE__URL", "postgresql://u:word@127.0.0.1:9/calls")
    ran = run("alert", "send", "--message", "the database is down")
    assert "not in the audit trail" in ran.stderr
    assert len(around.receiver.got) == 1


def test_nobody_is_configured(place, monkeypatch):
    (place / "contacts.yaml").write_text("channels:\n")
    assert "no channels are configured" in refused("alert", "send", "--message", "x")


@pytest.fixture
async def served(place):
    async with (
        HttpReceiver() as hook,
        ControlPlane(
            place,
            VOICE_AGENT__NOTIFICATIONS__CONTACTS=str(place / "contacts.yaml"),
        ) as plane,
    ):
        plane.hook = hook
        yield plane


async def test_incidents_over_http(served):
    key, other = await served.key("incidents"), await served.key("calls")
    assert (await served.ask("/incidents", key=other))[0] == 403
    assert (await served.ask("/incidents"))[0] == 401
    status, one = await served.ask(
        "/incidents", {"level": "P2", "kind": "api", "what": "errors"}, key
    )
    assert (status, one["state"], one["opened_by"]) == (201, "open", "desk")
    where = f"/incidents/{one['id']}"
    assert (await served.ask(f"{where}/ack", {"text": "mine"}, key))[1]["state"] == "acknowledged"
    assert (await served.ask(f"{where}/ack", {}, key))[0] == 409
    assert (await served.ask(f"{where}/notes", {"text": "seen"}, key))[0] == 200
    assert (await served.ask(f"{where}/close", {"text": ""}, key))[0] == 409
    assert (await served.ask(f"{where}/close", {"text": "over"}, key))[1]["state"] == "closed"
    status, report = await served.ask(where, key=key)
    assert [entry["event"] for entry in report["timeline"]][-1] == "closed"
    assert (await served.ask("/incidents/ffff", key=key))[0] == 404
    assert (await served.ask("/incidents?open=true", key=key))[1] == {"incidents": []}
    assert len((await served.ask("/incidents?open=false", key=key))[1]["incidents"]) == 1
    trail = await served.plane.database.run(lambda db: db.audit_trail())
    assert [line.what for line in trail if line.what.startswith("incident")] == [
        *("incident.close", "incident.note", "incident.ack", "incident.open")
    ]


def from_alertmanager(status, **labels):
    labels = {"alertname": "NoWorker", "severity": "critical", "component": "worker", **labels}
    alert = {
        "status": status,
        "labels": labels,
        "startsAt": "2026-11-21T12:00:00Z",
        "annotations": {"summary": "no worker"},
        "fingerprint": "f1",
        "generatorURL": "x",
    }
    return {"version": "4", "status": status, "receiver": "incidents", "alerts": [alert]}


async def test_critical_alerts_of_an_alertmanager_open_an_incident_each(served):
    key = await served.key("incidents")
    (one,) = (await served.ask("/alerts", from_alertmanager("firing"), key))[1]["incidents"]
    again = await served.ask("/alerts", from_alertmanager("firing"), key)
    assert again == (200, {"incidents": [one]})
    warning = from_alertmanager("firing", severity="warning")
    assert (await served.ask("/alerts", warning, key))[1] == {"incidents": []}
    await served.ask("/alerts", from_alertmanager("resolved"), key)
    _, report = await served.ask(f"/incidents/{one}", key=key)
    assert report["over_at"] is not None
    assert (report["level"], report["what"]) == ("P1", "NoWorker (worker): no worker")


async def test_a_critical_alert_of_serve_opens_an_incident_and_its_message_names_it(
    place, monkeypatch
):
    async with HttpReceiver() as hook:
        monkeypatch.setenv("TEST_CHAT_URL", hook.url)
        contacts = str(place / "contacts.yaml")
        async with ControlPlane(place, VOICE_AGENT__NOTIFICATIONS__CONTACTS=contacts) as served:
            served.plane.alerts.tell("SipDown", "the trunk is down", "critical", "trunk")
            got = await hook.news.first(lambda one: "SipDown" in one["title"])
            rows = await served.app.state.sidecars["incidents"]._do(lambda d: d.store.listed())
    assert [row.alert for row in rows] == ["SipDown"]
    assert f"Incident: {rows[0].id}" in got["message"]


async def test_an_incident_that_is_closed_while_its_alert_goes_on_opens_again_and_people_hear_of_it(
    place, monkeypatch
):
    def fail(served):
        served.plane.alerts._told.clear()  # a minute later
        served.plane.alerts.tell("SipDown", "the trunk is down", "critical", "trunk")

    async with HttpReceiver() as hook:
        monkeypatch.setenv("TEST_CHAT_URL", hook.url)
        contacts = str(place / "contacts.yaml")
        async with ControlPlane(place, VOICE_AGENT__NOTIFICATIONS__CONTACTS=contacts) as served:
            do = served.app.state.sidecars["incidents"]._do
            fail(served)
            await hook.news.first(lambda one: "SipDown" in one["title"])
            (first,) = await do(lambda desk: desk.store.listed())
            await do(lambda desk: desk.close(first.id, "alice", "it is well, I think"))
            await hook.news.first(lambda one: "RESOLVED" in one["title"])
            fail(served)
            got = await hook.news.first(
                lambda one: "CRITICAL" in one["title"] and first.id not in one["message"]
            )
            (again,) = await do(lambda desk: desk.store.listed(is_open=True))
    assert f"Incident: {again.id}" in got["message"]


@pytest.mark.usefixtures("place")
def test_an_alertmanager_that_cannot_be_asked_is_named(monkeypatch, log):
    monkeypatch.setenv("VOICE_AGENT__NOTIFICATIONS__ALERTMANAGER", "http://127.0.0.1:9")
    assert "notifications.alertmanager" in refused("alert", "silence", "X", "--for", "1h")
    monkeypatch.delenv("VOICE_AGENT__NOTIFICATIONS__ALERTMANAGER")
    assert said("alert", "silences") == []  # nothing is half done
