"""The worker's gate: admission with what it counts by, opened and closed with the worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from livekit.agents import JobRequest
from livekit.protocol.agent import Job
from redis.asyncio import ConnectionPool

from agent import log, metrics, shared
from agent.admission import Admission
from agent.call import Call, EndReason
from agent.canary import Sorting
from agent.events import CallEnded, CallNote, CallOpened, Event
from agent.hourly import HourlyCalls
from agent.leases import SharedPlaces
from agent.pause import Pause
from agent.places import Capacity, LocalPlaces
from agent.sessions import RedisSessions, Sessions
from agent.starts import Starts
from agent.turnstile import Turnstile
from config.persona import Persona
from config.settings import Settings

logger = log.get(__name__)


class Gate:
    """Who is let in by one worker: alone, or with all that share its Redis."""

    def __init__(
        self,
        settings: Settings,
        personas: Mapping[str, Persona],
        worker: str,
        *,
        secret: str,
        running: Callable[[], AbstractSet[str]],
        is_draining: Callable[[], bool],
        is_resting: Callable[[], bool],
        is_registered: Callable[[], bool],
        keep: Callable[[Event], Awaitable[None]],
        delete_rooms: Callable[[Iterable[str]], Awaitable[None]],
        burst: Callable[[bool], None],
    ) -> None:
        """Take its parts: `running` tells the ids of the jobs that run; `keep` writes the call log.

        One that `is_resting` takes no new calls; one that is draining is not asked any more.
        `secret` is one that all workers have; `burst` is told when jobs begin to start, and when
        no more do.
        """
        section, group = settings.admission, settings.worker.agent_name
        capacity = Capacity(
            settings.worker.max_calls, section.courtesy_slots, section.max_calls_overall
        )
        self._group = group
        self._keep = keep
        self._delete_rooms = delete_rooms
        self._local = LocalPlaces(capacity, running)
        self._connections: ConnectionPool | None = None
        self._shared: SharedPlaces | None = None
        self._sessions = Sessions(worker)
        if settings.redis.url:
            self._connections = shared.pool(settings.redis.url)
            self._shared = SharedPlaces(
                self._local,
                self._connections,
                group=group,
                worker=worker,
                is_draining=lambda: is_draining() or is_resting(),
                is_registered=is_registered,
                beside=partial(self._sessions.tell, RedisSessions(self._connections, group)),
            )
        hourly = HourlyCalls(section.calls_an_hour, self._connections, group=group, secret=secret)
        self._starts = Starts(running, self._turn_away)
        self._turnstile = Turnstile(burst)
        pause = Pause(settings.data.folder)
        self._admission = Admission(
            section,
            personas,
            self._shared or self._local,
            hourly.allows,
            self._turn_away,
            self._starts,
            is_paused=lambda: pause.is_on,
            sort=Sorting(settings, worker, is_resting),
        )

    def start(self) -> None:
        """Be known to the other workers, and look after jobs that start."""
        self._starts.start()
        if self._shared:
            self._shared.start()

    def registered(self) -> None:
        """LiveKit can ask this worker from now on: the others may count upon it."""
        if self._shared:
            self._shared.tell()

    async def aclose(self) -> None:
        """Turn away who waits for a job that never began, and give back what is held."""
        self._turnstile.close()
        await self._starts.aclose()
        if self._shared and self._connections:
            await self._shared.aclose()
            await self._connections.aclose()

    @property
    def is_full(self) -> bool:
        """Whether this worker takes no more calls."""
        return len(self._local.calls) >= self._local.capacity.calls

    async def decide(self, request: JobRequest) -> None:
        """Answer a job request."""
        self._turnstile.expect()
        await self._admission.decide(request)

    def hear(self, event: Event) -> None:
        """Learn from the events of a job that its record is open, and what its call is at."""
        self._turnstile.hear(event)
        if isinstance(event, CallOpened):
            self._starts.opened(event.job_id)
        if self._sessions.hear(event) and self._shared:
            self._shared.tell()
        metrics.SESSIONS.set(len(self._sessions))

    async def answer(self, question: Mapping[str, Any]) -> str:
        """What a job asks: to start, or for the verdict on its caller, once that one is there.

        Raises LookupError, TypeError or ValueError for what is no question of `Record`'s.
        """
        if "start" in question:
            await self._turnstile.enter(question["start"])
            return ""
        return await self._admission.judge(
            question["job"],
            question["persona"],
            question["number"],
            is_telephone=bool(question["is_telephone"]),
        )

    async def _turn_away(self, job: Job, reason: EndReason, detail: str) -> None:
        """Delete the room of a call that nobody takes, and keep a record of it."""
        room = job.room
        call = Call.new(room=room.name, room_sid=room.sid, job_id=job.id, agent_name=job.agent_name)
        opened = CallOpened(
            call_id=call.id,
            seq=1,
            room=call.room,
            room_sid=call.room_sid,
            job_id=call.job_id,
            agent_name=call.agent_name,
            pid=os.getpid(),
        )
        verdict = reason.value.removeprefix("rejected_")
        note = CallNote(call_id=call.id, seq=2, name="rejected", detail={"verdict": verdict})
        notes = [note] if verdict != reason.value else []  # else it is not admission that says no
        ended = CallEnded(call_id=call.id, seq=3, reason=reason, detail=detail)
        # The caller hears it ring: that must not wait for a slow database.
        told = await asyncio.gather(
            self._delete_rooms([room.name]),
            *map(self._keep, (opened, *notes, ended)),
            return_exceptions=True,
        )
        for error in told:
            if isinstance(error, BaseException):
                logger.error(
                    "a call that was turned away is not recorded", call=call.id, error=str(error)
                )
