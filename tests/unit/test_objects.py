"""The store as we use it ourselves: a real S3 server on loopback, and folders."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from agent import deposit
from agent.deposit import Deposit
from agent.errors import ObjectStoreFailed
from agent.events import WORKER_SEQ, RecordingMade
from agent.objects import Objects
from config.recording import Recording, Storage, Targets
from config.settings import load
from tests.programs import News

pytest_plugins = ["tests.s3_server"]

LOOPBACK = Targets(private=("127.0.0.0/8",))
CALL = "a1" * 16


def storage(endpoint, **values):
    told = {
        "kind": "s3",
        "bucket": "calls",
        "prefix": "shop/",
        "region": "eu-central-1",
        "endpoint": endpoint,
        "path_style": True,
        "access_key": SecretStr("an-access-key"),
        "secret": SecretStr("canary-secret"),
    }
    return Storage(**(told | values))


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "rec-1.ogg"
    path.write_bytes(b"sound" * 100_000)
    return path


async def test_a_file_is_put_and_removed(s3, sound):
    store = Objects(storage(s3.url), LOOPBACK)
    uri = await store.put(sound, "rec-1.ogg")
    assert uri == "s3://calls/shop/rec-1.ogg"
    assert s3.get("shop/rec-1.ogg") == sound.read_bytes()
    await store.remove(uri)
    assert s3.keys() == []
    await store.remove(uri)  # it is gone: nothing to do


async def test_the_segments_of_hls_are_removed_with_their_folder(s3):
    for name in ("rec-1/index.m3u8", "rec-1/segment_00000.ts", "rec-11/index.m3u8", "rec-1.ogg"):
        s3.put(f"shop/{name}", b"x")
    await Objects(storage(s3.url), LOOPBACK).remove("s3://calls/shop/rec-1")
    assert sorted(s3.keys()) == ["shop/rec-1.ogg", "shop/rec-11/index.m3u8"]


async def test_a_store_at_a_private_address_needs_its_network_in_the_list(s3, sound):
    with pytest.raises(ObjectStoreFailed, match=r"127\.0\.0\.1 is not a public address"):
        await Objects(storage(s3.url), Targets()).put(sound, "rec-1.ogg")
    assert s3.keys() == []


async def test_a_store_that_is_away_or_has_no_such_bucket_says_so_without_the_secret(s3, sound):
    missing = Objects(storage(s3.url, bucket="missing"), LOOPBACK)
    with pytest.raises(ObjectStoreFailed, match="answered put with 404"):
        await missing.put(sound, "rec-1.ogg")
    s3.kill()
    with pytest.raises(ObjectStoreFailed, match="ClientConnectorError") as failed:
        await Objects(storage(s3.url), LOOPBACK).put(sound, "rec-1.ogg")
    assert "canary" not in repr(failed.value)


@pytest.mark.parametrize(
    "uri",
    ["s3://other/shop/x.ogg", "s3://calls/elsewhere/x.ogg", "gs://calls/x.ogg", "https://h/x.ogg"],
)
async def test_what_lies_elsewhere_is_not_removed(uri):
    with pytest.raises(ObjectStoreFailed, match="not in the configured store"):
        await Objects(storage("https://s3.example.com"), Targets()).remove(uri)


async def test_a_folder_of_segments_and_a_file_are_removed_from_disk(tmp_path):
    store = Objects(Storage(folder=tmp_path), Targets())
    (tmp_path / "rec-1").mkdir()
    (tmp_path / "rec-1" / "index.m3u8").write_text("x")
    (tmp_path / "rec 2.ogg").write_text("x")
    for name in ("rec-1", "rec 2.ogg", "rec 2.ogg"):
        await store.remove((tmp_path / name).as_uri())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def settings(tmp_path, s3):
    found = load(environ={"VOICE_AGENT__DATA__FOLDER": str(tmp_path)})
    (tmp_path / "recordings").mkdir()
    section = Recording(storage=storage(s3.url), targets=LOOPBACK)
    return found.model_copy(update={"recording": section})


async def test_finished_recordings_go_to_the_store_and_leave_the_disk(settings, s3, monkeypatch):
    kept = News()
    folder = settings.data.folder / "recordings"
    earlier, later = folder / f"{CALL}-own.ogg", folder / f"{'a2' * 16}-own.ogg"
    earlier.write_bytes(b"earlier")
    (folder / f"{'a3' * 16}-own.ogg.part").write_bytes(b"not finished")
    (folder / "somebody-elses.ogg").write_bytes(b"not ours")
    handing = Deposit(settings, kept.add)
    handing.start()
    moved = await kept.first(lambda event: event.call_id == CALL)
    assert (moved.recording, moved.seq) == (f"{CALL}-own", WORKER_SEQ + 1)
    assert moved.uri == f"s3://calls/shop/{CALL}-own.ogg"
    later.write_bytes(b"later")
    made = {"uri": later.as_uri(), "channels": 2, "duration": 1.0}
    handing.hear(RecordingMade(call_id="a2" * 16, seq=5, **made))
    await kept.first(lambda event: event.call_id == "a2" * 16)
    await handing.aclose()
    assert s3.get(f"shop/{CALL}-own.ogg") == b"earlier"
    assert len(s3.keys()) == 2
    assert not earlier.exists()


async def test_what_the_store_does_not_take_stays_and_is_tried_again(
    settings, s3, monkeypatch, caplog
):
    monkeypatch.setattr(deposit, "RETRY", 0.01)
    kept = News()
    path = settings.data.folder / "recordings" / f"{CALL}-own.ogg"
    path.write_bytes(b"sound")
    s3.kill()
    handing = Deposit(settings, kept.add)
    handing.start()
    async with asyncio.timeout(60):
        while "was not handed over" not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.01)
    assert path.exists()
    await asyncio.to_thread(s3.start)
    await kept.first(lambda event: event.call_id == CALL)
    await handing.aclose()
    assert s3.get(f"shop/{CALL}-own.ogg") == b"sound"
