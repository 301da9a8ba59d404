"""What can be recorded: every kind by every output by every store, as a request or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from livekit.protocol import egress as wire
from pydantic import SecretStr

from agent import egress
from agent.egress import Kind, Output, Wanted
from agent.errors import RecordingRefused
from config.recording import Recording, Storage

LOCAL = Storage(folder=Path("/srv/recordings"))
S3 = Storage(
    kind="s3",
    bucket="calls",
    prefix="shop/",
    region="eu-central-1",
    endpoint="https://s3.example.com",
    path_style=True,
    access_key=SecretStr("an-access-key"),
    secret=SecretStr("a-secret"),
)
AZURE = Storage(kind="azure", bucket="calls", account_name="shop", account_key=SecretStr("a-key"))
GCP = Storage(kind="gcp", bucket="calls", credentials=SecretStr("{}"))

FIELDS = {
    Kind.ROOM_AUDIO: {"room": "r"},
    Kind.ROOM_VIDEO: {"room": "r"},
    Kind.PARTICIPANT: {"room": "r", "identity": "p"},
    Kind.TRACK_COMPOSITE: {"room": "r", "audio_track": "TR_a", "video_track": "TR_v"},
    Kind.TRACK: {"room": "r", "track": "TR_a"},
    Kind.WEB: {"url": "https://example.com/board"},
}
SOUND = {
    Kind.TRACK_COMPOSITE: {"room": "r", "audio_track": "TR_a"},
    Kind.WEB: {"url": "https://example.com/board", "audio_only": True},
}
MAKES = {
    Kind.ROOM_AUDIO: {"ogg", "mp4", "mp3", "hls", "rtmp"},
    Kind.ROOM_VIDEO: {"mp4", "hls", "rtmp"},
    Kind.PARTICIPANT: {"mp4", "hls", "rtmp"},
    Kind.TRACK_COMPOSITE: {"mp4", "hls", "rtmp"},
    Kind.TRACK: set(),  # by its codec: see below
    Kind.WEB: {"mp4", "hls", "rtmp"},
}
"""With a picture where the kind may have one."""
INSTEAD = {
    ("webm", Kind.TRACK): "a single track is kept as it is: webm holds no unknown codec",
    ("dash", Kind.TRACK): "makes no DASH; use hls",
}


def wanted(kind, output, **fields):
    stream = "rtmp://live.example.com/app/key" if output == "rtmp" else ""
    return Wanted(id="rec-1", kind=Kind(kind), output=Output(output), stream=stream, **fields)


@pytest.mark.parametrize("storage", [LOCAL, S3, AZURE, GCP], ids=lambda one: one.kind)
@pytest.mark.parametrize("output", list(Output))
@pytest.mark.parametrize("kind", list(Kind))
def test_each_combination_is_a_request_or_is_refused_with_what_to_use(kind, output, storage):
    asked = wanted(kind, output, **FIELDS[kind])
    if output.value in MAKES[kind]:
        message = egress.request(asked, storage)
        assert hasattr(wire, type(message).__name__)
        assert type(message) in egress.METHODS
        return
    with pytest.raises(RecordingRefused, match=r"\buse\b"):
        egress.request(asked, storage)


@pytest.mark.parametrize("output", ["ogg", "mp3"])
@pytest.mark.parametrize("kind", SOUND)
def test_sound_alone_fits_into_files_of_sound(kind, output):
    message = egress.request(wanted(kind, output, **SOUND[kind]), LOCAL)
    (file,) = message.file_outputs
    assert wire.EncodedFileType.Name(file.file_type) == output.upper()
    with pytest.raises(RecordingRefused, match="holds no picture: use mp4"):
        egress.request(wanted(kind, output, **FIELDS[kind]), LOCAL)


@pytest.mark.parametrize(
    ("codec", "output"),
    [("opus", "ogg"), ("PCMU", "ogg"), ("h264", "mp4"), ("vp8", "webm"), ("VP9", "webm")],
)
def test_a_single_track_is_kept_in_what_holds_its_codec(codec, output):
    message = egress.request(wanted(Kind.TRACK, output, codec=codec, **FIELDS[Kind.TRACK]), LOCAL)
    assert (message.track_id, message.file.filepath) == ("TR_a", f"/srv/recordings/rec-1.{output}")
    other = "mp4" if output != "mp4" else "webm"
    with pytest.raises(RecordingRefused, match=f"use {output}"):
        egress.request(wanted(Kind.TRACK, other, codec=codec, **FIELDS[Kind.TRACK]), LOCAL)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.TRACK])
def test_webm_and_dash_say_what_to_use_instead(kind):
    with pytest.raises(RecordingRefused, match=r"single VP8 or VP9 track .* use mp4"):
        egress.request(wanted(kind, "webm", **FIELDS[kind]), LOCAL)
    with pytest.raises(RecordingRefused, match="makes no DASH; use hls"):
        egress.request(wanted(kind, "dash", **FIELDS[kind]), LOCAL)


def test_a_call_is_recorded_on_two_channels_and_needs_no_browser():
    message = egress.request(Wanted(id="c-room", room="voice-ai-call-1"), LOCAL)
    assert (message.room_name, message.audio_only, message.layout) == ("voice-ai-call-1", True, "")
    assert message.audio_mixing == wire.AudioMixing.DUAL_CHANNEL_AGENT
    (file,) = message.file_outputs
    assert (file.filepath, file.disable_manifest) == ("/srv/recordings/c-room.ogg", True)
    assert file.WhichOneof("output") is None


def test_hls_has_a_folder_and_rtmp_an_address():
    (segments,) = egress.request(wanted(Kind.ROOM_AUDIO, "hls", room="r"), S3).segment_outputs
    assert segments.filename_prefix == "shop/rec-1/segment"
    assert segments.playlist_name == "shop/rec-1/index.m3u8"
    assert segments.s3.bucket == "calls"
    (stream,) = egress.request(wanted(Kind.ROOM_AUDIO, "rtmp", room="r"), S3).stream_outputs
    assert list(stream.urls) == ["rtmp://live.example.com/app/key"]
    assert stream.protocol == wire.StreamProtocol.RTMP


def test_each_store_gets_its_own_words_and_its_credentials():
    asked = Wanted(id="rec-1", room="r")
    (file,) = egress.request(asked, S3).file_outputs
    assert file.s3 == wire.S3Upload(
        access_key="an-access-key",
        secret="a-secret",
        region="eu-central-1",
        endpoint="https://s3.example.com",
        bucket="calls",
        force_path_style=True,
    )
    assert file.filepath == "shop/rec-1.ogg"
    (file,) = egress.request(asked, AZURE).file_outputs
    assert file.azure == wire.AzureBlobUpload(
        account_name="shop", account_key="a-key", container_name="calls"
    )
    (file,) = egress.request(asked, GCP).file_outputs
    assert file.gcp == wire.GCPUpload(credentials="{}", bucket="calls")
    shared = LOCAL.model_copy(update={"egress_folder": "/out"})
    (file,) = egress.request(asked, shared).file_outputs
    assert file.filepath == "/out/rec-1.ogg"


@pytest.mark.parametrize(
    ("storage", "uri"),
    [
        (LOCAL, "file:///srv/recordings/rec-1.ogg"),
        (S3, "s3://calls/shop/rec-1.ogg"),
        (AZURE, "azure://shop/calls/rec-1.ogg"),
        (GCP, "gs://calls/rec-1.ogg"),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_where_a_recording_lies_is_known_before_it_is_there(storage, uri):
    assert egress.uri_of("rec-1", Output.OGG, storage) == uri
    assert egress.uri_of("rec-1", Output.RTMP, storage) == ""


@pytest.mark.parametrize("storage", [LOCAL, S3], ids=lambda one: one.kind)
@pytest.mark.parametrize("output", ["ogg", "mp4", "hls"])
def test_an_egress_is_known_by_the_file_that_it_was_asked_for(output, storage):
    message = egress.request(wanted(Kind.ROOM_AUDIO, output, room="r"), storage)
    assert egress.named_in(wire.EgressInfo(room_composite=message)) == "rec-1"
    track = wanted(Kind.TRACK, "ogg", codec="opus", room="r", track="TR_a")
    assert egress.named_in(wire.EgressInfo(track=egress.request(track, storage))) == "rec-1"
    assert egress.named_in(wire.EgressInfo()) == ""


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"kind": Kind.ROOM_AUDIO}, "room-audio needs room"),
        ({"kind": Kind.PARTICIPANT, "output": Output.MP4, "room": "r"}, "needs identity"),
        ({"kind": Kind.TRACK_COMPOSITE, "room": "r"}, "audio_track or video_track"),
        ({"kind": Kind.TRACK, "room": "r"}, "track needs track"),
        ({"kind": Kind.WEB}, "web needs url"),
        ({"room": "r", "output": Output.RTMP}, "rtmp needs stream"),
        ({"room": "r", "stream": "rtmp://h/a"}, "nothing else does"),
    ],
)
def test_what_is_not_told_completely_is_refused(fields, missing):
    with pytest.raises(RecordingRefused, match=missing):
        egress.check(Wanted(id="rec-1", **fields))


def test_no_secret_is_in_the_repr_of_what_is_wanted():
    assert "key" not in repr(wanted(Kind.ROOM_AUDIO, "rtmp", room="r"))


def test_a_store_that_is_not_complete_is_refused_in_the_settings():
    with pytest.raises(ValueError, match="s3 needs bucket, region, access_key, secret"):
        Storage(kind="s3")
    with pytest.raises(ValueError, match="needs mp4 or hls"):
        Recording(kind="room-video", output="ogg")
