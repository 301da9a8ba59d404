"""What can be recorded, as requests to LiveKit's egress: kind by output by store. Pure.

What egress cannot do is refused here, with what to use instead: it would fail there after its
start, and nobody would be told. The tables were read in egress 1.14 (codecs, file types).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from livekit.protocol import egress

from agent.errors import RecordingRefused
from config.recording import Storage


class Kind(StrEnum):
    """What of a room, or of the web, is recorded."""

    ROOM_AUDIO = "room-audio"
    """All sound of a room: the agent on the left channel, everybody else on the right."""
    ROOM_VIDEO = "room-video"
    PARTICIPANT = "participant"
    TRACK_COMPOSITE = "track-composite"
    TRACK = "track"
    WEB = "web"


class Output(StrEnum):
    """What comes out. WebM and DASH are named so that their refusal can say what to use."""

    OGG = "ogg"
    MP4 = "mp4"
    MP3 = "mp3"
    HLS = "hls"
    RTMP = "rtmp"
    WEBM = "webm"
    DASH = "dash"


SOUND = frozenset({Output.OGG, Output.MP3})
"""Hold no picture."""

ENCODED = frozenset({Output.MP4, Output.HLS, Output.RTMP})
"""May hold a picture."""

UNFINISHED = ".part"
"""What a file's name has at its end while it is written."""

ALLOWED: Mapping[Kind, frozenset[Output]] = {
    Kind.ROOM_AUDIO: ENCODED | SOUND,
    Kind.ROOM_VIDEO: ENCODED,
    Kind.PARTICIPANT: ENCODED,
    Kind.TRACK_COMPOSITE: ENCODED | SOUND,
    Kind.TRACK: frozenset({Output.OGG, Output.MP4, Output.WEBM}),
    Kind.WEB: ENCODED | SOUND,
}

DIRECT: Mapping[str, Output] = {
    "opus": Output.OGG,
    "pcmu": Output.OGG,
    "pcma": Output.OGG,
    "h264": Output.MP4,
    "vp8": Output.WEBM,
    "vp9": Output.WEBM,
}
"""The only output of a single track, by its codec: it is not encoded again."""

FILE_TYPES = {
    Output.OGG: egress.EncodedFileType.OGG,
    Output.MP4: egress.EncodedFileType.MP4,
    Output.MP3: egress.EncodedFileType.MP3,
}

SCHEMES: Mapping[str, frozenset[str]] = {
    "web": frozenset({"https", "http"}),
    "rtmp": frozenset({"rtmp", "rtmps"}),
}

