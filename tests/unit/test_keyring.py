"""The ring of a running process follows the files, and never gets worse by a broken one."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from agent.call import now
from config import key_files
from config.key_files import Signing
from config.livekit_auth import NoKeys
from config.settings import load
from ops import keyring
from ops.keyring import LiveRing
from tests import canaries

FIRST, SECOND = canaries.secret(), canaries.secret()
PATIENCE = 10.0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
async def ring(tmp_path, monkeypatch):
    monkeypatch.setattr(keyring, "EVERY", 0.02)
    ring = LiveRing(load(environ={"VOICE_AGENT__DATA__FOLDER": str(tmp_path)}))
    ring.start()
    yield ring
    await ring.aclose()


@pytest.fixture
def changes(ring):
    """The rings that there were, one after the other."""
    queue = asyncio.Queue()
    ring.changed.append(queue.put_nowait)
    return lambda: asyncio.wait_for(queue.get(), PATIENCE)


def keep(folder, key, secret, *, signs):
    with key_files.changing(folder):
        key_files.add(folder, key, SecretStr(secret))
        if signs:
            key_files.sign_with(folder, Signing(key, now()))


async def logged(caplog, message):
    """The record with this message, as soon as there is one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for record in caplog.records:
                if record.message == message:
                    return record
            await asyncio.sleep(0.01)


def test_a_look_is_often_enough_to_see_a_change_within_five_seconds():
    assert keyring.EVERY <= 2


async def test_a_ring_that_was_empty_takes_its_first_key(ring, changes, folder):
    with pytest.raises(NoKeys):
        ring.credentials()
    keep(folder, "first", FIRST, signs=True)
    while (await changes()).signing is None:  # the key and the mark may come one by one
        pass
    assert ring.credentials() == ("first", FIRST)
    assert ring.current.signing.source == "first.key"


async def test_a_rotation_is_followed_to_its_end(ring, changes, folder):
    keep(folder, "first", FIRST, signs=True)
    keep(folder, "second", SECOND, signs=False)
    while len((await changes()).verifying) < 2:
        pass
    key_files.sign_with(folder, Signing("second", now()))
    assert (await changes()).credentials() == ("second", SECOND)
    assert ring.secret_of("first").get_secret_value() == FIRST
    key_files.remove(folder, "first")
    await changes()
    assert ring.secret_of("first") is None


async def test_a_broken_file_keeps_the_ring_and_is_told_once(ring, changes, folder, caplog):
    keep(folder, "first", FIRST, signs=True)
    while (await changes()).signing is None:
        pass
    good = ring.current
    (folder / "first.key").chmod(0o644)
    told = await logged(caplog, "the key ring is kept as it was")
    assert "first.key: others may read it" in told.why
    await asyncio.sleep(10 * keyring.EVERY)
    assert ring.current is good
    (folder / "first.key").chmod(0o600)
    keep(folder, "second", SECOND, signs=False)
    assert len((await changes()).verifying) == 2
    assert len(caplog.records) == 1


async def test_the_log_names_keys_and_no_secret(ring, changes, folder, caplog):
    caplog.set_level("INFO")
    keep(folder, "first", FIRST, signs=True)
    while (await changes()).signing is None:
        pass
    told = await logged(caplog, "the key ring has changed")
    assert told.verifying == ["first"]
    assert not canaries.is_in(str([vars(record) for record in caplog.records]))


async def test_an_observer_that_fails_is_heard_of_and_the_ring_goes_on(
    ring, changes, folder, caplog
):
    def fail(_):
        raise RuntimeError("the observer")

    ring.changed.insert(0, fail)
    keep(folder, "first", FIRST, signs=True)
    while (await changes()).signing is None:
        pass
    assert "the observer" in caplog.text


async def test_after_its_end_it_looks_no_more(ring, folder):
    await ring.aclose()
    keep(folder, "first", FIRST, signs=True)
    await asyncio.sleep(5 * keyring.EVERY)
    assert ring.current.signing is None
