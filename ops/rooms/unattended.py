"""The caller with no agent: an agent is called in once, and if none comes the call is ended.

And the agent with no caller: a job that does not notice ends with its room.

Rooms are looked at when a webhook tells of somebody who came or left, and when a list of rooms,
read every few seconds, shows one that was not looked at: it works with webhooks lost, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace

from livekit import api

from agent import log, metrics, tasks
from agent.call import EndReason, now
from agent.errors import LiveKitError, NotFound, StoreError
from agent.livekit import LiveKit
from agent.store.room_rows import AGENT, ParticipantRow, RoomCall, RoomRow
from agent.store.rooms import Rooms
from config.rooms import Rooms as Section
from ops.front.alerts import Alerts
from ops.front.database import Database
from ops.front.events import Told
from ops.lease import Lease
from ops.rooms.changes import JOINED, LEFT
from ops.rooms.ended import judge
from ops.rooms.situation import HUMANS, Situation, is_rescued, rescue_metadata, situation
from ops.webhooks.reading import moment

logger = log.get(__name__)

CALM = 10.0
"""Seconds until a room that was found in order is looked at again, if no webhook tells of it."""


@dataclass(slots=True)
class Watched:
    """A room that is looked after. Times are monotonic."""

    room: api.Room
    look_at: float = 0.0
    alone_since: float | None = None
    nobody_since: float | None = None
    alone: frozenset[str] = frozenset()
    """Who is: the clock begins anew for somebody else in a room of this name."""
    is_rescued: bool = False
    was_together: bool = False
    heard: int = 0
    """How often somebody came or left, as webhooks tell."""


class Unattended:
    """Looks after the rooms for calls of one LiveKit server."""

    def __init__(
        self,
        livekit: LiveKit,
        database: Database,
        alerts: Alerts,
        section: Section,
        agent_name: str,
        lease: Lease,
        nobody_after: float = 180.0,
    ) -> None:
        """It acts only while it has `lease`.

        `nobody_after`: seconds without a caller after which the agent waits in vain: more than a
        job waits for a caller who is to join, or for somebody who is rung.
        """
        self._nobody_after = nobody_after
        self._livekit = livekit
        self._database = database
        self._alerts = alerts
        self._section = section
        self._agent_name = agent_name
        self._lease = lease
        self._rooms: dict[str, Watched] = {}
        self._listed_at = -section.look_every
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look after rooms from now on."""
        self._running = tasks.spawn(self._run(), "unattended-calls")

    async def hear(self, told: Told) -> None:
        """A handler of events: somebody came or left."""
        if told.event not in {JOINED, LEFT} or not told.room.startswith(self._section.prefix):
            return
        known = self._rooms.get(told.room_sid)
        if known is None:
            self._listed_at = -self._section.look_every  # the list tells the room's real name
        else:
            known.look_at, known.heard = 0.0, known.heard + 1
        self._news.set()

    async def aclose(self) -> None:
        """Look after no room any more."""
        await tasks.end(self._running)

    async def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                if await self._lease.is_held():
                    await self._look()
                else:
                    self._rooms.clear()
            except LiveKitError as error:
                logger.debug("rooms cannot be looked after", error=str(error))
            except Exception:
                # The boundary of a look: the next one may find things in order.
                logger.exception("rooms cannot be looked after")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._pause())

    def _pause(self) -> float:
        moment = time.monotonic()
        next_list = self._listed_at + self._section.look_every
        due = min((room.look_at for room in self._rooms.values()), default=next_list)
        return max(0.05, min(due, next_list) - moment)

    async def _look(self) -> None:
        if time.monotonic() - self._listed_at >= self._section.look_every:
            await self._list()
        due = [room for room in self._rooms.values() if room.look_at <= time.monotonic()]
        for watched in due:
            await self._look_into(watched)

    async def _list(self) -> None:
        self._listed_at = time.monotonic()
        listed = await self._livekit.room.list_rooms(api.ListRoomsRequest())
        there = {
            room.sid: room for room in listed.rooms if room.name.startswith(self._section.prefix)
        }
        kept = {sid: one for sid, one in self._rooms.items() if sid in there}
        self._rooms = {sid: kept.get(sid) or Watched(room) for sid, room in there.items()}

    async def _look_into(self, watched: Watched) -> None:
        """Look at one room, and do what is due. What fails is tried again at the next list."""
        watched.look_at, heard = time.monotonic() + self._section.look_every, watched.heard
        try:
            found = await self._livekit.room.list_participants(
                api.ListParticipantsRequest(room=watched.room.name)
            )
        except NotFound:
            self._rooms.pop(watched.room.sid, None)
            return
        call = await self._call_in(watched.room.sid)
        now_there = situation(found.participants, call, was_together=watched.was_together)
        if now_there is not Situation.NOBODY:
            watched.nobody_since = None
        match now_there:
            case Situation.NOBODY:
                watched.alone_since = None
                await self._wait_for_somebody(watched, call)
            case Situation.FINE:
                watched.alone_since = None
                watched.look_at = time.monotonic() + CALM
            case Situation.TOGETHER:
                watched.alone_since, watched.was_together = None, True
            case Situation.LEFT:
                await self._end_left(watched)
            case Situation.ALONE:
                who = frozenset(one.sid for one in found.participants if one.kind in HUMANS)
                if not who & watched.alone:
                    watched.alone_since = None
                watched.alone = who
                await self._help(watched)
        if watched.heard != heard:
            watched.look_at = 0.0  # what was seen may be of before

    async def _help(self, watched: Watched) -> None:
        moment = time.monotonic()
        if watched.alone_since is None:
            watched.alone_since = moment
        alone = moment - watched.alone_since
        if alone >= self._section.delete_after:
            await self._give_up(watched)
        elif alone >= self._section.dispatch_after and not watched.is_rescued:
            await self._call_in_agent(watched)
        step = self._section.delete_after if watched.is_rescued else self._section.dispatch_after
        if (due := watched.alone_since + step) > moment:
            watched.look_at = min(watched.look_at, due)

    async def _call_in_agent(self, watched: Watched) -> None:
        room = watched.room.name
        dispatches = await self._livekit.agent_dispatch.list_dispatch(room)
        if not is_rescued(dispatches):
            await self._livekit.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(
                    agent_name=self._agent_name,
                    room=room,
                    metadata=rescue_metadata(dispatches, self._agent_name),
                )
            )
            metrics.UNATTENDED.labels("dispatched").inc()
            self._alerts.tell(
                "caller_without_agent",
                "a caller has no agent: one is called in",
                "critical",
                room_sid=watched.room.sid,
            )
        watched.is_rescued = True

    async def _give_up(self, watched: Watched) -> None:
        await self._livekit.room.delete_room(api.DeleteRoomRequest(room=watched.room.name))
        metrics.UNATTENDED.labels("deleted").inc()
        self._alerts.tell(
            "call_without_agent_ended",
            "no agent came for a caller: the call is ended",
            "critical",
            room_sid=watched.room.sid,
        )
        self._rooms.pop(watched.room.sid, None)
        await self._close(watched, EndReason.NO_AGENT)

    async def _close(self, watched: Watched, reason: EndReason, detail: str = "") -> None:
        """Close the record of the room's call for good; what its job says later changes nothing."""
        row = RoomRow(
            sid=watched.room.sid,
            name=log.clean(watched.room.name),
            started_at=moment(watched.room.creation_time),
        )
        try:
            await self._database.run(lambda db: Rooms(db.engine).close_call(row, reason, detail))
        except StoreError as error:
            # The room's own end tells the same, as soon as it can be written.
            logger.warning("the end of a call waits for the database", error=str(error))

    async def _wait_for_somebody(self, watched: Watched, call: RoomCall | None) -> None:
        moment = time.monotonic()
        if watched.nobody_since is None:
            watched.nobody_since = moment
        left = watched.nobody_since + self._nobody_after - moment
        if left > 0:
            watched.look_at = moment + min(CALM, left)
            return
        logger.warning("an agent has no caller: the call is ended", room_sid=watched.room.sid)
        reason, detail = await self._why_nobody(watched, call)
        await self._close(watched, reason, detail)  # first: the job would call it a hang-up
        await self._livekit.room.delete_room(api.DeleteRoomRequest(room=watched.room.name))
        metrics.UNATTENDED.labels("nobody").inc()
        self._rooms.pop(watched.room.sid, None)

    async def _why_nobody(self, watched: Watched, call: RoomCall | None) -> tuple[EndReason, str]:
        """How the caller left, as webhooks told; else whether there ever was one."""
        try:
            state = await self._database.run(lambda db: Rooms(db.engine).state(watched.room.sid))
        except StoreError:
            state = None
        if state:
            agent = ParticipantRow(sid="", room_sid=watched.room.sid, kind=AGENT)  # it is there
            room = replace(state.room, ended_at=now())
            if ended := judge(replace(state, room=room, people=(*state.people, agent))):
                return ended.reason, ended.detail
        if call is not None and call.identity:
            return EndReason.CALLER_LOST, "the caller is not in the room"
        return EndReason.CALLER_NEVER_JOINED, ""

    async def _end_left(self, watched: Watched) -> None:
        """After a warm transfer nobody is in the room who would end it for the side that stays."""
        logger.info("the other side of a transfer hung up", room_sid=watched.room.sid)
        await self._livekit.room.delete_room(api.DeleteRoomRequest(room=watched.room.name))
        metrics.UNATTENDED.labels("left").inc()
        self._rooms.pop(watched.room.sid, None)

    async def _call_in(self, room_sid: str) -> RoomCall | None:
        try:
            return await self._database.run(lambda db: Rooms(db.engine).call_in(room_sid))
        except StoreError:
            return None  # then who is in the room must say enough
