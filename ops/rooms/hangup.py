"""Ending a call that goes on: its job is told, and its room is deleted, so that every leg ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from livekit import api

from agent import log
from agent.call import HANGUP_TOPIC
from agent.errors import LiveKitError, NotFound, VoiceAgentError
from agent.livekit import LiveKit
from agent.store.call_log import CallLog
from agent.store.rooms import Rooms
from agent.store.rows import CallRow

logger = log.get(__name__)

WHAT = "calls.hangup"
"""How the audit trail names it."""

LEAVES_WITHIN = 1.5
"""Seconds for the job to end its room by itself, with the operator as the reason in the record."""

LOOK = 0.2
"""Seconds between two looks."""


class NotOpen(VoiceAgentError):
    """The call has ended already."""


async def hang_up(livekit: LiveKit, call: CallRow, others: Collection[str]) -> None:
    """End the call: its job deletes the room, else this does; the job says how it ended.

    `others` are the SIDs of rooms of other open calls: one of them may have the room's name now.

    Raises NotOpen when there is nothing to end, LiveKitError when LiveKit cannot do it.
    """
    if call.ended_at is not None and not call.end_provisional:
        raise NotOpen(f"the call has ended: {call.end_reason}")
    room = await _room(livekit, call, others)
    if room is None:
        raise NotOpen("the call's room is gone")
    if await _is_left(livekit, room):
        return
    try:
        await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
    except NotFound:
        raise NotOpen("the call's room is gone") from None


async def _is_left(livekit: LiveKit, room: str) -> bool:
    """Tell the job of the room; whether the room was gone soon after."""
    told = api.SendDataRequest(
        room=room, topic=HANGUP_TOPIC, kind=api.DataPacket.Kind.RELIABLE, data=b"operator"
    )
    try:
        await livekit.room.send_data(told)
        until = time.monotonic() + LEAVES_WITHIN
        while time.monotonic() < until:
            await asyncio.sleep(LOOK)
            listed = await livekit.room.list_rooms(api.ListRoomsRequest(names=[room]))
            if not listed.rooms:
                return True
    except LiveKitError as error:
        logger.debug("the job of a call cannot be told", error=str(error))
    return False


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
