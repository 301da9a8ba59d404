"""Revoked tokens: known to every process, whatever store is away, and kept out of their rooms."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import jwt
import pytest
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.webhook import WebhookEvent

from agent import shared
from agent.call import now
from agent.errors import NotFound, ServerFailed, StoreUnavailable
from agent.store.access import Access, RevocationRow
from ops.front.database import Database
from ops.front.events import Told
from ops.tokens import removal, revocations
from ops.tokens.revocations import COMPLETE, PREFIX, Revocations
from tests.control_plane import ControlPlane
from tests.programs import PATIENCE
from tests.rooms_stand_in import RoomsStandIn

pytest_plugins = ["tests.postgres", "tests.redis_server"]

WITHIN = 2.0
"""Seconds in which whoever rejoins with a revoked token must be gone."""


def row(name="gen-1", kind="generation", room="lobby", seconds=600):
    moment = now()
    ends = moment + timedelta(seconds=seconds)
    return RevocationRow(id=name, kind=kind, room=room, revoked_at=moment, expires_at=ends)


class Flaky(Database):
    """Can be taken away."""

    is_away = False

    async def run(self, work):
        if self.is_away:
            raise StoreUnavailable
        return await super().run(work)


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request, tmp_path):
    is_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/c.db" if is_file else request.getfixturevalue("postgres_url")
    database = Flaky(url)
    yield database
    await database.aclose()


@pytest.fixture
async def pool(redis_server):
    pool = shared.pool(redis_server.url)
    yield pool
    await pool.aclose()


async def test_each_is_new_once_and_ends_by_itself(database):
    kept = Revocations(database, None)
    assert await kept.add(row())
    assert not await kept.add(row())
    assert await kept.add(row("jti-1", kind="token"))
    assert await kept.add(row("old", seconds=-1))
    assert await kept.among("gen-1", "jti-1", "another") == {"gen-1", "jti-1"}
    await kept.forget()
    assert await kept.among("old") == set()
    await kept.load()
    assert set(kept.generations) == {"gen-1"}
    later = now() + timedelta(hours=2)
    await kept.prolong(row(), later)
    await kept.prolong(row(), now())
    await kept.load()
    assert abs((kept.generations["gen-1"].expires_at - later).total_seconds()) < 1


async def test_one_of_many_who_refresh_at_once_is_the_first(database):
    kept = [Revocations(database, None) for _ in range(6)]
    assert sorted(await asyncio.gather(*(one.add(row("jti-1")) for one in kept))) == (
        [False] * 5 + [True]
    )


@pytest.mark.needs("redis-server")
async def test_redis_answers_for_the_database_only_when_it_holds_everything(database, pool):
    before = Revocations(database, None)
    await before.add(row("jti-1", kind="token"))
    kept = Revocations(database, pool)
    database.is_away = True
    with pytest.raises(StoreUnavailable):
        await kept.among("jti-1")
    database.is_away = False
    await kept.load()
    database.is_away = True
    assert await kept.among("jti-1", "another") == {"jti-1"}
    await kept._redis.delete(COMPLETE)
    with pytest.raises(StoreUnavailable):
        await kept.among("another")
    assert await kept.among("jti-1") == {"jti-1"}


@pytest.mark.needs("redis-server")
async def test_what_only_redis_took_is_in_the_database_later(database, pool):
    kept, other = Revocations(database, pool), Revocations(database, pool)
    await kept.load()
    database.is_away = True
    assert await kept.add(row())
    assert not await other.add(row())
    database.is_away = False
    assert await other.among("gen-1") == {"gen-1"}
    await kept.load()
    found = await database.run(lambda log: Access(log.engine).revoked(["gen-1"]))
    assert found == {"gen-1"}
    assert await other._redis.ttl(PREFIX + "gen-1") > 500


@pytest.mark.needs("redis-server")
async def test_a_redis_that_was_away_gets_what_it_missed(database, pool, redis_server, monkeypatch):
    monkeypatch.setattr(revocations, "AWAY", 0.0)
    kept = Revocations(database, pool)
    await kept.load()
    redis_server.kill()
    assert await kept.add(row())
    assert await kept.among("gen-1") == {"gen-1"}
    database.is_away = True
    with pytest.raises(StoreUnavailable):
        await kept.add(row("gen-2"))
    with pytest.raises(StoreUnavailable):
        await kept.among("gen-1")
    redis_server.start()
    with pytest.raises(StoreUnavailable):
        await kept.among("another")
    database.is_away = False
    await kept.load()
    database.is_away = True
    assert await kept.among("gen-1", "another") == {"gen-1"}


@pytest.mark.needs("redis-server")
async def test_what_was_read_once_is_revoked_whatever_redis_lacks(database, pool):
    """It was revoked where Redis could not be reached, and then the database went away."""
    kept = Revocations(database, pool)
    await kept.load()
    await Revocations(database, None).add(row())
    await kept.load()
    database.is_away = True
    assert await kept.among("gen-1", "another") == {"gen-1"}


@pytest.mark.needs("redis-server")
async def test_a_redis_that_hangs_does_not_hold_up_the_database(database, pool, redis_server):
    kept = Revocations(database, pool)
    redis_server.hang()
    async with asyncio.timeout(WITHIN):
        assert await kept.add(row())
        for _ in range(20):
            assert await kept.among("gen-1") == {"gen-1"}
    redis_server.go_on()


@pytest.mark.needs("redis-server")
async def test_two_processes_are_as_one(tmp_path, postgres_url, redis_server):
    both = {"VOICE_AGENT__STORE__URL": postgres_url, "REDIS_URL": redis_server.url}
    async with ControlPlane(tmp_path, **both) as one, ControlPlane(tmp_path, **both) as two:
        key = await one.key("tokens")
        await two.plane.clients.add("other", ("tokens",))  # reads the list anew
        token = await issued(one, key)
        assert (await two.ask("/tokens/validate", {"token": token}, key))[1]["valid"]
        assert (await one.ask("/tokens/revoke", {"token": token}, key))[0] == 200
        async with asyncio.timeout(1.0 * 2):  # twice the product's figure
            _, told = await two.ask("/tokens/validate", {"token": token}, key)
        assert told["failed"] == "revocation"
        assert (await two.ask("/tokens/refresh", {"token": token}, key))[0] == 409


@pytest.fixture
async def rooms():
    async with RoomsStandIn() as rooms:
        yield rooms


@pytest.fixture
async def plane(tmp_path, rooms):
    async with ControlPlane(tmp_path, **rooms.variables) as plane:
        yield plane


async def issued(plane, key, **more):
    asked = {"kind": "participant", "identity": "who", "room": "lobby", **more}
    status, told = await plane.ask("/tokens", asked, key)
    assert status == 200, told
    return told["token"]


def joins(rooms, token, room="lobby", identity="who"):
    told = jwt.decode(token, options={"verify_signature": False})["attributes"]
    rooms.rooms.setdefault(room, {})[identity] = told
    return told


async def webhook(plane, identity, attributes):
    """What the tokens sidecar does when LiveKit tells that somebody joined."""
    body = WebhookEvent(
        event="participant_joined",
        participant=ParticipantInfo(identity=identity, attributes=attributes),
    )
    told = Told(id="EV_1", event=body.event, room="lobby", room_sid="RM", at=now(), body=body)
    for tell in plane.plane.events.handlers(body.event):
        if tell.__self__ is plane.app.state.sidecars["tokens"]:
            await tell(told)


async def test_a_revoked_participant_is_removed_and_so_is_whoever_rejoins(plane, rooms):
    key = await plane.key("tokens")
    token = await issued(plane, key)
    joins(rooms, token)
    rooms.rooms["lobby"]["other"] = {}
    status, told = await plane.ask("/tokens/revoke", {"token": token}, key)
    assert (status, told.get("removed")) == (200, True), told
    assert set(rooms.rooms["lobby"]) == {"other"}
    assert rooms.asked[0].revoke_token_ts > 0
    joins(rooms, token)
    async with asyncio.timeout(WITHIN * 2):  # twice the product's figure
        while "who" in rooms.rooms["lobby"]:  # noqa: ASYNC110 - found by looking
            await asyncio.sleep(0.05)
    assert set(rooms.rooms["lobby"]) == {"other"}


async def test_a_webhook_removes_whoever_rejoins_at_once(plane, rooms, monkeypatch):
    monkeypatch.setattr(removal, "EVERY", PATIENCE)
    key = await plane.key("tokens")
    token, good = await issued(plane, key), await issued(plane, key)
    await plane.ask("/tokens/revoke", {"token": token}, key)
    await webhook(plane, "who", joins(rooms, token))
    assert set(rooms.rooms["lobby"]) == set()
    await webhook(plane, "who", joins(rooms, good))
    await webhook(plane, "somebody", {})
    assert set(rooms.rooms["lobby"]) == {"who"}
    rooms.is_down = True
    await webhook(plane, "who", joins(rooms, token))  # tried again at the next look
    assert set(rooms.rooms["lobby"]) == {"who"}


async def test_refresh_removes_nobody(plane, rooms):
    key = await plane.key("tokens")
    token = await issued(plane, key)
    told = joins(rooms, token)
    status, _ = await plane.ask("/tokens/refresh", {"token": token}, key)
    assert status == 200
    await webhook(plane, "who", told)
    await plane.app.state.sidecars["tokens"]._removal.look()
    assert set(rooms.rooms["lobby"]) == {"who"}
    assert rooms.asked == []


async def test_whoever_is_there_with_another_token_stays(plane, rooms):
    key = await plane.key("tokens")
    old, new = await issued(plane, key), await issued(plane, key)
    joins(rooms, new)
    status, told = await plane.ask("/tokens/revoke", {"token": old}, key)
    assert (status, told.get("removed")) == (200, False), told
    assert set(rooms.rooms["lobby"]) == {"who"}


@pytest.mark.parametrize("error", [NotFound(), ServerFailed()])
async def test_one_room_that_cannot_be_looked_into_hides_no_other(plane, rooms, monkeypatch, error):
    monkeypatch.setattr(removal, "EVERY", PATIENCE)
    key = await plane.key("tokens")
    looking = plane.app.state.sidecars["tokens"]._removal
    for room in ("broken", "lobby"):
        token = await issued(plane, key, room=room)
        await plane.ask("/tokens/revoke", {"token": token}, key)
        joins(rooms, token, room)
    listed = plane.plane.livekit.room.list_participants

    async def unlisted(asked):
        if asked.room == "broken":
            raise error
        return await listed(asked)

    monkeypatch.setattr(plane.plane.livekit.room, "list_participants", unlisted)
    with contextlib.suppress(ServerFailed):
        await looking.look()
    assert rooms.rooms == {"broken": rooms.rooms["broken"], "lobby": {}}


async def test_a_livekit_that_is_down_is_asked_again_and_somebody_is_told(tmp_path, rooms):
    policies = tmp_path / "retry_policies.yaml"
    policies.write_text("breaker: {failures: 5, open: 0.5}")
    more = {**rooms.variables, "VOICE_AGENT__LIVEKIT__RETRY_POLICIES": str(policies)}
    async with ControlPlane(tmp_path, **more) as plane:
        await comes_back(plane, rooms)


async def comes_back(plane, rooms):
    key = await plane.key("tokens")
    token = await issued(plane, key)
    joins(rooms, token)
    alerts = asyncio.Queue()
    plane.plane.alerts.listeners.append(lambda alert: alerts.put_nowait(alert.name))
    rooms.is_down = True
    status, told = await plane.ask("/tokens/revoke", {"token": token}, key)
    assert (status, told["removed"]) == (200, False)
    async with asyncio.timeout(PATIENCE):
        # Health checks tell of a LiveKit that is down too, before or after.
        while await alerts.get() != "revocation_unenforced":
            pass
        rooms.is_down = False
        while "who" in rooms.rooms["lobby"]:  # noqa: ASYNC110 - found by looking
            await asyncio.sleep(0.05)


async def test_a_removal_lets_the_revocation_live_as_long_as_the_servers_own_token(plane, rooms):
    key = await plane.key("tokens")
    token = await issued(plane, key, ttl=10)
    await plane.ask("/tokens/revoke", {"token": token}, key)
    kept = plane.app.state.sidecars["tokens"]._revocations
    await kept.load()
    (before,) = kept.generations.values()
    assert before.expires_at > now() + timedelta(minutes=10, seconds=50)
    await webhook(plane, "who", joins(rooms, token))
    await kept.load()
    (after,) = kept.generations.values()
    assert after.expires_at > before.expires_at
