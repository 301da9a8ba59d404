"""Ending a call that goes on: its room is deleted, so that every leg in it ends."""

from __future__ import annotations

from collections.abc import Collection

from livekit import api

from agent.errors import NotFound, VoiceAgentError
from agent.livekit import LiveKit
from agent.store.call_log import CallLog
from agent.store.rooms import Rooms
from agent.store.rows import CallRow

WHAT = "calls.hangup"
"""How the audit trail names it."""


class NotOpen(VoiceAgentError):
    """The call has ended already."""


async def hang_up(livekit: LiveKit, call: CallRow, others: Collection[str]) -> None:
    """Delete the room of the call; its job then says how it ended.

    `others` are the SIDs of rooms of other open calls: one of them may have the room's name now.

    Raises NotOpen when there is nothing to end, LiveKitError when LiveKit cannot do it.
    """
    if call.ended_at is not None and not call.end_provisional:
        raise NotOpen(f"the call has ended: {call.end_reason}")
    room = await _room(livekit, call, others)
    if room is None:
        raise NotOpen("the call's room is gone")
    try:
        await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
    except NotFound:
        raise NotOpen("the call's room is gone") from None


def rooms_of_others(log: CallLog, call: CallRow) -> set[str]:
    """What `hang_up` must spare. Raises StoreUnavailable."""
    return {one.room_sid for one in Rooms(log.engine).open_calls() if one.id != call.id}


async def _room(livekit: LiveKit, call: CallRow, others: Collection[str]) -> str | None:
    """The room's name as LiveKit has it: by its SID, and after a restart of LiveKit by its name.

    By the name only for a call that goes on, as far as is known: names are used again.
    """
    listed = await livekit.room.list_rooms(api.ListRoomsRequest())
    by_sid = {room.sid: room.name for room in listed.rooms}
    if call.room_sid in by_sid:
        return by_sid[call.room_sid]
    found = [sid for sid, name in by_sid.items() if name == call.room and sid not in others]
    return call.room if found and call.ended_at is None else None
