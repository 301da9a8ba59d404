"""Who looks after rooms: callers without an agent, transfers, and records that nobody closes."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.webhook import WebhookEvent

from agent.call import EndReason, stand_in_id
from agent.errors import StoreUnavailable, Unavailable
from agent.events import CallEnded, CallOpened
from agent.store.rooms import Rooms
from config import settings as configuration
from ops.front.alerts import Alerts
from ops.front.database import Database
from ops.front.events import Told
from ops.lease import Lease
from ops.rooms.reconciler import Reconciler
from ops.rooms.situation import is_rescued
from ops.rooms.unattended import Unattended
from tests.room_server import NAME, SID, Server

CALL = "a1" * 16


def person(kind="SIP", identity="caller", **attributes):
    return ParticipantInfo(
        sid=f"PA_{identity}", identity=identity, kind=kind, attributes=attributes, state="ACTIVE"
    )


OTHER_CALLER = person(identity="another")
CALLER, AGENT, OTHER = person(), person("AGENT", "agent"), person("SIP", "colleague")


@pytest.fixture
def settings(tmp_path):
    quick = {
        "look_every": 0.1,
        "dispatch_after": 0.3,
        "delete_after": 0.8,
        "reconcile_every": 0.1,
    }
    store = {"url": f"sqlite:///{tmp_path}/calls.db"}
    return configuration.load().model_copy(
        update={
            "rooms": configuration.load().rooms.model_copy(update=quick),
            "store": configuration.load().store.model_copy(update=store),
        }
    )


@pytest.fixture
async def database(settings):
    database = Database(settings.store.url)
    await database.run(lambda _: None)
    yield database
    await database.aclose()


@pytest.fixture
def server():
    return Server()


@pytest.fixture
async def watch(server, database, settings):
    watches = []

    def start(lease="rooms"):
        watch = Unattended(
            server,
            database,
            Alerts(),
            settings.rooms,
            "voice-ai",
            Lease(database, lease),
        )
        watch.start()
        watches.append(watch)
        return watch

    yield start
    for one in watches:
        await one.aclose()


async def looks(server, times=3):
    """Wait until the rooms were listed some times more."""
    until = server.asked["list_rooms"] + times
    await server.until(lambda: server.asked["list_rooms"] >= until)


async def call_of(database, call_id):
    return (await database.run(lambda db: db.get_call(call_id))).call


async def test_an_agent_is_called_in_once_and_then_the_call_is_ended(server, watch, database):
    server.open(CALLER)
    watch()
    await server.until(lambda: server.deleted)
    assert server.asked["create_dispatch"] == 1
    assert is_rescued(server.dispatches)
    assert server.dispatches[0].agent_name == "voice-ai"
    await looks(server)
    call = await call_of(database, stand_in_id(SID))
    assert (call.end_reason, call.end_provisional) == (EndReason.NO_AGENT, False)
    assert (call.room, call.room_sid) == (NAME, SID)


async def test_who_comes_later_into_a_room_of_that_name_has_its_whole_time(server, watch, settings):
    server.open(CALLER)
    watch()
    await server.until(lambda: server.dispatches)
    server.people[NAME][:] = [OTHER_CALLER]
    began = time.monotonic()
    await server.until(lambda: server.deleted)
    assert time.monotonic() - began >= settings.rooms.delete_after


async def test_an_agent_that_comes_keeps_the_call(server, watch):
    server.open(CALLER)
    watch()
    await server.until(lambda: server.dispatches)
    server.people[NAME].append(AGENT)
    await looks(server, 12)
    assert server.deleted == []
    assert server.asked["create_dispatch"] == 1


async def test_an_agent_that_dies_is_missed_from_that_moment_on(server, watch):
    server.open(CALLER, AGENT)
    watched = watch()
    await server.until(lambda: server.asked["list_participants"])
    server.people[NAME].remove(AGENT)
    await watched.hear(left())
    await server.until(lambda: server.dispatches)
    assert server.deleted == []
    await server.until(lambda: server.deleted)


def left():
    return Told(
        id="EV_1",
        event="participant_left",
        room=NAME,
        room_sid=SID,
        at=datetime.now(UTC),
        body=WebhookEvent(),
    )


@pytest.mark.parametrize(
    "people",
    [
        (CALLER, AGENT),
        (CALLER, OTHER),
        (CALLER, person("STANDARD", "operator")),
        (person(**{"voice.verdict": "busy"}),),
        (person("STANDARD"),),
        (),
    ],
)
async def test_whom_nobody_has_to_help(server, watch, people):
    server.open(*people)
    server.open(CALLER, name="another-room", sid="RM_2")
    watch()
    await looks(server, 12)
    assert (server.deleted, server.dispatches) == ([], [])


async def test_rooms_that_are_in_order_are_not_asked_about_again_and_again(server, watch):
    server.open(CALLER, AGENT)
    watch()
    await looks(server, 10)
    assert server.asked["list_participants"] == 1


async def test_what_one_process_has_done_another_does_not_repeat(server, watch):
    server.open(CALLER)
    watch("one")
    watch("other")  # as while the database is away: both act
    await server.until(lambda: server.deleted)
    assert server.asked["create_dispatch"] <= 2
    await looks(server)
    assert server.deleted == [NAME]


async def test_only_who_has_the_lease_acts(server, watch, database):
    lease = Lease(database, "rooms")
    assert await lease.is_held()
    server.open(CALLER)
    watch()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.changed.wait(), 1)
    await lease.aclose()


def opened(reason=None, detail=""):
    events = [
        CallOpened(call_id=CALL, seq=1, room=NAME, room_sid=SID, job_id="AJ", agent_name="", pid=1)
    ]
    if reason:
        events.append(CallEnded(call_id=CALL, seq=2, reason=reason, detail=detail))
    return events


async def test_after_a_warm_transfer_the_side_that_is_left_is_released(server, watch, database):
    await database.run(lambda db: db.apply("w", opened(EndReason.TRANSFERRED, "warm")))
    server.open(CALLER, OTHER)
    watch()
    await looks(server, 4)
    assert server.deleted == []
    server.people[NAME].remove(OTHER)
    await server.until(lambda: server.deleted)
    assert server.dispatches == []
    assert (await call_of(database, CALL)).end_reason == EndReason.TRANSFERRED


@pytest.mark.parametrize(
    ("reason", "detail"), [(EndReason.TRANSFERRED, "cold"), (EndReason.REJECTED_BLOCKED, "")]
)
async def test_what_the_record_forbids(server, watch, database, reason, detail):
    await database.run(lambda db: db.apply("w", opened(reason, detail)))
    server.open(CALLER)
    watch()
    await looks(server, 12)
    assert (server.deleted, server.dispatches) == ([], [])


async def test_livekit_may_be_away_meanwhile(server, watch):
    server.open(CALLER)
    server.is_away = True
    watch()
    await looks(server, 3)
    server.is_away = False
    await server.until(lambda: server.deleted)
    assert server.asked["create_dispatch"] == 1


async def test_the_database_may_be_away_meanwhile(server, watch, database, monkeypatch):
    async def away(_work):
        raise StoreUnavailable

    monkeypatch.setattr(database, "run", away)
    server.open(CALLER)
    watch()
    await server.until(lambda: server.deleted)
    assert server.asked["create_dispatch"] == 1


@pytest.fixture
def reconciler(server, database, settings):
    return Reconciler(server, database, settings, Lease(database, "rooms"))


async def test_a_call_whose_room_is_gone_twice_is_closed_until_its_job_speaks(
    server, database, reconciler
):
    await database.run(lambda db: db.apply("w", opened()))
    server.open(CALLER, AGENT)
    assert await reconciler.compare() == []
    server.rooms.clear()
    assert await reconciler.compare() == []
    assert await reconciler.compare() == [CALL]
    call = await call_of(database, CALL)
    assert (call.end_reason, call.end_provisional) == (EndReason.WORKER_KILLED, True)
    own = CallEnded(call_id=CALL, seq=2, reason=EndReason.SILENCE)
    await database.run(lambda db: db.apply("w", [own]))
    assert (await call_of(database, CALL)).end_reason == EndReason.SILENCE
    assert await reconciler.compare() == []


async def test_a_room_that_came_back_under_its_name_is_not_gone(server, database, reconciler):
    await database.run(lambda db: db.apply("w", opened()))
    server.open(CALLER, AGENT, sid="RM_after_restart")
    for _ in range(3):
        assert await reconciler.compare() == []


async def test_simulated_calls_have_no_room_at_a_server(server, database, reconciler):
    simulated = CallOpened(
        call_id=CALL, seq=1, room=NAME, room_sid="SRM_1", job_id="AJ", agent_name="", pid=1
    )
    await database.run(lambda db: db.apply("w", [simulated]))
    for _ in range(3):
        assert await reconciler.compare() == []


async def test_rooms_without_a_server_that_answers_stay_open(server, database, reconciler):
    await database.run(lambda db: db.apply("w", opened()))
    await reconciler.compare()
    server.is_away = True
    with pytest.raises(Unavailable):
        await reconciler.compare()
    assert (await call_of(database, CALL)).ended_at is None


async def test_the_reconciler_runs_by_itself(server, database, reconciler):
    await database.run(lambda db: db.apply("w", opened()))
    reconciler.start()
    try:
        await looks(server, 4)
    finally:
        await reconciler.aclose()
    assert (await call_of(database, CALL)).ended_at is not None
    assert await database.run(lambda db: Rooms(db.engine).open_calls()) == []