Request: TypeAlias = (
    egress.RoomCompositeEgressRequest
    | egress.ParticipantEgressRequest
    | egress.TrackCompositeEgressRequest
    | egress.TrackEgressRequest
    | egress.WebEgressRequest
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One recording that somebody wants. `id` is in the name of every file of it."""

    id: str
    kind: Kind = Kind.ROOM_AUDIO
    output: Output = Output.OGG
    room: str = ""
    identity: str = ""
    """Of the participant."""
    track: str = ""
    codec: str = ""
    """Of the single track: opus, vp8, h264, ..."""
    audio_track: str = ""
    video_track: str = ""
    url: str = ""
    """Of the web page."""
    audio_only: bool = False
    """Of the web page."""
    stream: str = field(default="", repr=False)
    """Where RTMP goes: the address with its stream key."""


def check(wanted: Wanted) -> None:
    """Raise RecordingRefused for what cannot be recorded, or is not told completely."""
    _check_fields(wanted)
    kind, output = wanted.kind, wanted.output
    if output is Output.DASH:
        raise RecordingRefused("dash: LiveKit's egress makes no DASH; use hls")
    if output is Output.WEBM and kind is not Kind.TRACK:
        raise RecordingRefused(
            "webm: made only of a single VP8 or VP9 track (kind track); use mp4 for the rest"
        )
    if output not in ALLOWED[kind]:
        raise RecordingRefused(f"{output} is not made of {kind}: use {_instead(kind)}")
    if kind is Kind.TRACK and DIRECT.get(wanted.codec.lower()) is not output:
        fitting = DIRECT.get(wanted.codec.lower())
        use = f"use {fitting}" if fitting else "use track-composite, which encodes anew"
        holds = f"{output} holds no {wanted.codec or 'unknown codec'}"
        raise RecordingRefused(f"a single track is kept as it is: {holds}; {use}")
    has_picture = {Kind.TRACK_COMPOSITE: bool(wanted.video_track), Kind.WEB: not wanted.audio_only}
    if output in SOUND and has_picture.get(kind, False):
        raise RecordingRefused(f"{output} holds no picture: use mp4, or leave the picture out")


def request(wanted: Wanted, storage: Storage) -> Request:
    """The request to start it. Raises RecordingRefused."""
    check(wanted)
    message = _source(wanted)
    if isinstance(message, egress.TrackEgressRequest):
        message.file.CopyFrom(
            egress.DirectFileOutput(filepath=_path(wanted, storage), disable_manifest=True)
        )
        _upload(message.file, storage)
    elif wanted.output is Output.RTMP:
        message.stream_outputs.add(protocol=egress.StreamProtocol.RTMP, urls=[wanted.stream])
    elif wanted.output is Output.HLS:
        folder = _path(wanted, storage)
        segments = message.segment_outputs.add(
            protocol=egress.SegmentedFileProtocol.HLS_PROTOCOL,
            filename_prefix=f"{folder}/segment",
            playlist_name=f"{folder}/index.m3u8",
            disable_manifest=True,
        )
        _upload(segments, storage)
    else:
        file = message.file_outputs.add(
            file_type=FILE_TYPES[wanted.output],
            filepath=_path(wanted, storage),
            disable_manifest=True,
        )
        _upload(file, storage)
    return message


def name_of(recording: str, output: Output | str) -> str:
    """The name of the file (for HLS, of the folder) of a recording in its store."""
    return recording if output == Output.HLS else f"{recording}.{output}"


def uri_of(recording: str, output: Output | str, storage: Storage) -> str:
    """Where a recording lies; nothing for a stream, of which nothing is kept."""
    if output == Output.RTMP:
        return ""
    name = f"{storage.prefix}{name_of(recording, output)}"
    match storage.kind:
        case "s3":
            return f"s3://{storage.bucket}/{name}"
        case "gcp":
            return f"gs://{storage.bucket}/{name}"
        case "azure":
            return f"azure://{storage.account_name}/{storage.bucket}/{name}"
        case _:
            return (storage.folder / name).as_uri()


def recording_in(path: str) -> str:
    """The id of the recording that a file of it names, as `name_of` wrote it; else nothing."""
    parts = PurePosixPath(path)
    is_segment = parts.name in {"index.m3u8", "segment"}
    return parts.parent.name if is_segment else parts.stem


def named_in(info: egress.EgressInfo) -> str:
    """The id of the recording that egress tells of, by the file it was asked for; else nothing."""
    which = info.WhichOneof("request")
    if which is None:
        return ""
    message: Any = getattr(info, which)
    if which == "track":
        return recording_in(message.file.filepath) if message.HasField("file") else ""
    for one in getattr(message, "file_outputs", ()):
        return recording_in(one.filepath)
    for one in getattr(message, "segment_outputs", ()):
        return recording_in(one.playlist_name)
    return ""


METHODS: Mapping[type[Request], str] = {
    egress.RoomCompositeEgressRequest: "start_room_composite_egress",
    egress.ParticipantEgressRequest: "start_participant_egress",
    egress.TrackCompositeEgressRequest: "start_track_composite_egress",
    egress.TrackEgressRequest: "start_track_egress",
    egress.WebEgressRequest: "start_web_egress",
}
"""What of the egress service takes which request."""


def _check_fields(wanted: Wanted) -> None:
    needed = {
        Kind.ROOM_AUDIO: ("room",),
        Kind.ROOM_VIDEO: ("room",),
        Kind.PARTICIPANT: ("room", "identity"),
        Kind.TRACK_COMPOSITE: ("room",),
        Kind.TRACK: ("room", "track"),
        Kind.WEB: ("url",),
    }[wanted.kind]
    if missing := [name for name in needed if not getattr(wanted, name)]:
        raise RecordingRefused(f"{wanted.kind} needs {' and '.join(missing)}")
    if wanted.kind is Kind.TRACK_COMPOSITE and not (wanted.audio_track or wanted.video_track):
        raise RecordingRefused("track-composite needs audio_track or video_track")
    if (wanted.output is Output.RTMP) != bool(wanted.stream):
        raise RecordingRefused("rtmp needs stream, its address, and nothing else does")


def _instead(kind: Kind) -> str:
    fitting = ", ".join(sorted(ALLOWED[kind]))
    if kind in {Kind.ROOM_VIDEO, Kind.PARTICIPANT}:
        return f"{fitting}, or room-audio for sound alone"
    if kind is Kind.TRACK:
        return f"{fitting}, or track-composite"
    return fitting


def _source(wanted: Wanted) -> Request:
    match wanted.kind:
        case Kind.ROOM_AUDIO:
            return egress.RoomCompositeEgressRequest(
                room_name=wanted.room,
                audio_only=True,
                audio_mixing=egress.AudioMixing.DUAL_CHANNEL_AGENT,
            )
        case Kind.ROOM_VIDEO:
            return egress.RoomCompositeEgressRequest(room_name=wanted.room, layout="speaker")
        case Kind.PARTICIPANT:
            return egress.ParticipantEgressRequest(room_name=wanted.room, identity=wanted.identity)
        case Kind.TRACK_COMPOSITE:
            return egress.TrackCompositeEgressRequest(
                room_name=wanted.room,
                audio_track_id=wanted.audio_track,
                video_track_id=wanted.video_track,
            )
        case Kind.TRACK:
            return egress.TrackEgressRequest(room_name=wanted.room, track_id=wanted.track)
        case Kind.WEB:
            return egress.WebEgressRequest(url=wanted.url, audio_only=wanted.audio_only)


def _path(wanted: Wanted, storage: Storage) -> str:
    name = f"{storage.prefix}{name_of(wanted.id, wanted.output)}"
    if storage.kind != "local":
        return name
    return str(PurePosixPath(storage.egress_folder or str(storage.folder)) / name)


def _upload(output: Any, storage: Storage) -> None:
    match storage.kind:
        case "s3":
            output.s3.CopyFrom(
                egress.S3Upload(
                    access_key=storage.access_key.get_secret_value(),
                    secret=storage.secret.get_secret_value(),
                    region=storage.region,
                    endpoint=storage.endpoint,
                    bucket=storage.bucket,
                    force_path_style=storage.path_style,
                )
            )
        case "gcp":
            credentials = storage.credentials.get_secret_value()
            output.gcp.CopyFrom(egress.GCPUpload(credentials=credentials, bucket=storage.bucket))
        case "azure":
            output.azure.CopyFrom(
                egress.AzureBlobUpload(
                    account_name=storage.account_name,
                    account_key=storage.account_key.get_secret_value(),
                    container_name=storage.bucket,
                )
            )
        case _:
            pass
