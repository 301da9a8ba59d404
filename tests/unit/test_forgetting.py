"""Forgetting a caller: all of one and nothing of others, whatever was left half by whom."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest

from agent.call import now
from agent.errors import RecordingUnknown
from agent.events import CallOpened
from agent.pseudonym import Pseudonyms
from ops.front.database import Database
from ops.front.events import Events
from ops.recordings import forget as forgetting
from ops.recordings.studio import Studio
from ops.sidecars import recording as sidecar
from tests.unit.test_studio import (
    CALL,
    NUMBER,
    OTHER,
    a_call,
    kept,
    livekit,
    settings,
    studio,
    trail,
)

__all__ = ["kept", "livekit", "settings", "studio"]


async def joined(studio, settings, call_id=CALL, number=NUMBER):
    from agent.events import CallerJoined  # noqa: PLC0415

    name = Pseudonyms.of(settings).of_number(number)
    event = CallerJoined(
        call_id=call_id, seq=5, at=now() - timedelta(hours=2), identity="sip", number=name
    )
    await studio.database.run(lambda log: log.apply("w", [event]))
    return name


async def test_a_caller_is_forgotten_with_calls_recordings_and_files(studio, settings, kept):
    path = kept / f"{CALL}-own.ogg"
    path.write_bytes(b"sound")
    events = [*a_call(recording=path.as_uri()), *a_call(OTHER)]
    await studio.database.run(lambda log: log.apply("w", events))
    await studio.sweep()
    name = await joined(studio, settings)
    found = await forgetting.known_of(studio, name, now())
    assert (found.remains.calls, [row.id for row in found.recordings]) == ((CALL,), [f"{CALL}-own"])
    done = await forgetting.forget(studio, name, "ann", "test")
    assert (done.left, path.exists()) == ((), False)
    calls = await studio.database.run(lambda log: log.list_calls())
    assert [call.id for call in calls] == [OTHER]
    assert ("ann", "forget caller", name) in await trail(studio)
    tombstones = settings.data.folder / forgetting.FILE
    assert (tombstones.stat().st_mode & 0o777, NUMBER in tombstones.read_text()) == (0o600, False)
    assert await forgetting.obey(studio) == []


async def test_a_restored_backup_obeys_the_tombstone(studio, settings, kept, tmp_path):
    await studio.database.run(lambda log: log.apply("w", a_call()))
    name = await joined(studio, settings)
    await forgetting.forget(studio, name, "ann", "test")
    # A backup of before: the database without the tombstone, and with the call.
    old = Database(f"sqlite:///{tmp_path}/restored.db")
    await old.run(lambda log: log.apply("w", a_call()))
    studio.database = old
    await joined(studio, settings)
    try:
        (again,) = await forgetting.obey(studio)
        assert again.remains.calls == (CALL,)
        assert await old.run(lambda log: log.list_calls()) == []
        assert ("tombstone", "forget caller", name) in await trail(studio)
        assert await forgetting.obey(studio) == []
    finally:
        await old.aclose()


async def test_a_caller_who_calls_again_is_a_new_acquaintance(studio, settings):
    await studio.database.run(lambda log: log.apply("w", a_call()))
    name = await joined(studio, settings)
    await forgetting.forget(studio, name, "ann", "test")
    later = now() + timedelta(minutes=1)
    opened_later = CallOpened(
        call_id=OTHER, seq=1, at=later, room="r", room_sid="RM_9", job_id="J", agent_name="a", pid=1
    )
    await studio.database.run(lambda log: log.apply("w", [opened_later]))
    await joined(studio, settings, OTHER)
    assert await forgetting.obey(studio) == []
    calls = await studio.database.run(lambda log: log.list_calls())
    assert [call.id for call in calls] == [OTHER]


@pytest.mark.parametrize("caller", ["", "nobody", "c-12", "123"])
def test_what_is_no_caller_is_refused(settings, caller):
    with pytest.raises(Exception, match="expected a phone number"):
        forgetting.pseudonym(caller, settings)


async def test_a_recording_that_was_cut_short_goes_with_its_caller(studio, settings, kept):
    part = kept / f"{CALL}-own.ogg.part"
    part.write_bytes(b"sound")
    events = a_call(recording=(kept / f"{CALL}-own.ogg").as_uri())
    await studio.database.run(lambda log: log.apply("w", events))
    name = await joined(studio, settings)
    done = await forgetting.forget(studio, name, "ann", "test")
    assert done.left == (f"{CALL}-own",)
    await studio.sweep()
    assert list(kept.iterdir()) == []
    with pytest.raises(RecordingUnknown):
        await studio.get(f"{CALL}-own")


async def test_a_torn_tombstone_spoils_no_other(studio, settings):
    file = settings.data.folder / forgetting.FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b'{"caller": "c-torn\xff')
    await forgetting.forget(studio, "c-" + "0" * 20, "ann", "test")
    told = [stone.caller for stone in forgetting._read(file)]
    assert told == ["c-" + "0" * 20]


async def test_a_sweep_that_breaks_is_not_the_last(studio, settings, monkeypatch):
    (settings.data.folder / forgetting.FILE).mkdir(parents=True)  # cannot be read
    plane = SimpleNamespace(
        settings=studio.settings.model_copy(
            update={"rooms": settings.rooms.model_copy(update={"reconcile_every": 0.01})}
        ),
        database=studio.database,
        livekit=studio.livekit,
        alerts=studio.alerts,
        events=Events(),
    )
    rounds, second = [], asyncio.Event()

    async def sweep(_source):
        rounds.append(1)
        if len(rounds) > 1:
            second.set()

    found = sidecar.Recording(plane)
    monkeypatch.setattr(Studio, "sweep", lambda _self, source: sweep(source))
    await found.start()
    async with asyncio.timeout(5):
        await second.wait()
    await found.aclose()
