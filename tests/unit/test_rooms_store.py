"""Webhook events, rooms, calls and leases in the database: once each, in any order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from agent.call import EndReason, now, stand_in_id
from agent.errors import EventRefused
from agent.events import CallEnded, CallOpened
from agent.store.call_log import CallLog
from agent.store.leases import Leases
from agent.store.room_rows import RoomRow
from agent.store.rooms import Rooms
from agent.store.webhooks import MOST_ATTEMPTS, WebhookEvents
from ops.rooms.changes import change
from ops.rooms.ended import judge
from ops.webhooks.reading import read
from tests import webhooks as hooks
from tests.room_facts import PREFIX, PSEUDONYMS, facts, told

pytest_plugins = ["tests.postgres"]

CALL = "a1" * 16


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    if request.param == "sqlite":
        log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    else:
        log = CallLog.open(request.getfixturevalue("postgres_url"))
    yield log
    log.close()


def rows_of(*events):
    return [read(hooks.body(one), PSEUDONYMS) for one in events]


def handle(log, *events, who="me"):
    """Keep the events and handle what can be had."""
    store = WebhookEvents(log.engine)
    store.add(rows_of(*events))
    applied = []
    while found := store.claim(who, 3, 60):
        changes = [change(told(row), PREFIX) for row in found]
        applied.append(Rooms(log.engine).apply(who, changes, judge))
    return applied


def test_an_event_is_kept_once_and_claimed_by_one(log):
    store = WebhookEvents(log.engine)
    one, two = rows_of(hooks.event("a", 1), hooks.event("b", 2))
    assert store.add([one, one]) == {one.id}
    assert store.add([two, one]) == {two.id}
    assert [row.id for row in store.claim("me", 10, 60)] == [one.id, two.id]
    assert store.claim("you", 10, 60) == []
    store.release("me", one.id, "no", 0)
    assert [(row.id, row.attempts) for row in store.claim("you", 10, 60)] == [(one.id, 2)]
    assert store.waiting().count == 2


def test_a_claim_ends_with_its_time_and_an_event_is_given_up_in_the_end(log):
    store = WebhookEvents(log.engine)
    store.add(rows_of(hooks.event("a", 1)))
    for _ in range(MOST_ATTEMPTS):
        assert len(store.claim("me", 10, 0)) == 1
    assert store.claim("me", 10, 0) == []
    assert store.waiting().given_up == 1
    assert store.forget(now() + timedelta(days=1)) == 0  # what failed stays to be looked at


def test_who_lost_a_claim_changes_nothing(log):
    store, rooms = WebhookEvents(log.engine), Rooms(log.engine)
    store.add(rows_of(hooks.event("room_started", 1, room=hooks.room())))
    (slow,) = store.claim("slow", 1, 0)
    (quick,) = store.claim("quick", 1, 60)
    assert rooms.apply("slow", [change(told(slow), PREFIX)], judge).events == frozenset()
    assert rooms.counts() == (0, 0)
    assert rooms.apply("quick", [change(told(quick), PREFIX)], judge).events == {quick.id}
    assert rooms.counts() == (1, 0)
    assert store.waiting().count == 0


def test_an_event_that_cannot_be_stored_is_refused_alone(log):
    bad, good = rows_of(hooks.event("a", 1), hooks.event("b", 2))
    broken = type(bad)(**{**{n: getattr(bad, n) for n in bad.__slots__}, "created_at": None})
    store = WebhookEvents(log.engine)
    with pytest.raises(EventRefused):
        store.add([broken, good])
    assert store.add([good]) == {good.id}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_events_does_not_matter(log, tmp_path, seed):
    events = [one for number in range(1, 40) for one in hooks.story(number, number)]
    handle(log, *events)
    other = CallLog.open(f"sqlite:///{tmp_path}/other.db")
    try:
        order = random.Random(seed)
        twice = events + order.choices(events, k=len(events) // 3)
        order.shuffle(twice)
        for start in range(0, len(twice), 7):
            handle(other, *twice[start : start + 7])
        assert facts(other) == facts(log)
    finally:
        other.close()
    calls, _, (rooms, people) = facts(log)
    assert len(calls) == 39
    # In every sixth story the room is still there with its caller; an agent has left it.
    assert (rooms, people) == (6, 6)
    assert {call[7] for call in calls} == {
        None,
        EndReason.NO_AGENT,
        EndReason.CALLER_HANGUP,
        EndReason.AGENT_HANGUP,
        EndReason.MEDIA_FAILURE,
        EndReason.WORKER_KILLED,
    }


def test_telephones_and_failures_are_counted_once(log):
    joined = hooks.event("participant_joined", 1, room=hooks.room(), participant=hooks.telephone())
    gone = hooks.telephone(disconnectReason="MEDIA_FAILURE")
    left = hooks.event("participant_left", 2, 5, room=hooks.room(), participant=gone)
    failed = hooks.event(
        "participant_connection_aborted", 3, room=hooks.room(), participant=hooks.telephone(2)
    )
    again = {**failed, "id": "EV_again"}
    applied = handle(log, left, failed) + handle(log, joined, again)
    assert sum(one.new_callers for one in applied) == 1 + 1
    assert sum(one.aborted for one in applied) == 2


def opened(sid="RM_000001", call_id=CALL):
    return CallOpened(
        call_id=call_id,
        seq=1,
        at=datetime.fromtimestamp(hooks.NOON, UTC),
        room="voice-ai-call-000001",
        room_sid=sid,
        job_id="AJ_1",
        agent_name="voice-ai",
        pid=7,
    )


def test_a_call_that_no_job_tells_of_has_a_record_that_gives_way_to_the_jobs(log):
    handle(log, *hooks.story(1, 1)[:2])
    (call,) = log.list_calls()
    assert (call.id, call.ended_at) == (stand_in_id("RM_000001"), None)
    assert call.caller_number == PSEUDONYMS.of_number(hooks.CALLER)
    assert call.answered_at is None
    log.apply("w-1", [opened()])
    (call,) = log.list_calls()
    assert (call.id, call.room_sid, call.job_id) == (CALL, "RM_000001", "AJ_1")
    handle(log, *hooks.story(1, 1))
    (call,) = log.list_calls()
    assert (call.end_reason, call.end_provisional) == (EndReason.CALLER_HANGUP, True)


def test_the_jobs_own_word_is_the_last(log):
    log.apply("w-1", [opened()])
    handle(log, *hooks.story(1, 2))
    (call,) = log.list_calls()
    assert (call.end_reason, call.end_provisional) == (EndReason.AGENT_HANGUP, True)
    own = CallEnded(call_id=CALL, seq=9, reason=EndReason.SILENCE, usage={"x": 1})
    log.apply("w-1", [own])
    handle(log, hooks.event("room_finished", 99, 11, room=hooks.room()))
    (call,) = log.list_calls()
    assert (call.end_reason, call.end_provisional) == (EndReason.SILENCE, False)
    assert call.usage == {"x": 1}


def test_the_job_that_ended_first_is_not_overruled(log):
    log.apply("w-1", [opened(), CallEnded(call_id=CALL, seq=2, reason=EndReason.TRANSFERRED)])
    handle(log, *hooks.story(1, 2))
    assert log.list_calls()[0].end_reason == EndReason.TRANSFERRED


def test_an_end_by_the_room_is_one_line_of_history(log):
    log.apply("w-1", [opened()])
    story = hooks.story(1, 1)
    handle(log, story[-1])
    assert log.get_call(CALL).call.end_reason == EndReason.CALLER_NEVER_JOINED
    handle(log, *story[:-1])
    record = log.get_call(CALL)
    ends = [event for event in record.events if event.kind == "call_ended"]
    assert [end.detail["reason"] for end in ends] == [EndReason.CALLER_HANGUP]
    assert record.call.end_reason == EndReason.CALLER_HANGUP


def test_a_call_without_an_agent_is_closed_for_good_and_recorded_if_nobody_did(log):
    rooms, room = Rooms(log.engine), RoomRow(sid="RM_000001", name="voice-ai-call-000001")
    call_id = rooms.close_call(room, EndReason.NO_AGENT)
    assert call_id == stand_in_id(room.sid)
    assert rooms.close_call(room, EndReason.NO_AGENT) is None
    handle(log, *hooks.story(1, 1))
    (call,) = log.list_calls()
    assert (call.end_reason, call.end_provisional) == (EndReason.NO_AGENT, False)


def test_closing_a_call_leaves_its_caller(log):
    handle(log, *hooks.story(1, 1)[:2])
    room = RoomRow(sid="RM_000001", started_at=datetime(2020, 1, 1, tzinfo=UTC))
    Rooms(log.engine).close_call(room, EndReason.NO_AGENT)
    (call,) = log.list_calls()
    assert call.caller_number == PSEUDONYMS.of_number(hooks.CALLER)
    assert call.started_at.year == 2026


def test_rooms_that_are_gone_close_their_calls(log):
    rooms = Rooms(log.engine)
    log.apply("w-1", [opened()])
    handle(log, *hooks.story(1, 1)[:-2])
    assert [room.sid for room in rooms.open_rooms()] == ["RM_000001"]
    assert [call.id for call in rooms.open_calls()] == [CALL]
    assert rooms.end_rooms(["RM_000001"], now(), judge) == [CALL]
    assert rooms.open_rooms() == rooms.open_calls() == []


def test_a_lease_has_one_holder(log):
    leases = Leases(log.engine)
    assert leases.hold("rooms", "me", 60)
    assert leases.hold("rooms", "me", 60)
    assert not leases.hold("rooms", "you", 60)
    assert leases.hold("other", "you", 60)
    leases.leave("rooms", "you")
    assert not leases.hold("rooms", "you", 60)
    leases.leave("rooms", "me")
    assert leases.hold("rooms", "you", 0)
    assert leases.hold("rooms", "me", 60)
