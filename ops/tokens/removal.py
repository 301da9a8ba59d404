"""Whoever joins with a revoked token is removed: LiveKit's open-source server takes it.

Told by webhooks as they come, and found by listing the rooms of live revocations: webhooks get
lost. A removed participant may hold a token that the server itself gave when it joined: the
revocation lives for as long as that one, anew with each removal.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta

from livekit import api

from agent import log, metrics, tasks
from agent.call import now
from agent.errors import LiveKitError, NotFound, StoreError
from agent.livekit import LiveKit
from agent.store.access import RevocationRow
from ops.front.alerts import Alerts
from ops.tokens.revocations import Revocations
from ops.tokens.token import GENERATION

logger = log.get(__name__)

EVERY = 1.0
"""Seconds between two looks: somebody who joins again is gone within two."""

SERVERS_OWN = timedelta(minutes=11)
"""What the server hands to whoever joins is valid for 10 minutes, and taken for one more."""

FORGET_EVERY = 600
"""Looks after which revocations of expired tokens are dropped."""

NAMES_AT_ONCE = 100


class Removal:
    """Keeps those out whose token was revoked."""

    def __init__(self, revocations: Revocations, livekit: LiveKit, alerts: Alerts) -> None:
        self._revocations = revocations
        self._livekit = livekit
        self._alerts = alerts
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._looking = tasks.spawn(self._keep_looking(), "revocations")

    async def aclose(self) -> None:
        """Look no more."""
        await tasks.end(self._looking)

    async def joined(self, room: str, identity: str, attributes: Mapping[str, str]) -> bool:
        """Somebody joined `room`: whether it was removed. Never raises; what failed is tried again.

        For the webhook `participant_joined`.
        """
        generation = attributes.get(GENERATION, "")
        if not generation:
            return False
        row = self._revocations.generations.get(generation)
        try:
            if row is None and await self._revocations.among(generation):
                await self._revocations.load()
                row = self._revocations.generations.get(generation)
            # The room of the token, whatever the event says of it.
            return row is not None and row.room == room and await self.remove(row, identity)
        except (StoreError, LiveKitError) as error:
            self._tell(error)
            return False

    async def remove(self, row: RevocationRow, identity: str) -> bool:
        """Remove a participant; whether there was one. Raises LiveKitError."""
        try:
            await self._livekit.room.remove_participant(
                api.RoomParticipantIdentity(
                    room=row.room,
                    identity=identity,
                    revoke_token_ts=int(row.revoked_at.timestamp()),
                )
            )
        except NotFound:
            return False
        metrics.REVOKED_REMOVED.inc()
        logger.info("removed from a room: the token was revoked", room=row.room)
        await self._revocations.prolong(row, now() + SERVERS_OWN)
        return True

    async def remove_unless_newer(self, row: RevocationRow, identity: str) -> bool:
        """Remove `identity` unless it is there with another generation. Raises LiveKitError."""
        there = api.RoomParticipantIdentity(room=row.room, identity=identity)
        try:
            found = await self._livekit.room.get_participant(there)
        except NotFound:
            pass  # LiveKit Cloud wants to be told all the same: it refuses the token from now on
        else:
            if found.attributes.get(GENERATION, row.id) != row.id:
                return False
        return await self.remove(row, identity)

    async def look(self) -> None:
        """Remove whoever is in a room with a revoked generation.

        Raises the first LiveKitError, when all rooms have been looked into.
        """
        failed: LiveKitError | None = None
        by_room: dict[str, dict[str, RevocationRow]] = defaultdict(dict)
        for row in self._revocations.generations.values():
            if row.room:
                by_room[row.room][row.id] = row
        for room in await self._existing(list(by_room)):
            try:
                await self._look_into(room, by_room[room])
            except NotFound:
                pass  # it ended meanwhile
            except LiveKitError as error:
                failed = failed or error
        if failed:
            raise failed

    async def _look_into(self, room: str, revoked: Mapping[str, RevocationRow]) -> None:
        listed = await self._livekit.room.list_participants(api.ListParticipantsRequest(room=room))
        for participant in listed.participants:
            if row := revoked.get(participant.attributes.get(GENERATION, "")):
                await self.remove(row, participant.identity)

    async def _existing(self, names: list[str]) -> list[str]:
        found: list[str] = []
        for begin in range(0, len(names), NAMES_AT_ONCE):
            request = api.ListRoomsRequest(names=names[begin : begin + NAMES_AT_ONCE])
            found += [room.name for room in (await self._livekit.room.list_rooms(request)).rooms]
        return found

    async def _keep_looking(self) -> None:
        looks = 0
        while True:
            await self._revocations.load()
            if looks % FORGET_EVERY == 0:
                await self._revocations.forget()
            looks += 1
            if self._livekit.url:
                try:
                    await self.look()
                except LiveKitError as error:
                    self._tell(error)
            await asyncio.sleep(EVERY)

    def _tell(self, error: Exception) -> None:
        self._alerts.tell(
            "revocation_unenforced",
            "whoever rejoins with a revoked token cannot be removed now",
            error=str(error),
        )
