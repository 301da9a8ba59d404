"""Recordings from start to deletion, against a stand-in for LiveKit's egress service."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from livekit.protocol import egress as wire

from agent import metrics
from agent.call import EndReason, now
from agent.egress import Kind, Output, Wanted
from agent.errors import (
    NotFound,
    ObjectStoreFailed,
    RecordingRefused,
    RecordingUnknown,
    TargetRefused,
)
from agent.events import CallEnded, CallOpened, RecordingAsked
from agent.store.recordings import Recordings
from config.recording import Recording, Targets
from config.settings import load
from ops.recordings import studio as studios
from ops.recordings.open import opened
from tests.media_stand_in import MediaStandIn
from tests.programs import settings as variables_of

CALL, OTHER = "a1" * 16, "a2" * 16
NUMBER = "+15550142"
PUBLIC = "93.184.215.14"
LISTED = Targets(hosts=("live.example.com",))


@pytest.fixture
async def livekit():
    async with MediaStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def settings(tmp_path, livekit):
    found = load(environ={**variables_of(tmp_path), **livekit.variables})
    storage = found.recording.storage.model_copy(update={"folder": tmp_path / "kept"})
    return found.model_copy(update={"recording": Recording(storage=storage, targets=LISTED)})


@pytest.fixture
async def studio(settings):
    async def resolving(_host):
        return [PUBLIC]

    async with opened(settings) as studio:
        studio.resolving = resolving
        yield studio


@pytest.fixture
def kept(tmp_path):
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


async def start(studio, **values):
    return await studio.start(Wanted(**({"id": "rec-0001", "room": "r"} | values)), "ann", "test")


async def trail(studio):
    rows = await studio.database.run(lambda log: log.audit_trail())
    return [(row.who, row.what, row.object) for row in reversed(rows)]


async def test_a_recording_is_started_stopped_followed_and_deleted(studio, livekit, kept):
    row = await start(studio)
    assert (row.status, row.egress_id, row.room) == ("starting", "EG_1", "r")
    assert (await studio.stop("EG_1", "ann", "test")).status == "active"
    file = kept / "rec-0001.ogg"
    file.write_bytes(b"sound")
    await studio.on_egress(livekit.finish("EG_1", file_results=[wire.FileInfo(size=5)]))
    row = await studio.get("rec-0001")
    assert (row.status, row.size, row.uri) == ("complete", 5, file.as_uri())
    assert await studio.delete("rec-0001", "ann", "test")
    assert not file.exists()
    with pytest.raises(RecordingUnknown):
        await studio.get("rec-0001")
    told = ["start recording", "stop recording", "delete recording"]
    assert await trail(studio) == [("ann", what, "rec-0001") for what in told]


async def test_the_same_id_twice_is_one_egress(studio, livekit):
    assert await start(studio) == await start(studio)
    assert len(livekit.egress) == 1


async def test_what_cannot_be_made_is_refused_before_anything_is_done(studio, livekit):
    with pytest.raises(RecordingRefused, match="use hls"):
        await start(studio, output=Output.DASH)
    for url in ("https://evil.example/", "http://127.0.0.1/"):
        with pytest.raises(TargetRefused):
            await start(studio, kind=Kind.WEB, output=Output.MP4, url=url, room="")
    with pytest.raises(TargetRefused):
        await start(studio, output=Output.RTMP, stream="rtmp://evil.example/app/key")
    assert livekit.asked == []
    assert await trail(studio) == []


async def test_a_listed_host_that_resolves_to_a_private_address_is_refused(studio, livekit):
    async def resolving(_host):
        return ["10.0.0.1"]

    studio.resolving = resolving
    with pytest.raises(TargetRefused, match=r"10\.0\.0\.1"):
        await start(studio, output=Output.RTMP, stream="rtmp://live.example.com/app/key")
    assert livekit.asked == []


async def test_a_stream_keeps_no_address(studio, livekit):
    row = await start(studio, output=Output.RTMP, stream="rtmp://live.example.com/app/the-key")
    assert (row.uri, row.output) == ("", "rtmp")
    assert "the-key" not in repr(row)
    ((_, request),) = livekit.asked
    assert request.stream_outputs[0].urls[0].endswith("the-key")
    await studio.on_egress(livekit.finish("EG_1"))
    assert await studio.delete("rec-0001", "ann", "test")


async def test_a_stream_that_egress_tells_of_before_it_answers_is_one_recording(
    studio, livekit, monkeypatch
):
    real = studios.start

    async def told_first(api, message):
        egress_id = await real(api, message)
        await studio.on_egress(livekit.egress[egress_id])
        return egress_id

    monkeypatch.setattr(studios, "start", told_first)
    await start(studio, output=Output.RTMP, stream="rtmp://live.example.com/app/the-key")
    (row,) = await studio.database.run(lambda log: Recordings(log.engine).listed())
    assert (row.id, row.egress_id, row.made_by) == ("rec-0001", "EG_1", "egress")


@pytest.mark.parametrize(("mime", "output"), [("video/VP8", "webm"), ("audio/opus", "ogg")])
async def test_the_codec_of_a_track_is_asked_of_the_room(studio, livekit, mime, output):
    livekit.tracks["TR_1"] = mime
    row = await start(studio, kind=Kind.TRACK, output=Output(output), track="TR_1")
    assert row.uri.endswith(f".{output}")
    with pytest.raises(RecordingRefused, match=f"use {output}"):
        await start(studio, id="rec-0002", kind=Kind.TRACK, output=Output.MP4, track="TR_1")


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.TRACK])
async def test_each_kind_is_asked_of_its_own_method(studio, livekit, kind):
    fields = {
        "identity": "p" if kind is Kind.PARTICIPANT else "",
        "audio_track": "TR_a" if kind is Kind.TRACK_COMPOSITE else "",
        "url": "https://live.example.com/" if kind is Kind.WEB else "",
    }
    await start(studio, kind=kind, output=Output.MP4, **fields)
    ((method, _),) = livekit.asked
    assert method.replace("Start", "").replace("Egress", "") in {
        "RoomComposite",
        "Participant",
        "TrackComposite",
        "Web",
    }
    row = await studio.on_egress(livekit.finish("EG_1")) or await studio.get("rec-0001")
    assert (row.kind, row.status) == (kind.value, "complete")


async def test_egress_that_refuses_is_told_and_the_row_says_so(studio, livekit):
    livekit.refuses["StartRoomCompositeEgress"] = ("not_found", 404)
    with pytest.raises(NotFound):
        await start(studio)
    assert "not_found" in (await studio.get("rec-0001")).error


async def test_a_recording_that_failed_is_an_alert_once(studio, livekit, caplog):
    await start(studio)
    info = livekit.finish("EG_1", wire.EGRESS_FAILED, error="no disk")
    await studio.on_egress(info)
    await studio.on_egress(info)
    alerts = [record for record in caplog.records if getattr(record, "alert", "") == "recording"]
    assert len(alerts) == 1
    assert (await studio.get("rec-0001")).error == "no disk"


async def asked_long_ago(studio, **values):
    told = {"room": "r", "kind": "room-audio", "made_by": "egress", "status": "asked", "uri": ""}
    row = (await start(studio, id="rec-pattern"),)[0]
    fields = {name: getattr(row, name) for name in row.__slots__}
    fields |= {"egress_id": None, "asked_at": now() - timedelta(hours=1)} | told | values
    new = type(row)(**fields)
    await studio.database.run(lambda log: Recordings(log.engine).add(new))
    return new


async def test_the_end_of_a_recording_counts_once_however_many_tell_of_it(studio, livekit):
    await start(studio)
    ended = metrics.RECORDINGS.labels("egress", "complete")._value
    before = ended.get()
    begun = wire.EgressInfo()
    begun.CopyFrom(livekit.egress["EG_1"])
    over = livekit.finish("EG_1")
    await asyncio.gather(*(studio.on_egress(one) for one in (begun, over, over, begun, over)))
    assert ended.get() - before == 1


async def test_the_sweep_finds_what_never_started_and_what_nobody_knows(studio, livekit, caplog):
    await asked_long_ago(studio, id="never-started")
    await asked_long_ago(studio, id="unknown", egress_id="EG_gone", status="active")
    swept = await studio.sweep()
    assert set(swept.failed) == {"never-started", "unknown"}
    assert (await studio.get("never-started")).error == "never started"
    assert "does not know" in (await studio.get("unknown")).error
    assert (await studio.sweep()).failed == []


async def test_the_sweep_takes_over_what_egress_did_while_nobody_heard(studio, livekit):
    await start(studio)
    await studio.database.run(
        lambda log: Recordings(log.engine).change("rec-0001", asked_at=now() - timedelta(hours=1))
    )
    livekit.finish("EG_1", file_results=[wire.FileInfo(size=7)])
    assert (await studio.sweep()).failed == []
    assert (await studio.get("rec-0001")).size == 7


async def test_the_sweep_finds_an_egress_whose_start_was_not_answered(studio, livekit):
    await start(studio)
    await studio.database.run(
        lambda log: Recordings(log.engine).change(
            "rec-0001", asked_at=now() - timedelta(hours=1), egress_id=None
        )
    )
    await studio.sweep()
    assert (await studio.get("rec-0001")).egress_id == "EG_1"


async def test_the_sweep_finds_an_egress_of_which_no_webhook_told(studio, livekit):
    livekit_starts(livekit, "EG_7")
    assert (await studio.sweep()).failed == []
    row = await studio.get("EG_7")
    assert (row.made_by, row.status, row.room) == ("other", "active", "r")
    await studio.sweep()
    livekit.finish("EG_7")
    await studio.database.run(
        lambda log: Recordings(log.engine).change(row.id, asked_at=now() - timedelta(hours=1))
    )
    await studio.sweep()
    assert (await studio.get("EG_7")).status == "complete"


def livekit_starts(livekit, egress_id):
    """Somebody else has an egress started."""
    livekit.egress[egress_id] = wire.EgressInfo(
        egress_id=egress_id, room_name="r", status=wire.EGRESS_ACTIVE
    )


HOUR_AGO = now() - timedelta(hours=1)


def a_call(call_id=CALL, *, ended=HOUR_AGO, recording=""):
    key = {"call_id": call_id}
    events = [
        CallOpened(
            **key,
            seq=1,
            at=now() - timedelta(hours=2),
            room="r",
            room_sid=f"RM_{call_id[:2]}",
            job_id="J",
            agent_name="a",
            pid=1,
        ),
    ]
    if recording:
        events.append(
            RecordingAsked(
                **key,
                seq=2,
                at=now() - timedelta(hours=2),
                recording=f"{call_id}-own",
                by="worker",
                what="room-audio",
                output="ogg",
                persona="en",
                uri=recording,
            )
        )
    if ended:
        events.append(CallEnded(**key, seq=3, at=ended, reason=EndReason.CALLER_HANGUP))
    return events


async def test_an_egress_that_outlives_its_call_is_stopped(studio, livekit, caplog):
    await studio.database.run(lambda log: log.apply("w", a_call()))
    await start(studio)
    await studio.database.run(
        lambda log: Recordings(log.engine).change(
            "rec-0001", asked_at=now() - timedelta(hours=1), call_id=CALL
        )
    )
    await studio.sweep()
    assert ("StopEgress", "EG_1") in [(m, getattr(r, "egress_id", "")) for m, r in livekit.asked]
    assert "a recording never ended" in caplog.text


@pytest.mark.parametrize("left", ["part", "whole", "nothing"])
async def test_a_killed_jobs_recording_is_kept_as_far_as_it_went(studio, kept, left, caplog):
    path = kept / f"{CALL}-own.ogg"
    if left != "nothing":
        (path if left == "whole" else kept / f"{path.name}.part").write_bytes(b"sound")
    events = a_call(recording=path.as_uri())
    await studio.database.run(lambda log: log.apply("w", events))
    swept = await studio.sweep()
    row = await studio.get(f"{CALL}-own")
    if left == "nothing":
        assert (row.status, swept.failed) == ("failed", [row.id])
    else:
        assert (row.status, row.size, path.read_bytes()) == ("complete", 5, b"sound")
        assert "cut short" in row.error


async def test_a_recording_of_a_call_that_goes_on_is_left_alone(studio, kept):
    events = a_call(recording=(kept / "x.ogg").as_uri(), ended=None)
    await studio.database.run(lambda log: log.apply("w", events))
    assert (await studio.sweep()).failed == []
    assert (await studio.get(f"{CALL}-own")).status == "asked"


async def test_what_is_too_old_is_deleted_with_its_file(studio, livekit, kept):
    (kept / "rec-0001.ogg").write_bytes(b"sound")
    await start(studio)
    await studio.on_egress(livekit.finish("EG_1"))
    await studio.database.run(
        lambda log: Recordings(log.engine).change("rec-0001", asked_at=now() - timedelta(days=91))
    )
    assert (await studio.sweep()).deleted == ["rec-0001"]
    assert list(kept.iterdir()) == []
    assert ("retention", "delete recording", "rec-0001") in await trail(studio)


async def test_what_is_being_made_is_deleted_when_it_has_ended(studio, livekit, kept):
    await start(studio)
    assert not await studio.delete("rec-0001", "ann", "test")
    (kept / "rec-0001.ogg").write_bytes(b"sound")
    await studio.on_egress(livekit.finish("EG_1"))
    assert list(kept.iterdir()) == []
    with pytest.raises(RecordingUnknown):
        await studio.get("rec-0001")


async def test_a_file_outside_the_folder_is_not_touched(studio, livekit, kept, tmp_path):
    (outside := tmp_path / "precious").write_text("mine")
    await start(studio)
    uri = (kept / ".." / "precious").as_uri()
    await studio.database.run(lambda log: Recordings(log.engine).change("rec-0001", uri=uri))
    await studio.on_egress(livekit.finish("EG_1"))
    with pytest.raises(ObjectStoreFailed, match="not in the folder of recordings"):
        await studio.delete("rec-0001", "ann", "test")
    assert outside.exists()
    assert (await studio.sweep()).kept == ["rec-0001"]  # it is tried again


async def test_a_folder_that_is_not_here_is_no_deletion(studio, livekit):
    await start(studio)
    await studio.on_egress(livekit.finish("EG_1"))
    with pytest.raises(ObjectStoreFailed, match="not on this machine"):
        await studio.delete("rec-0001", "ann", "test")


async def test_an_egress_that_cannot_be_stopped_keeps_nothing_from_its_deletion(
    studio, livekit, kept
):
    await studio.database.run(lambda log: log.apply("w", a_call()))
    await start(studio)
    await studio.database.run(
        lambda log: Recordings(log.engine).change(
            "rec-0001", asked_at=now() - timedelta(hours=1), call_id=CALL
        )
    )
    livekit.refuses["StopEgress"] = ("failed_precondition", 412)
    old = now() - timedelta(days=1000)
    await asked_long_ago(studio, id="too-old", status="complete", asked_at=old)
    assert (await studio.sweep()).deleted == ["too-old"]
