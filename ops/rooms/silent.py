"""Calls without a heartbeat: closed when their room has no agent any more.

A worker that cannot reach Redis goes on with its calls, so that its silence alone says nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from livekit import api

from agent import log, metrics
from agent.call import EndReason
from agent.errors import CallUnknown, NotFound
from agent.livekit import LiveKit
from agent.sessions import Session
from ops.front.database import Database
from ops.rooms.situation import Kind

logger = log.get(__name__)

DETAIL = "its worker fell silent, and no agent is in its room"
SIMULATED = "SRM_"
"""What the SIDs of rooms begin with that no LiveKit server has: simulated calls."""


class Silent:
    """Closes calls whose worker is gone. A call must be found so twice."""

    def __init__(
        self,
        livekit: LiveKit,
        database: Database,
        lost_calls: Callable[[], Awaitable[list[Session]]],
    ) -> None:
        """`lost_calls` tells the open calls of which nothing was heard (`ops.live`)."""
        self._livekit = livekit
        self._database = database
        self._lost_calls = lost_calls
        self._found: set[str] = set()

    async def look(self) -> list[str]:
        """Look once; the ids of calls that were closed. Raises LiveKitError, StoreError."""
        lost = [one for one in await self._lost_calls() if not one.room_sid.startswith(SIMULATED)]
        found = {one.call_id for one in lost if not await self._has_agent(one.room)}
        certain, self._found = found & self._found, found
        closed = [one for one in sorted(certain) if await self._close(one)]
        metrics.CALLS_RECONCILED.inc(len(closed))
        for call_id in closed:
            logger.warning("a call whose worker is gone is closed", call=call_id)
        return closed

    def forget(self) -> None:
        """What was found is of before."""
        self._found.clear()

    async def _has_agent(self, room: str) -> bool:
        try:
            listed = await self._livekit.room.list_participants(
                api.ListParticipantsRequest(room=room)
            )
        except NotFound:
            return False
        return any(one.kind == Kind.AGENT for one in listed.participants)

    async def _close(self, call_id: str) -> bool:
        reason = EndReason.WORKER_KILLED
        try:
            return await self._database.run(
                lambda db: db.end_call(call_id, reason, detail=DETAIL, provisional=True)
            )
        except CallUnknown:
            return False  # a stand-in that gave way just now
