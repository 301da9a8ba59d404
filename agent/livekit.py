"""The LiveKit API as the worker uses it."""

from __future__ import annotations

import aiohttp
from livekit import api

from agent import log
from config.sections import Livekit

logger = log.get(__name__)


async def delete_room(livekit: Livekit, room: str) -> None:
    """Delete `room`, so that every leg in it ends. A failure is logged: nobody waits for it."""
    if not livekit.url:
        return
    try:
        async with api.LiveKitAPI(
            livekit.url, livekit.api_key.get_secret_value(), livekit.api_secret.get_secret_value()
        ) as client:
            await client.room.delete_room(api.DeleteRoomRequest(room=room))
    except (api.TwirpError, aiohttp.ClientError, TimeoutError) as error:
        logger.warning("a room could not be deleted", room=room, error=str(error))
