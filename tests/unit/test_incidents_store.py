"""Messages, silences and incidents in the database: once each, whoever is faster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import exc, text

from agent.call import now
from agent.errors import IncidentUnknown
from agent.store.call_log import CallLog
from agent.store.incidents import Entry, Incident, Incidents, Told
from agent.store.leases import Leases
from agent.store.notices import GIVEN_UP, OVER, RESOLVED, SENT, Notices, Wanted
from agent.store.silences import Silence, Silences

pytest_plugins = ["tests.postgres"]

NOON = now().replace(hour=12, minute=0, second=0, microsecond=0)
WINDOW = 3600.0


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    log = CallLog.open(
        url if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    yield log
    log.close()


def after(**span):
    return NOON + timedelta(**span)


def wanted(state="critical", channels=("chat", "mail"), **given):
    values = {"topic": "t1", "name": "HealthCheck", "subject": "redis", "body": {"state": state}}
    return Wanted(**{**values, "state": state, "channels": channels, **given})


def sent(store, at, who="me"):
    """Take and send all that is due, as (channel, state)."""
    found = []
    while claimed := store.claim(who, ["chat", "mail"], at, 60):
        for one in claimed:
            found.append((one.channel, one.body["state"]))
            store.done(one.id, at, SENT)
    return found


def test_the_same_alert_is_one_message_for_each_channel_within_the_window(log):
    store = Notices(log.engine)
    assert store.tell(wanted(), NOON, WINDOW) == ["chat", "mail"]
    assert store.tell(wanted(), after(minutes=59), WINDOW) == []
    assert store.tell(wanted(topic="t2"), after(minutes=59), WINDOW) == ["chat", "mail"]
    assert store.tell(wanted(), after(minutes=60), WINDOW) == ["chat", "mail"]


def test_many_at_once_tell_it_once(log):
    store = Notices(log.engine)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: store.tell(wanted(), NOON, WINDOW), range(8)))
    assert sorted(told) == [[]] * 7 + [["chat", "mail"]]
    assert store.counts() == {"": 2}


def test_an_alert_that_grows_worse_is_told_again_and_its_end_once(log):
    store = Notices(log.engine)
    assert store.tell(wanted("warning", ["chat"]), NOON, WINDOW) == ["chat"]
    assert store.tell(wanted("critical"), after(minutes=1), WINDOW) == ["chat", "mail"]
    over = wanted(RESOLVED, ())
    assert store.tell(over, after(minutes=2), WINDOW) == ["chat", "mail"]
    assert store.tell(over, after(minutes=3), WINDOW) == []
    assert sent(store, after(minutes=3)) == [
        *[("chat", "warning"), ("mail", "critical"), ("chat", "critical"), ("mail", RESOLVED)],
        ("chat", RESOLVED),
    ]
    assert store.tell(wanted(), after(minutes=4), WINDOW) == ["chat", "mail"]


def test_an_end_without_a_beginning_is_told_to_nobody(log):
    assert Notices(log.engine).tell(wanted(RESOLVED), NOON, WINDOW) == []


def test_a_message_is_claimed_by_one_and_waits_for_those_before_it_of_its_topic(log):
    store = Notices(log.engine)
    store.tell(wanted(channels=["chat"]), NOON, WINDOW)
    store.tell(wanted(RESOLVED, ()), NOON, WINDOW)
    (first,) = store.claim("me", ["chat"], NOON, 60)
    assert first.body["state"] == "critical"
    assert store.claim("you", ["chat"], after(seconds=59), 60) == []
    (again,) = store.claim("you", ["chat"], after(seconds=60), 60)  # "me" was killed
    assert (again.id, again.attempts) == (first.id, 2)
    store.put_back("me", first.id, NOON, "too late")  # no longer its own
    assert store.claim("me", ["chat"], after(seconds=61), 60) == []
    store.put_back("you", first.id, after(minutes=10), "away")
    assert store.claim("me", ["chat"], after(minutes=9), 60) == []
    assert sent(store, after(minutes=10)) == [("chat", "critical"), ("chat", RESOLVED)]


def test_a_channel_that_hangs_holds_up_no_other(log):
    store = Notices(log.engine)
    store.tell(wanted(), NOON, WINDOW)
    assert [one.channel for one in store.claim("me", ["mail"], NOON, 60)] == ["mail"]
    assert [one.channel for one in store.claim("me", ["chat", "mail"], NOON, 60)] == ["chat"]


def test_what_has_been_sent_without_the_queue_is_not_sent_again_but_its_end_is(log):
    store = Notices(log.engine)
    store.tell(wanted(done=["chat"]), NOON, WINDOW)
    assert sent(store, NOON) == [("mail", "critical")]
    store.tell(wanted(RESOLVED), after(minutes=1), WINDOW)
    assert sorted(sent(store, after(minutes=1))) == [("chat", RESOLVED), ("mail", RESOLVED)]


def test_what_nobody_can_send_is_given_up_and_what_is_old_forgotten(log):
    store = Notices(log.engine)
    store.tell(wanted(channels=["chat", "gone"]), NOON, WINDOW)
    assert store.give_up_unknown(["chat"], NOON, NOON) == 0
    assert store.give_up_unknown(["chat"], after(days=1), after(days=1)) == 1
    assert sent(store, after(days=1)) == [("chat", "critical")]
    assert store.counts() == {SENT: 1, GIVEN_UP: 1}
    assert store.forget(after(days=2)) == 2


def a_silence(**given):
    values = {"id": "s1", "name": "Health*", "made_at": NOON, "until": after(hours=2)}
    return Silence(**{**values, **given})


def test_a_silenced_alert_is_told_when_the_silence_ends(log):
    silences, store = Silences(log.engine), Notices(log.engine)
    silences.add(a_silence())
    assert [one.id for one in silences.active(NOON)] == ["s1"]
    store.tell(wanted(), NOON, WINDOW)
    assert sent(store, after(hours=1)) == []
    assert len(sent(store, after(hours=2))) == 2
    assert silences.active(after(hours=2)) == []


def test_an_alert_that_is_over_before_its_silence_is_never_told(log):
    silences, store = Silences(log.engine), Notices(log.engine)
    silences.add(a_silence(subject="red*"))
    store.tell(wanted(), NOON, WINDOW)
    assert store.tell(wanted(RESOLVED), after(hours=1), WINDOW) == []
    assert sent(store, after(hours=3)) == []
    assert store.counts() == {OVER: 2}


def test_who_was_told_before_the_silence_hears_of_the_end(log):
    silences, store = Silences(log.engine), Notices(log.engine)
    store.tell(wanted("warning", ["chat"]), NOON, WINDOW)
    assert sent(store, NOON) == [("chat", "warning")]
    silences.add(a_silence())
    store.tell(wanted("critical"), after(minutes=1), WINDOW)
    assert store.tell(wanted(RESOLVED), after(minutes=2), WINDOW) == ["chat"]


def test_a_silence_that_is_ended_lets_go_of_what_it_held(log):
    silences, store = Silences(log.engine), Notices(log.engine)
    silences.add(a_silence())
    store.tell(wanted(), NOON, WINDOW)
    assert silences.end("s1", after(minutes=5))
    assert not silences.end("s1", after(minutes=5))
    assert len(sent(store, after(minutes=5))) == 2


@pytest.mark.parametrize(("name", "subject"), [("Other", ""), ("HealthCheck", "database")])
def test_a_silence_of_another_alert_or_subject_covers_nothing(log, name, subject):
    Silences(log.engine).add(a_silence(name=name, subject=subject))
    store = Notices(log.engine)
    store.tell(wanted(), NOON, WINDOW)
    assert len(sent(store, NOON)) == 2


def an_incident(**given):
    values = {"id": "abc1", "level": "P1", "kind": "sip", "what": "no calls"}
    return Incident(**{**values, "opened_at": NOON, "climbs_from": NOON, **given})


def an_entry(event="opened", incident="abc1", **given):
    return Entry(incident=incident, **{"at": NOON, "who": "me", "event": event, **given})


def test_an_alert_has_one_open_incident_whoever_is_faster(log):
    store = Incidents(log.engine)

    def opened(number):
        one = an_incident(id=f"a{number}", open_key="k")
        return store.open(one, an_entry(incident=one.id), Told(["chat"], {"state": "x"})).id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(opened, range(8)))
    (the_one,) = ids
    assert [one.id for one in store.listed()] == [the_one]
    assert len(store.timeline(the_one)) == 1
    assert Notices(log.engine).counts() == {"": 1}
    closed = {"closed_at": NOON, "open_key": None}
    assert store.advance(store.get(the_one), an_entry("closed", the_one), values=closed)
    assert opened(9) == "a9"


def test_a_step_is_told_once_whoever_is_faster(log):
    store = Incidents(log.engine)
    incident = store.open(an_incident(), an_entry())

    def climb(_):
        entry = an_entry("escalated", once="abc1:step-2")
        return store.advance(incident, entry, Told(["chat"], {"state": "x"}), {"step": 2})

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(climb, range(8))) == [False] * 7 + [True]
    assert [one.event for one in store.timeline("abc1")] == ["opened", "escalated"]
    assert Notices(log.engine).counts() == {"": 1}
    assert store.get("abc1").step == 2


def test_nothing_is_done_to_what_is_acknowledged_or_closed_by_now(log):
    store = Incidents(log.engine)
    incident = store.open(an_incident(), an_entry())
    unless = ("closed_at", "acknowledged_at")
    values = {"acknowledged_at": NOON, "acknowledged_by": "me"}
    assert [one.id for one in store.climbing()] == ["abc1"]
    assert store.advance(incident, an_entry("acknowledged"), values=values, unless=unless)
    assert store.climbing() == []
    assert not store.advance(incident, an_entry("escalated"), values={"step": 3}, unless=unless)
    assert store.counts() == {"P1": 1}
    assert store.advance(incident, an_entry("closed"), values={"closed_at": NOON})
    assert not store.advance(incident, an_entry("closed"), values={"closed_at": NOON})
    assert store.counts() == {}
    assert store.listed(is_open=True) == []
    assert [one.id for one in store.listed(is_open=False)] == ["abc1"]
    assert len(store.timeline("abc1")) == 3


def test_an_incident_is_found_by_a_unique_beginning(log):
    store = Incidents(log.engine)
    for name in ("abc1", "abd2"):
        store.open(an_incident(id=name), an_entry(incident=name))
    assert store.get("abd").id == "abd2"
    for wrong in ("ab", "x", "", "%"):
        with pytest.raises(IncidentUnknown):
            store.get(wrong)


@pytest.mark.parametrize(
    "change", ["UPDATE incident_timeline SET who = 'mallory'", "DELETE FROM incident_timeline"]
)
def test_the_database_itself_refuses_to_change_a_timeline(log, change):
    Incidents(log.engine).open(an_incident(), an_entry())
    with (
        pytest.raises(exc.DatabaseError, match="append only"),
        log.engine.begin() as connection,
    ):
        connection.execute(text(change))


def test_a_lease_can_be_seen_by_others(log):
    leases = Leases(log.engine)
    assert not leases.is_held("incidents")
    leases.hold("incidents", "me", 60)
    assert leases.is_held("incidents")
    leases.hold("incidents", "me", -1)
    assert not leases.is_held("incidents")
