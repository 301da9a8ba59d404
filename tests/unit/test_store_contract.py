"""Both call logs keep one contract: in memory, on SQLite, on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agent.call import EndReason
from agent.errors import CallUnknown, EventRefused
from agent.events import (
    REQUEST,
    SILENCE_OWED,
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
)
from agent.store.call_log import CallLog
from agent.store.memory import MemoryCallLog

pytest_plugins = ["tests.postgres"]

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CALL, OTHER = "a1" * 16, "a2" * 16


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request, tmp_path):
    if request.param == "memory":
        log = MemoryCallLog()
    elif request.param == "sqlite":
        log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    else:
        log = CallLog.open(request.getfixturevalue("postgres_url"))
    yield log
    log.close()


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def opened(call_id=CALL, seq=1, second=0, sid="RM_1"):
    return CallOpened(
        call_id=call_id,
        seq=seq,
        at=at(second),
        room="voice-ai-call-1",
        room_sid=sid,
        job_id="AJ_1",
        agent_name="voice-ai",
        pid=4711,
    )


def a_call(call_id=CALL, sid="RM_1"):
    """A whole call as its job tells it."""
    key = {"call_id": call_id}
    return [
        opened(call_id, sid=sid),
        CallerJoined(
            **key,
            seq=2,
            at=at(1),
            identity="sip_caller",
            number="+15550100",
            called="+15550199",
            persona="en",
            language="en",
            providers={"stt": "offline"},
        ),
        TurnCommitted(**key, seq=3, at=at(2), turn=0),
        TurnFinished(**key, seq=4, at=at(3), turn=0, agent_text="Hello.", tts="offline"),
        TurnCommitted(
            **key,
            seq=5,
            at=at(5),
            turn=1,
            user_text="when are you open",
            confidence=0.9,
            transcription_delay=0.1,
            end_of_turn_delay=0.3,
            stt="offline",
        ),
        TurnFinished(
            **key,
            seq=6,
            at=at(7),
            turn=1,
            agent_text="From nine",
            interrupted=True,
            latency=0.5,
            llm_ttft=0.1,
            tts_ttfb=0.2,
            llm="offline",
            tts="offline",
            tools=("opening_hours",),
        ),
        CallNote(**key, seq=7, at=at(8), name="dtmf", detail={"digits": 2}),
        RecordingMade(**key, seq=8, at=at(9), uri="file:a.wav", channels=2, duration=8.5),
        CallEnded(
            **key,
            seq=9,
            at=at(10),
            reason=EndReason.CALLER_HANGUP,
            detail="bye",
            usage={"llm_tokens": 12},
            cost={"total": None, "known": "0.0048"},
            memory_bytes=2**33,
        ),
    ]


def test_a_call_is_kept_with_everything_its_events_said(store):
    store.apply("host-1", a_call())
    record = store.get_call(CALL)
    call = record.call
    assert (call.worker_id, call.pid, call.room, call.room_sid) == (
        "host-1",
        4711,
        "voice-ai-call-1",
        "RM_1",
    )
    assert (call.caller_number, call.called_number) == ("+15550100", "+15550199")
    assert (call.persona, call.language, call.providers) == ("en", "en", {"stt": "offline"})
    assert (call.started_at, call.answered_at, call.ended_at) == (at(0), at(1), at(10))
    assert (call.end_reason, call.end_detail) == (EndReason.CALLER_HANGUP, "bye")
    assert (call.usage, call.memory_bytes) == ({"llm_tokens": 12}, 2**33)
    assert call.cost == {"total": None, "known": "0.0048"}
    assert call.turn_count == 1
    greeting, turn = record.turns
    assert (greeting.number, greeting.user_text, greeting.agent_text) == (0, "", "Hello.")
    assert (turn.user_text, turn.agent_text) == ("when are you open", "From nine")
    assert (turn.confidence, turn.transcription_delay, turn.end_of_turn_delay) == (0.9, 0.1, 0.3)
    assert (turn.latency, turn.llm_ttft, turn.tts_ttfb, turn.interrupted) == (0.5, 0.1, 0.2, True)
    assert (turn.stt, turn.llm, turn.tts) == ("offline", "offline", "offline")
    assert turn.tools == ("opening_hours",)
    assert (turn.committed_at, turn.finished_at) == (at(5), at(7))
    (recording,) = record.recordings
    assert (recording.uri, recording.channels, recording.duration) == ("file:a.wav", 2, 8.5)
    assert recording.made_at == at(9)
    assert [event.seq for event in record.events] == list(range(1, 10))
    note = record.events[6]
    assert (note.kind, note.name, note.detail, note.at) == ("note", "dtmf", {"digits": 2}, at(8))


def test_a_cost_that_is_not_known_is_none(store):
    store.apply("w", [opened(), CallEnded(call_id=CALL, seq=2, reason=EndReason.PROCESS_KILLED)])
    assert store.get_call(CALL).call.cost is None


def test_times_come_back_aware_and_in_utc_whatever_zone_they_came_in(store):
    moscow = timezone(timedelta(hours=3))
    event = opened()
    store.apply("w", [CallNote(call_id=CALL, seq=1, at=event.at.astimezone(moscow), name="x")])
    started = store.get_call(CALL).call.started_at
    assert (started, started.utcoffset()) == (NOON, timedelta(0))


def test_a_replayed_batch_changes_nothing(store):
    store.apply("w", a_call())
    before = store.get_call(CALL)
    store.apply("w", a_call())
    store.apply("w", a_call()[3:6])
    assert store.get_call(CALL) == before


def test_what_is_only_counted_is_not_kept(store):
    passing = [
        CallNote(call_id=call_id, seq=90 + n, at=at(9), name=name, detail={"seconds": seconds})
        for n, (name, seconds) in enumerate([(REQUEST, 5.0), (SILENCE_OWED, 1.0)])
        for call_id in (CALL, OTHER)
    ]
    long = CallNote(call_id=CALL, seq=95, at=at(9), name=SILENCE_OWED, detail={"seconds": 3.1})
    store.apply("host/1", [*a_call(), *passing, long])
    store.apply("host/1", passing)
    kept = [event.seq for event in store.get_call(CALL).events]
    assert [seq for seq in kept if seq >= 90] == [95]
    with pytest.raises(CallUnknown):
        store.get_call(OTHER)


def test_an_event_with_a_known_number_is_not_applied_even_if_it_says_something_else(store):
    store.apply("w", a_call())
    before = store.get_call(CALL)
    store.apply("w", [TurnCommitted(call_id=CALL, seq=5, turn=1, user_text="forged")])
    assert store.get_call(CALL) == before


@pytest.mark.parametrize("order", ["reversed", "odd ones first"])
def test_order_does_not_matter(store, order):
    events = a_call()
    shuffled = events[::-1] if order == "reversed" else events[::2] + events[1::2]
    for event in shuffled:
        store.apply("w", [event])
    record = store.get_call(CALL)
    expected = MemoryCallLog()
    expected.apply("w", events)
    assert record == expected.get_call(CALL)


def test_an_event_of_an_unknown_call_opens_it(store):
    store.apply("w", [TurnCommitted(call_id=CALL, seq=5, at=at(5), turn=1, user_text="hi")])
    record = store.get_call(CALL)
    assert (record.call.started_at, record.call.worker_id, len(record.turns)) == (at(5), "w", 1)


def test_a_call_that_a_job_spooled_gets_its_worker_when_one_is_known(store):
    store.apply("", a_call()[:2])
    store.apply("host-1", a_call()[2:3])
    store.apply("host-2", a_call()[3:4])
    assert store.get_call(CALL).call.worker_id == "host-1"


def test_the_first_end_wins(store):
    store.apply("w", a_call())
    late = CallEnded(call_id=CALL, seq=10, at=at(20), reason=EndReason.SILENCE)
    store.apply("w", [late])
    assert not store.end_call(CALL, EndReason.PROCESS_KILLED, at=at(30))
    record = store.get_call(CALL)
    assert (record.call.end_reason, record.call.ended_at) == (EndReason.CALLER_HANGUP, at(10))
    assert [event.seq for event in record.events] == [*range(1, 11)]


def test_a_provisional_end_gives_way_to_the_job_and_not_the_other_way_round(store):
    store.apply("w", a_call()[:5])
    assert store.end_call(CALL, EndReason.LIVEKIT_LOST, at=at(8), provisional=True)
    assert store.get_call(CALL).call.end_provisional
    assert not store.end_call(CALL, EndReason.SILENCE, at=at(9), provisional=True)
    store.apply("w", a_call()[5:])
    call = store.get_call(CALL).call
    assert (call.end_reason, call.end_provisional) == (EndReason.CALLER_HANGUP, False)
    assert call.usage == {"llm_tokens": 12}
    assert not store.end_call(CALL, EndReason.LIVEKIT_LOST, provisional=True)


def test_an_end_for_a_reason_of_a_newer_release_can_be_read(store):
    store.apply("w-1", [opened(), CallEnded(call_id=CALL, seq=2, at=at(10), reason="boredom")])
    store.apply("w-1", a_call(OTHER, sid="RM_2"))
    assert store.get_call(CALL).call.end_reason == "boredom"
    assert {call.end_reason for call in store.list_calls()} == {"boredom", "caller_hangup"}


def test_an_end_from_outside_never_takes_a_number_of_the_job(store):
    store.apply("w", a_call()[:3])
    assert store.end_call(CALL, EndReason.PROCESS_KILLED, detail="signal 9")
    store.apply("w", a_call()[3:])
    record = store.get_call(CALL)
    assert record.call.end_reason is EndReason.PROCESS_KILLED
    assert (record.call.end_detail, record.call.ended_at) == ("signal 9", at(2))
    assert len(record.turns) == 2
    assert sorted(event.seq for event in record.events) == [-1, *range(1, 10)]


def test_an_end_for_an_unknown_call_says_so(store):
    with pytest.raises(CallUnknown, match=OTHER):
        store.end_call(OTHER, EndReason.PROCESS_KILLED)


def test_orphans_are_the_open_calls_of_workers_that_are_gone(store):
    third = "a3" * 16
    store.apply("gone", a_call(CALL, "RM_1")[:3])
    store.apply("alive", a_call(OTHER, "RM_2")[:3])
    store.apply("gone", a_call(third, "RM_3"))
    assert store.close_orphans(lambda worker: worker == "gone") == [CALL]
    assert store.close_orphans(lambda worker: worker == "gone") == []
    call = store.get_call(CALL).call
    assert (call.end_reason, call.ended_at) == (EndReason.WORKER_KILLED, at(2))
    assert store.get_call(OTHER).call.ended_at is None
    assert store.get_call(third).call.end_reason is EndReason.CALLER_HANGUP


def test_a_list_is_newest_first_and_can_be_narrowed(store):
    ids = [f"{n:032x}" for n in range(1, 5)]
    for n, call_id in enumerate(ids):
        store.apply("w", [opened(call_id, second=n, sid="")])
    joined = CallerJoined(call_id=ids[1], seq=2, at=at(9), identity="x", number="+15550100")
    store.apply("w", [joined])
    store.end_call(ids[0], EndReason.SILENCE)
    listed = [call.id for call in store.list_calls()]
    assert listed == ids[::-1]
    assert [call.id for call in store.list_calls(2)] == ids[:1:-1]
    assert [call.id for call in store.list_calls(since=at(2))] == [ids[3], ids[2]]
    assert [call.id for call in store.list_calls(is_open=False)] == [ids[0]]
    assert ids[0] not in [call.id for call in store.list_calls(is_open=True)]
    assert [call.id for call in store.list_calls(number="+15550100")] == [ids[1]]


def test_a_call_is_found_by_a_unique_beginning_only(store):
    store.apply("w", [opened(CALL), opened(OTHER, sid="RM_2")])
    assert store.get_call("a1").call.id == CALL
    assert store.get_call(CALL.upper()).call.id == CALL
    with pytest.raises(CallUnknown, match="several"):
        store.get_call("a")
    for unknown in ("b", "", "%", "a1'", CALL + "0"):
        with pytest.raises(CallUnknown, match="no call"):
            store.get_call(unknown)


def test_a_second_call_in_one_room_is_kept_and_the_first_keeps_the_room_sid(store):
    store.apply("w", [opened(CALL)])
    store.apply("w", [opened(OTHER)])
    assert store.get_call(CALL).call.room_sid == "RM_1"
    second = store.get_call(OTHER)
    assert second.call.room_sid is None
    assert second.events[0].detail["room_sid"] == "RM_1"


def test_words_and_numbers_of_people_are_not_repeated_in_the_history(store):
    store.apply("w", a_call())
    history = repr(store.get_call(CALL).events)
    for private in ("when are you open", "From nine", "+15550100", "+15550199", "sip_caller"):
        assert private not in history


def test_what_a_database_cannot_store_does_not_cost_the_event(store):
    note = CallNote(call_id=CALL, seq=2, at=at(1), name="x\0", detail={"a\0": float("nan")})
    turn = TurnCommitted(call_id=CALL, seq=3, at=at(2), turn=1, user_text="a\0b\ud800c")
    store.apply("w", [opened(), note, turn])
    record = store.get_call(CALL)
    assert record.turns[0].user_text == "ab?c"
    assert (record.events[1].name, record.events[1].detail) == ("x", {"a": None})


def test_what_is_no_event_of_a_call_is_refused_with_its_batch(store):
    for wrong in (
        opened("short"),
        opened(seq=2**40),
        CallNote(call_id=CALL, seq=1, at=datetime(2026, 1, 1), name="x"),  # noqa: DTZ001  on purpose
    ):
        with pytest.raises(EventRefused):
            store.apply("w", [opened(), wrong])
    assert store.list_calls() == []


def test_an_empty_batch_is_nothing(store):
    store.apply("w", [])
    assert store.list_calls() == []


def test_the_audit_trail_keeps_who_what_object_when_and_from_where(store):
    store.audit("alice", "rotate", "key 7", "10.0.0.1")
    store.audit("bob", "close", "call 1", "cli")
    newest, oldest = store.audit_trail()
    assert (newest.who, newest.what, newest.object, newest.source) == (
        "bob",
        "close",
        "call 1",
        "cli",
    )
    assert oldest.at <= newest.at
    assert oldest.at.utcoffset() == timedelta(0)
    assert [line.who for line in store.audit_trail(1)] == ["bob"]


def test_the_audit_trail_has_no_way_to_change_it(store):
    names = {name for name in dir(store) if "audit" in name and not name.startswith("_")}
    assert names == {"audit", "audit_trail"}


def test_closing_twice_is_fine(store):
    store.close()
    store.close()
