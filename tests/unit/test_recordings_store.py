"""Recordings in the database: in any order of what is told, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from livekit.protocol.egress import EgressInfo, EgressStatus, FileInfo, RoomCompositeEgressRequest

from agent.call import EndReason, now
from agent.errors import RecordingUnknown
from agent.events import (
    CallEnded,
    CallerJoined,
    CallOpened,
    RecordingAsked,
    RecordingChanged,
    RecordingMade,
    TurnCommitted,
)
from agent.store.call_log import CallLog
from agent.store.forgetting import Forgetting, Tombstone
from agent.store.recordings import RecordingLogRow, Recordings
from agent.store.room_rows import SIP, Change, ParticipantRow, RoomRow
from agent.store.rooms import Rooms
from agent.store.webhooks import WebhookEvents, WebhookRow
from ops.recordings.following import row_of

pytest_plugins = ["tests.postgres"]

CALL, OTHER = "a1" * 16, "a2" * 16
OURS = f"{CALL}-room"
CALLER = "c-" + "0f" * 10
NOON = now().replace(microsecond=0)


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    log = CallLog.open(url)
    yield log
    log.close()


@pytest.fixture
def recordings(log):
    return Recordings(log.engine)


def asked(seq=3, **values):
    told = {
        "call_id": CALL,
        "recording": OURS,
        "by": "egress",
        "what": "room-audio",
        "output": "ogg",
        "persona": "en",
        "room": "voice-ai-call-1",
        "room_sid": "RM_1",
        "uri": "s3://calls/x.ogg",
        "at": NOON,
    }
    return RecordingAsked(seq=seq, **(told | values))


def info(status, name=OURS, **values):
    request = RoomCompositeEgressRequest(room_name="voice-ai-call-1", audio_only=True)
    request.file_outputs.add(filepath=f"calls/{name}.ogg")
    return EgressInfo(
        egress_id="EG_1",
        room_name="voice-ai-call-1",
        room_id="RM_1",
        status=status,
        room_composite=request,
        started_at=int(NOON.timestamp()) * 10**9,
        **values,
    )


ACTIVE = info(EgressStatus.EGRESS_ACTIVE)
COMPLETE = info(
    EgressStatus.EGRESS_COMPLETE,
    ended_at=int(NOON.timestamp() + 60) * 10**9,
    file_results=[FileInfo(location="https://elsewhere/x.ogg", size=4711, duration=60 * 10**9)],
)
STARTED = RecordingChanged(call_id=CALL, seq=4, recording=OURS, status="starting", egress_id="EG_1")
TOLD = {
    "asked": lambda log: log.apply("w", [asked()]),
    "started": lambda log: log.apply("w", [STARTED]),
    "starting": lambda log: Recordings(log.engine).follow(
        row_of(info(EgressStatus.EGRESS_STARTING))
    ),
    "active": lambda log: Recordings(log.engine).follow(row_of(ACTIVE)),
    "complete": lambda log: Recordings(log.engine).follow(row_of(COMPLETE)),
    "complete again": lambda log: Recordings(log.engine).follow(row_of(COMPLETE)),
}


def test_in_any_order_the_row_is_the_same(tmp_path):
    rows = set()
    for number, order in enumerate(itertools.permutations(TOLD)):
        if number % 24:  # every 24th of 720
            continue
        log = CallLog.open(f"sqlite:///{tmp_path}/{number}.db")
        for name in order:
            TOLD[name](log)
        (row,) = Recordings(log.engine).listed()
        rows.add(row)
        log.close()
    (row,) = rows
    assert (row.id, row.egress_id, row.call_id, row.made_by) == (OURS, "EG_1", CALL, "egress")
    assert (row.status, row.size, row.duration, row.persona) == ("complete", 4711, 60.0, "en")
    assert row.uri == "s3://calls/x.ogg"  # ours, not what egress calls it
    assert row.ended_at - row.started_at == timedelta(seconds=60)


def test_a_recording_is_found_by_either_id(log, recordings):
    for told in TOLD.values():
        told(log)
    assert recordings.get(OURS) == recordings.get("EG_1")
    with pytest.raises(RecordingUnknown):
        recordings.get("EG_2")


def test_an_egress_that_nobody_asked_us_for_is_kept_too(recordings):
    theirs = info(EgressStatus.EGRESS_ACTIVE)
    theirs.room_composite.ClearField("file_outputs")
    row = recordings.follow(row_of(theirs)).row
    assert (row.id, row.made_by, row.kind, row.status) == ("EG_1", "other", "room-audio", "active")


@pytest.mark.parametrize("name", ["{room_name}-{time}", "n" * 80])
def test_egresses_of_others_whose_files_are_named_alike_are_two(recordings, name):
    first, second = (info(EgressStatus.EGRESS_ACTIVE, name) for _ in range(2))
    second.egress_id = "EG_2"
    for one in (first, second, first, second):
        recordings.follow(row_of(one))
    assert {row.egress_id for row in recordings.listed()} == {"EG_1", "EG_2"}


def test_a_failure_that_turns_out_to_be_none_is_complete(recordings, log):
    TOLD["asked"](log)
    recordings.change(OURS, status="failed", error="never ended")
    recordings.follow(row_of(ACTIVE))
    assert recordings.get(OURS).status == "failed"
    recordings.follow(row_of(COMPLETE))
    assert recordings.get(OURS).status == "complete"
    recordings.follow(row_of(info(EgressStatus.EGRESS_FAILED, error="late")))
    assert recordings.get(OURS).status == "complete"


def test_the_workers_own_is_in_both_lists_and_goes_where_its_file_goes(log, recordings):
    own = f"{CALL}-own"
    log.apply("w", [asked(recording=own, by="worker", uri="file:///data/x.ogg")])
    made = {"channels": 2, "duration": 1.5, "recording": own, "size": 9}
    log.apply("w", [RecordingMade(call_id=CALL, seq=5, uri="file:///data/x.ogg", **made)])
    row = recordings.get(own)
    assert (row.status, row.duration, row.size, row.made_by) == ("complete", 1.5, 9, "worker")
    log.apply("w", [RecordingChanged(call_id=CALL, seq=6, recording=own, uri="s3://calls/x.ogg")])
    assert recordings.get(own).uri == "s3://calls/x.ogg"
    assert [one.uri for one in log.get_call(CALL).recordings] == ["s3://calls/x.ogg"]
    recordings.remove(own)
    assert log.get_call(CALL).recordings == ()
    assert recordings.listed() == []


def test_what_egress_recorded_is_in_the_record_of_its_call(log):
    for told in TOLD.values():
        told(log)
    (made,) = log.get_call(CALL).recordings
    assert (made.uri, made.channels, made.duration) == ("s3://calls/x.ogg", 2, 60.0)


def a_row(name, days, persona="en", **values):
    told = {"made_by": "egress", "kind": "room-audio", "status": "complete", "persona": persona}
    return RecordingLogRow(id=name, asked_at=now() - timedelta(days=days), **(told | values))


@pytest.mark.parametrize(
    ("days", "by_persona", "due"),
    [
        (90, {}, {"old", "asked"}),
        (30, {}, {"old", "ru", "asked"}),
        (90, {"ru": 7}, {"old", "ru", "asked"}),
        (90, {"en": 0}, {"asked"}),
        (0, {}, {"asked"}),
        (0, {"ru": 7}, {"ru", "asked"}),
    ],
)
def test_what_was_kept_long_enough_is_to_be_deleted(recordings, days, by_persona, due):
    for row in (
        a_row("old", 91),
        a_row("new", 1),
        a_row("ru", 31, persona="ru"),
        a_row("asked", 1, deleted_at=now()),
    ):
        assert recordings.add(row)
        assert not recordings.add(row)
    assert {row.id for row in recordings.to_delete(days, by_persona)} == due


def a_call(call_id, number, sid, started=NOON, *, ended=True):
    key = {"call_id": call_id}
    events = [
        CallOpened(
            **key,
            seq=1,
            at=started,
            room=f"room-{sid}",
            room_sid=sid,
            job_id="J",
            agent_name="a",
            pid=1,
        ),
        CallerJoined(
            **key, seq=2, at=started, identity=f"sip_{number}", number=number, persona="en"
        ),
        TurnCommitted(**key, seq=3, at=started, turn=1, user_text="hello"),
    ]
    if ended:
        events.append(CallEnded(**key, seq=9, at=started, reason=EndReason.CALLER_HANGUP))
    return events


def test_a_caller_is_forgotten_and_others_are_not(log):
    forgetting = Forgetting(log.engine)
    log.apply("w", a_call(CALL, CALLER, "RM_1") + a_call(OTHER, "c-other", "RM_2"))
    found = forgetting.remains(CALLER, now() + timedelta(seconds=1))
    assert (found.calls, found.turns, found.rooms) == ((CALL,), 1, ("RM_1",))
    assert forgetting.remove(CALLER, now() + timedelta(seconds=1)) == found
    assert [call.id for call in log.list_calls()] == [OTHER]
    assert forgetting.remains(CALLER, now()).calls == ()


def test_a_call_that_goes_on_and_one_that_came_later_stay(log):
    forgetting = Forgetting(log.engine)
    later = NOON + timedelta(hours=1)
    log.apply("w", a_call(CALL, CALLER, "RM_1", ended=False) + a_call(OTHER, CALLER, "RM_2", later))
    found = forgetting.remove(CALLER, NOON + timedelta(minutes=1))
    assert (found.calls, found.open_calls) == ((CALL,), (CALL,))
    assert {call.id for call in log.list_calls()} == {CALL, OTHER}


def test_of_two_tombstones_the_later_counts(log):
    forgetting = Forgetting(log.engine)
    for minutes in (0, 5, 3):
        forgetting.bury(Tombstone(CALLER, NOON + timedelta(minutes=minutes)))
    assert forgetting.tombstones() == [Tombstone(CALLER, NOON + timedelta(minutes=5))]


def test_a_caller_who_never_got_through_is_forgotten_too(log):
    forgetting, rooms = Forgetting(log.engine), Rooms(log.engine)
    aborted = ParticipantRow(
        sid="PA_1", room_sid="RM_9", kind=SIP, identity=f"sip_{CALLER}", left_at=NOON
    )
    event = WebhookRow(
        id="EV_1",
        event="participant_connection_aborted",
        room="r",
        room_sid="RM_9",
        created_at=NOON,
        received_at=NOON,
        body={},
    )
    WebhookEvents(log.engine).add([event])
    WebhookEvents(log.engine).claim("t", 1, 30)
    change = Change(event_id="EV_1", room=RoomRow(sid="RM_9"), participant=aborted)
    rooms.apply("t", [change], lambda _state: None)
    found = forgetting.remove(CALLER, now())
    assert (found.rooms, found.webhooks) == (("RM_9",), 1)
    assert rooms.state("RM_9") is None
    assert WebhookEvents(log.engine).ids() == []
