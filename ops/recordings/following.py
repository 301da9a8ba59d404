"""What egress tells of a recording (webhooks `egress_*`, or a list) becomes its row."""

from __future__ import annotations

from datetime import UTC, datetime

from livekit.protocol.egress import EgressInfo, EgressStatus

from agent import egress
from agent.call import RecordingStatus, now
from agent.store.recordings import RecordingLogRow
from ops.webhooks.redaction import without_keys

STATUS = {
    EgressStatus.EGRESS_STARTING: RecordingStatus.STARTING,
    EgressStatus.EGRESS_ACTIVE: RecordingStatus.ACTIVE,
    EgressStatus.EGRESS_ENDING: RecordingStatus.ACTIVE,
    EgressStatus.EGRESS_COMPLETE: RecordingStatus.COMPLETE,
    EgressStatus.EGRESS_LIMIT_REACHED: RecordingStatus.COMPLETE,
    EgressStatus.EGRESS_FAILED: RecordingStatus.FAILED,
    EgressStatus.EGRESS_ABORTED: RecordingStatus.FAILED,
}
SECOND = 1_000_000_000
"""In the unit of egress's times and durations."""

LONGEST_ERROR, LONGEST_ID = 500, 64
KINDS = {
    "participant": "participant",
    "track_composite": "track-composite",
    "track": "track",
    "web": "web",
}


def row_of(info: EgressInfo) -> RecordingLogRow:
    """The row that egress's word makes, as far as it knows: merged into ours by `follow`."""
    status = STATUS.get(info.status, RecordingStatus.ACTIVE)
    location, size, duration = _result(info)
    named = egress.named_in(info)
    return RecordingLogRow(
        id=named if 0 < len(named) <= LONGEST_ID else info.egress_id,
        egress_id=info.egress_id,
        made_by="other",
        kind=_kind(info),
        status=status.value,
        room=info.room_name,
        room_sid=info.room_id,
        uri=location,
        error=without_keys(info.error)[:LONGEST_ERROR],
        size=size or None,
        duration=duration or None,
        asked_at=_moment(info.started_at) or now(),
        started_at=_moment(info.started_at),
        ended_at=(_moment(info.ended_at) or now()) if status.is_over else None,
    )


def _kind(info: EgressInfo) -> str:
    which = info.WhichOneof("request") or ""
    if which == "room_composite":
        return "room-audio" if info.room_composite.audio_only else "room-video"
    return KINDS.get(which, which or "egress")


def _result(info: EgressInfo) -> tuple[str, int, float]:
    """Where the file lies, its bytes, its seconds. Nothing of a stream: its address is a secret."""
    for file in info.file_results:
        return file.location or file.filename, file.size, file.duration / SECOND
    for segments in info.segment_results:
        where = segments.playlist_location or segments.playlist_name
        return where, segments.size, segments.duration / SECOND
    for stream in info.stream_results:
        return "", 0, stream.duration / SECOND
    return "", 0, 0.0


def _moment(nanoseconds: int) -> datetime | None:
    return datetime.fromtimestamp(nanoseconds / SECOND, UTC) if nanoseconds else None
