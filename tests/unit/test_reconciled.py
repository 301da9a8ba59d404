"""What nobody closes is found, without a webhook, and after the database was away for long."""

from __future__ import annotations

import pytest
from livekit.protocol.models import ParticipantInfo

from agent.call import EndReason, now
from agent.errors import StoreUnavailable
from agent.events import CallerJoined, CallOpened
from agent.sessions import Session
from agent.store import engine
from agent.store.room_rows import ParticipantRow, RoomRow
from agent.store.rooms import Rooms, _put_people, _put_rooms
from config import settings as configuration
from ops.front.alerts import Alerts
from ops.front.database import Database
from ops.lease import Lease
from ops.rooms.reconciler import Reconciler
from ops.rooms.silent import Silent
from ops.rooms.unattended import Unattended
from tests.room_server import NAME, SID, Server

CALL = "a1" * 16
SCALE = 300
"""Real seconds for one of the test: a database that is away for five minutes is so for one."""


def person(kind="SIP", identity="caller"):
    return ParticipantInfo(sid=f"PA_{identity}", identity=identity, kind=kind, state="ACTIVE")


CALLER, AGENT = person(), person("AGENT", "agent")


class Flaky(Database):
    """A database that can be away."""

    is_away = False
    refused = 0

    async def run(self, work):
        if self.is_away:
            self.refused += 1
            raise StoreUnavailable("away")
        return await super().run(work)


@pytest.fixture
def settings(tmp_path):
    loaded = configuration.load()
    quick = {"look_every": 0.1, "reconcile_every": 30 / SCALE}
    store = {"url": f"sqlite:///{tmp_path}/calls.db"}
    return loaded.model_copy(
        update={
            "rooms": loaded.rooms.model_copy(update=quick),
            "store": loaded.store.model_copy(update=store),
        }
    )


@pytest.fixture
async def database(settings):
    database = Flaky(settings.store.url)
    await database.run(lambda db: db.apply("w", [opened()]))
    yield database
    await database.aclose()


@pytest.fixture
def server():
    return Server()


def opened(sid=SID):
    return CallOpened(
        call_id=CALL, seq=1, room=NAME, room_sid=sid, job_id="AJ", agent_name="", pid=1
    )


async def the_call(database):
    return (await database.run(lambda db: db.get_call(CALL))).call


class LostCalls:
    """What is known of heartbeats."""

    def __init__(self, *lost):
        self.lost = list(lost)

    async def __call__(self):
        return self.lost


def session(sid=SID):
    return Session(CALL, NAME, sid, "AJ", "host/w", now())


@pytest.fixture
def silent(server, database):
    lost = LostCalls(session())
    found = Silent(server, database, lost)
    found.lost = lost
    return found


async def test_a_call_without_a_heartbeat_and_without_an_agent_is_closed(server, database, silent):
    server.open(CALLER)
    assert await silent.look() == []
    assert await silent.look() == [CALL]
    call = await the_call(database)
    assert (call.end_reason, call.end_provisional) == (EndReason.WORKER_KILLED, True)
    assert await silent.look() == []


async def test_a_worker_that_only_lost_its_redis_keeps_its_calls(server, database, silent):
    server.open(CALLER, AGENT)
    for _ in range(3):
        assert await silent.look() == []
    assert (await the_call(database)).ended_at is None


async def test_a_heartbeat_that_comes_back_in_between_counts(server, silent):
    server.open(CALLER)
    assert await silent.look() == []
    silent.lost.lost = []
    assert await silent.look() == []
    silent.lost.lost = [session()]
    assert await silent.look() == []
    silent.forget()
    assert await silent.look() == []


async def test_simulated_calls_have_no_room_to_look_into(server, silent):
    silent.lost.lost = [session("SRM_1")]
    for _ in range(3):
        assert await silent.look() == []
    assert server.asked["list_participants"] == 0


@pytest.fixture
async def watch(server, database, settings):
    lease = Lease(database, "rooms")
    watch = Unattended(
        server, database, Alerts(), settings.rooms, "voice-ai", lease, nobody_after=0.5
    )
    watch.start()
    yield watch
    await watch.aclose()


GONE = ParticipantRow(
    sid="PA_caller",
    room_sid=SID,
    kind="sip",
    joined_at=now(),
    left_at=now(),
    reason="media_failure",
)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ([], EndReason.CALLER_NEVER_JOINED),
        ([CallerJoined(call_id=CALL, seq=2, identity="sip_1")], EndReason.CALLER_LOST),
    ],
)
async def test_an_agent_without_a_caller_is_ended_with_its_room(
    server, database, watch, known, reason
):
    await database.run(lambda db: db.apply("w", known))
    server.open(AGENT)
    await server.until(lambda: server.deleted)
    call = await the_call(database)
    assert (call.end_reason, call.end_provisional) == (reason, False)
    assert (call.room_sid, server.dispatches) == (SID, [])


async def test_how_the_caller_left_is_known_from_webhooks(server, database, watch):
    await database.run(lambda db: put(db, GONE))
    server.open(AGENT)
    await server.until(lambda: server.deleted)
    assert (await the_call(database)).end_reason == EndReason.MEDIA_FAILURE


def put(db, person):
    """A participant, as the webhooks left it."""

    def work(connection):
        _put_rooms(connection, [RoomRow(sid=SID, name=NAME)])
        _put_people(connection, [person])

    engine.write(db.engine, work)


async def test_an_agent_is_given_time_to_be_joined(server, watch, database):
    server.open(AGENT)
    await server.until(lambda: server.asked["list_participants"])
    server.people[NAME].append(CALLER)
    until = server.asked["list_rooms"] + 12
    await server.until(lambda: server.asked["list_rooms"] >= until)
    assert server.deleted == []
    assert (await the_call(database)).ended_at is None


async def test_a_call_that_ended_while_the_database_was_away_for_five_minutes_is_closed(
    server, database, settings
):
    """Ten looks of 30 s are missed, and every webhook with them."""
    server.open(CALLER, AGENT)
    lease = Lease(database, "rooms")
    silent = Silent(server, database, LostCalls())
    reconciler = Reconciler(server, database, settings, lease, silent)
    reconciler.start()
    try:
        await server.until(lambda: server.asked["list_rooms"] > 1)
        database.is_away = True
        server.rooms.clear()
        missed = server.asked["list_rooms"] + 300 / 30
        await server.until(lambda: server.asked["list_rooms"] >= missed)
        assert database.refused >= 300 / 30
        database.is_away = False
        back = server.asked["list_rooms"]
        await server.until(lambda: server.asked["list_rooms"] >= back + 4)
    finally:
        await reconciler.aclose()
    call = await the_call(database)
    assert (call.end_reason, call.end_provisional) == (EndReason.WORKER_KILLED, True)
    assert await database.run(lambda db: Rooms(db.engine).open_calls()) == []
