"""Ending a call that goes on: its room is deleted, so that every leg in it ends."""

from __future__ import annotations

from livekit import api

from agent.errors import NotFound, VoiceAgentError
from agent.livekit import LiveKit
from agent.store.rows import CallRow

WHAT = "calls.hangup"
"""How the audit trail names it."""


class NotOpen(VoiceAgentError):
    """The call has ended already."""


async def hang_up(livekit: LiveKit, call: CallRow) -> None:
    """Delete the room of the call; its job then says how it ended.

    Raises NotOpen when there is nothing to end, LiveKitError when LiveKit cannot do it.
    """
    if call.ended_at is not None and not call.end_provisional:
        raise NotOpen(f"the call has ended: {call.end_reason}")
    room = await _room(livekit, call)
    if room is None:
        raise NotOpen("the call's room is gone")
    try:
        await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
    except NotFound:
        raise NotOpen("the call's room is gone") from None


async def _room(livekit: LiveKit, call: CallRow) -> str | None:
    """The room's name as LiveKit has it: by its SID, and after a restart of LiveKit by its name."""
    listed = await livekit.room.list_rooms(api.ListRoomsRequest())
    by_sid = {room.sid: room.name for room in listed.rooms}
    if call.room_sid in by_sid:
        return by_sid[call.room_sid]
    return call.room if call.room and call.room in by_sid.values() else None
