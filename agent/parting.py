"""What it means for a call that a participant left its room, by LiveKit's reason."""

from __future__ import annotations

from collections.abc import Mapping

from livekit.protocol.models import DisconnectReason as Why

from agent.call import EndReason

PARTED: Mapping[int | None, tuple[EndReason, str]] = {
    Why.ROOM_DELETED: (EndReason.AGENT_HANGUP, "room deleted"),
    Why.ROOM_CLOSED: (EndReason.AGENT_HANGUP, "room closed"),
    Why.PARTICIPANT_REMOVED: (EndReason.AGENT_HANGUP, "caller removed"),
    Why.SERVER_SHUTDOWN: (EndReason.LIVEKIT_LOST, "server shut down"),
    Why.CONNECTION_TIMEOUT: (EndReason.CALLER_LOST, "connection timed out"),
    Why.SIGNAL_CLOSE: (EndReason.CALLER_LOST, "signal closed"),
    Why.JOIN_FAILURE: (EndReason.CALLER_LOST, "join failed"),
    Why.STATE_MISMATCH: (EndReason.CALLER_LOST, "state mismatch"),
    Why.MEDIA_FAILURE: (EndReason.MEDIA_FAILURE, ""),
    Why.SIP_TRUNK_FAILURE: (EndReason.TRUNK_FAILURE, ""),
}
"""What it means that a participant left the room; what is not here is the caller's hang-up, or the
end of the caller's audio (`agent.arrivals`)."""
