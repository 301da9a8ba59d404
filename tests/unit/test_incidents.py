"""Incidents climb until somebody acknowledges: on a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from pydantic import SecretStr

from agent.call import now
from agent.errors import IncidentUnknown
from agent.store.call_log import CallLog
from agent.store.notices import RESOLVED, SENT, Notices
from agent.store.silences import Silence, Silences
from config.incidents import Channel, Contact, Contacts, Escalation, Groups
from ops.front.database import Database
from ops.incidents.automatic import Automatic
from ops.incidents.climber import Climber
from ops.incidents.desk import Desk, Fired, IncidentRefused
from ops.incidents.policy import due_at, kind_of, steps_due
from ops.incidents.report import Report, lasted
from ops.lease import Lease

MINUTES = {
    "P1": (0, 15, 60, 120),
    "P2": (120, 135, 180, 240),
    "P3": (480, 495, 540, 600),
    "P4": (2880, 2895, 2940, 3000),
}
CHANNELS = ("chat", "mail", "diagnosis", "oncall", "senior", "boss")
CONTACTS = Contacts(
    channels={name: Channel(url=SecretStr("json://x")) for name in CHANNELS},
    notification_channels=Groups(critical=("chat", "mail"), high=("chat",)),
    escalation_contacts=Escalation(
        level_1=(Contact(name="Diagnosis", channels=("diagnosis",)),),
        level_2=(Contact(name="On call", channels=("oncall",)),),
        level_4=(Contact(name="Boss", channels=("boss",)),),
    ),
)


class Clock:
    def __init__(self):
        self.at = now().replace(microsecond=0)

    def __call__(self):
        return self.at

    def move(self, **span):
        self.at += timedelta(**span)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/calls.db")
    yield database
    await database.aclose()


@pytest.fixture
def log(tmp_path):
    log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    yield log
    log.close()


@pytest.fixture
def desk(log, clock):
    return Desk(log, CONTACTS, clock)


@pytest.fixture
def climbing(database, clock):
    def climbing(automatic=None):
        automatic = automatic or Automatic(database, CONTACTS, is_on=False)
        return Climber(database, CONTACTS, Lease(database, "incidents"), automatic, clock)

    return climbing


def told(log, clock):
    """Take all messages there are: (channel, text) in order."""
    store, found = Notices(log.engine), []
    while claimed := store.claim("test", CHANNELS, clock(), 60):
        for one in claimed:
            found.append((one.channel, one.body["text"], one.body["state"]))
            store.done(one.id, clock(), SENT)
    return found


@pytest.mark.parametrize("level", MINUTES)
def test_each_level_climbs_at_its_times(level):
    opened = now()
    for step, minutes in enumerate(MINUTES[level], start=1):
        due = opened + timedelta(minutes=minutes)
        assert due_at(level, opened, step) == due
        assert steps_due(level, opened, due) == step
        assert steps_due(level, opened, due - timedelta(seconds=1)) == step - 1


async def test_a_p1_calls_level_after_level_until_somebody_acknowledges(desk, climbing, log, clock):
    incident, climber = desk.open("P1", "sip", "no calls come in", "alice"), climbing()
    assert [one[:2] for one in told(log, clock)] == [
        ("chat", "no calls come in"),
        ("mail", "no calls come in"),
    ]
    assert await climber.climb() == 1
    assert [one[0] for one in told(log, clock)] == ["diagnosis"]
    clock.move(minutes=14, seconds=59)
    assert await climber.climb() == 0
    clock.move(seconds=1)
    assert await climber.climb() == 1
    assert [one[0] for one in told(log, clock)] == ["oncall"]
    clock.move(minutes=45)
    assert await climber.climb() == 1
    assert [one[0] for one in told(log, clock)] == ["chat", "mail"]  # level 3 names nobody
    desk.acknowledge(incident.id, "bob", "I look at the trunk")
    assert {one[0] for one in told(log, clock)} == {"chat", "diagnosis", "mail", "oncall"}
    clock.move(hours=5)
    assert await climber.climb() == 0
    closed = desk.close(incident.id, "bob", "the provider is back")
    assert {one[2] for one in told(log, clock)} == {RESOLVED}
    assert closed.step == 3
    events = [one.event for one in desk.store.timeline(incident.id)]
    assert events == ["opened", *["escalated"] * 3, "acknowledged", "closed"]


async def test_what_was_due_while_nobody_looked_is_told_once_by_two_that_start(
    desk, climbing, log, clock
):
    desk.open("P2", "performance", "slow", "alice")
    told(log, clock)
    clock.move(hours=2)
    assert await climbing().climb() == 1
    clock.move(hours=1)
    assert sorted(await asyncio.gather(climbing().climb(), climbing().climb())) != [2, 2]
    timeline = desk.store.timeline(desk.store.listed()[0].id)
    assert [one.text for one in timeline if one.event == "escalated"] == [
        "level 1: Diagnosis",
        "level 2: On call",
        "level 3: the same as at the beginning",
    ]
    assert [one[0] for one in told(log, clock)] == ["diagnosis", "oncall", "chat"]
    assert await climbing().climb() == 0


def fired(name="SipDown", subject="trunk", **about):
    return Fired(name=name, subject=subject, text="the trunk is down", about=about)


async def test_an_alert_opens_one_incident_and_its_end_stops_the_climbing(
    desk, climbing, log, clock
):
    one = desk.fired(fired(component="sip"), "P1", announced=False)
    assert (one.kind, one.what, one.alert) == ("sip", "SipDown (sip): the trunk is down", "SipDown")
    assert desk.fired(fired(), "P1", announced=False).id == one.id
    assert desk.fired(fired(subject="other"), "P1", announced=False).id != one.id
    assert told(log, clock) == []  # the alert's own message tells of it
    climber = climbing()
    assert await climber.climb() == 2
    assert desk.over("SipDown", "trunk").id == one.id
    assert desk.over("SipDown", "never") is None
    desk.over("SipDown", "other")
    clock.move(hours=3)
    assert await climber.climb() == 0
    desk.fired(fired(), "P1", announced=False)  # it is back: level 2 after 15 minutes from now
    assert await climber.climb() == 0
    clock.move(minutes=15)
    assert await climber.climb() == 1
    desk.close(one.id, "bob", "the trunk was replaced")
    assert desk.fired(fired(), "P1", announced=False).id != one.id


def test_a_silenced_alert_opens_no_incident(desk, clock):
    silence = Silence(id="s", name="Sip*", made_at=clock(), until=clock() + timedelta(hours=1))
    Silences(desk.log.engine).add(silence)
    assert desk.fired(fired(), "P1", announced=True) is None
    clock.move(hours=1)
    assert desk.fired(fired(), "P1", announced=True) is not None


def test_what_cannot_be_done_is_refused(desk):
    one = desk.open("P3", "api", "errors", "alice")
    desk.acknowledge(one.id, "alice")
    with pytest.raises(IncidentRefused, match="acknowledged by alice"):
        desk.acknowledge(one.id, "bob")
    with pytest.raises(IncidentRefused, match="empty"):
        desk.close(one.id, "bob", " ")
    desk.close(one.id, "bob", "over")
    for again in (desk.close, desk.acknowledge):
        with pytest.raises(IncidentRefused, match="closed already"):
            again(one.id, "bob", "over")
    desk.note(one.id, "bob", "a late thought")
    for wrong in (("P9", "api", "x"), ("P1", "weather", "x"), ("P1", "api", "")):
        with pytest.raises(IncidentRefused):
            desk.open(*wrong, "alice")
    with pytest.raises(IncidentUnknown):
        desk.acknowledge("none", "bob")


def test_texts_hold_no_numbers_of_callers_and_no_secrets(desk, log, clock):
    one = desk.open("P1", "api", "caller 8 (916) 123-45-67, password=hunter22", "alice")
    desk.note(one.id, "alice", "Bearer abcdefgh and +15555550100")
    desk.close(one.id, "alice", "told +15555550100")
    said = repr([one, desk.store.timeline(one.id), told(log, clock)])
    for word in ("123-45-67", "hunter22", "abcdefgh", "5550100"):
        assert word not in said


async def test_recovery_is_off_unless_it_is_switched_on(desk, database, climbing):
    automatic = Automatic(database, CONTACTS, is_on=False)
    automatic.register(None)
    one = desk.open("P1", "api", "down", "alice")
    await climbing(automatic).climb()
    assert "recovery" not in [entry.event for entry in desk.store.timeline(one.id)]


async def test_recovery_begins_once_and_says_what_it_did(desk, database, climbing):
    asked, done = [], asyncio.Event()

    async def heal(incident):
        asked.append(incident.id)
        done.set()
        return "restarted Redis: healthy"

    both = [Automatic(database, CONTACTS, is_on=True) for _ in range(2)]
    for automatic in both:
        automatic.register(heal)
    one = desk.open("P1", "api", "down", "alice")
    desk.open("P2", "api", "slow", "alice")
    await asyncio.gather(*(climbing(automatic).climb() for automatic in both))
    await done.wait()
    for automatic in both:
        while automatic._running:
            await asyncio.wait(automatic._running)
        await automatic.aclose()
    assert asked == [one.id]
    texts = [entry.text for entry in desk.store.timeline(one.id) if entry.event == "recovery"]
    assert texts == [
        "automatic recovery begins",
        "automatic recovery: restarted Redis: healthy",
    ]


@pytest.mark.parametrize(
    ("action", "text"),
    [("none", "is on, and there is nothing to do it with"), ("fails", "failed: OSError")],
)
async def test_recovery_that_cannot_is_noted(desk, database, climbing, action, text):
    async def fails(_incident):
        raise OSError

    automatic = Automatic(database, CONTACTS, is_on=True)
    if action == "fails":
        automatic.register(fails)
    one = desk.open("P1", "api", "down", "alice")
    await climbing(automatic).climb()
    while automatic._running:
        await asyncio.wait(automatic._running)
    assert text in desk.store.timeline(one.id)[-1 if action == "fails" else 1].text


def reported(desk, which, clock):
    incident = desk.store.get(which)
    return Report(incident=incident, timeline=desk.store.timeline(incident.id), at=clock())


async def test_the_report_tells_times_timeline_what_was_done_and_what_is_open(
    desk, climbing, clock
):
    one = desk.open("P1", "sip", "no calls | at all", "alice")
    clock.move(minutes=20)
    await climbing().climb()
    assert reported(desk, one.id, clock).in_time is False
    desk.acknowledge(one.id, "bob")
    desk.note(one.id, "bob", "restarted the trunk", "done")
    desk.note(one.id, "bob", "why was there no alert?", "question")
    clock.move(minutes=40)
    desk.close(one.id, "bob", "calls come in again")
    report = reported(desk, one.id, clock)
    told = json.loads(report.json())
    assert (told["seconds_to_respond"], told["seconds_to_resolve"]) == (1200, 3600)
    assert (told["responded_in_time"], told["step"], told["state"]) == (False, 2, "closed")
    assert [entry["text"] for entry in told["done"]] == [
        "restarted the trunk",
        "calls come in again",
    ]
    assert told["open_questions"] == [
        "why was there no alert?",
        "Why did the response take longer than it may?",
    ]
    text = report.markdown()
    for part in ("no calls \\| at all", "20 min (within 15 min: too late)", "- Resolved: 1 h\n"):
        assert part in text
    assert text.count("\n| 2") == len(told["timeline"])


def test_the_report_of_an_open_incident_says_what_is_left(desk, clock):
    one = desk.fired(fired(), "P4", announced=False)
    report = reported(desk, one.id, clock)
    assert (report.in_time, report.to_respond, report.to_resolve) == (None, None, None)
    assert "It is still open: what is left to do?" in report.open_questions
    assert "Did the alert SipDown end?" in report.open_questions
    assert "not yet" in report.markdown()


@pytest.mark.parametrize(
    ("alert", "component", "kind"),
    [
        ("suspicious_bad_key", "", "security"),
        ("HealthCheck", "sip", "sip"),
        ("TokenRefresh", "", "auth"),
        ("AIResponseLatency", "x", "performance"),
        ("ControlPlaneDown", "ops", "api"),
    ],
)
def test_an_alert_has_a_kind(alert, component, kind):
    assert kind_of(alert, component) == kind


def test_spans_are_said_for_people():
    assert [lasted(value) for value in (None, 0, 61, 7325)] == [
        *("not yet", "0 s", "1 min 1 s", "2 h 2 min 5 s")
    ]
