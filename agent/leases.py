"""Places over all workers, as leases in Redis: taken atomically, renewed, expired by themselves.

Each job that holds a place has a lease, renewed by its worker: those of a worker that was killed
expire after LEASE seconds. While Redis is away a worker counts for itself alone; when it is back,
the worker first tells what it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import cast

from redis.asyncio import ConnectionPool, Redis

from agent import log, metrics, tasks
from agent.errors import SharingLost
from agent.places import Capacity, LocalPlaces, Place
from agent.shared import within_bound

logger = log.get(__name__)

LEASE = 10.0
"""Seconds after which the leases of a worker that is gone are free again."""

RENEWAL = 2.0
"""Seconds between two renewals: also how soon other workers know of a place that was freed."""

FRESH = 2.5
"""Renewals after which nobody counts upon the places of a worker that is not heard of: one that was
killed holds leases for longer, but a job that is passed on to it rings for good."""

PURGE = """
local function split(member) return string.match(member, '^(.-)|') end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local calls, courtesy, workers, room = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, lease = ARGV[1], tonumber(ARGV[2])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', now)) do
    redis.call('HDEL', room, gone)
end
for _, key in ipairs({calls, courtesy, workers}) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
end
redis.call('ZADD', workers, now + lease, me)
redis.call('HSET', room, me, ARGV[3] .. ' ' .. ARGV[4])
"""
"""The beginning of both scripts: what has expired goes, and this worker is known to be there, with
the places that others may count upon."""

TAKE = (
    PURGE
    + """
local passed, job = KEYS[5], ARGV[5]
local overall, wants_call = tonumber(ARGV[6]), ARGV[7] == 'call'
local my_calls, my_courtesy = tonumber(ARGV[8]), tonumber(ARGV[9])
local most_calls, most_courtesy = tonumber(ARGV[10]), tonumber(ARGV[11])
local heard_of = now + lease - tonumber(ARGV[12])

local function others_have(key, field)
    local taken = {}
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
        local worker = split(member)
        taken[worker] = (taken[worker] or 0) + 1
    end
    local limits = redis.call('HGETALL', room)
    for i = 1, #limits, 2 do
        local worker, most = limits[i], { string.match(limits[i + 1], '^(%d+) (%d+)$') }
        local heard = tonumber(redis.call('ZSCORE', workers, worker) or 0)
        if worker ~= me and heard >= heard_of
            and redis.call('SISMEMBER', passed, worker) == 0
            and (taken[worker] or 0) < tonumber(most[field]) then
            return true
        end
    end
    return false
end

local function pass_on()
    redis.call('SADD', passed, me)
    redis.call('PEXPIRE', passed, 60000)
    return 'elsewhere'
end

if wants_call and (overall == 0 or redis.call('ZCARD', calls) < overall) then
    if my_calls < most_calls then
        redis.call('ZADD', calls, now + lease, me .. '|' .. job)
        return 'call'
    end
    if others_have(calls, 1) then return pass_on() end
end
if my_courtesy < most_courtesy then
    redis.call('ZADD', courtesy, now + lease, me .. '|' .. job)
    return 'courtesy'
end
if others_have(courtesy, 2) then return pass_on() end
return 'nowhere'
"""
)
"""Gives a job its place. A worker that passed the job on is not counted upon again for it."""

RENEW = (
    PURGE
    + """
local i = 5
for _, key in ipairs({calls, courtesy}) do
    local count = tonumber(ARGV[i])
    for j = i + 1, i + count do redis.call('ZADD', key, now + lease, me .. '|' .. ARGV[j]) end
    i = i + count + 1
end
for j = i, #ARGV do
    redis.call('ZREM', calls, me .. '|' .. ARGV[j])
    redis.call('ZREM', courtesy, me .. '|' .. ARGV[j])
end
return 'renewed'
"""
)
"""Says what this worker holds: so many calls and their jobs, courtesy slots likewise, then what
it holds no longer."""


class SharedPlaces:
    """The places of all workers that share a Redis and an agent's name."""

    def __init__(
        self,
        local: LocalPlaces,
        connections: ConnectionPool,
        *,
        group: str,
        worker: str,
        is_draining: Callable[[], bool] = lambda: False,
        is_registered: Callable[[], bool] = lambda: True,
        beside: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`worker` is this worker's name among all of the `group`.

        `is_registered` tells whether LiveKit can ask it: else the others must not count upon it.
        `beside` tells Redis more with every renewal; it may raise SharingLost.
        """
        self._local = local
        self._redis = Redis(connection_pool=connections)
        self._prefix = f"{{voice-ai:places:{group}}}"
        self._keys = [f"{self._prefix}:{name}" for name in ("calls", "courtesy", "workers", "room")]
        self._worker = worker
        self._is_draining = is_draining
        self._is_registered = is_registered
        self._beside = beside
        self._take = self._redis.register_script(TAKE)
        self._renew = self._redis.register_script(RENEW)
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._leased: set[str] = set()
        self._is_lost = False
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tell the others that this worker is there, and keep its leases from now on."""
        self._renewing = tasks.spawn(self._keep(), "leases")

    def tell(self) -> None:
        """Tell the others now, not with the next renewal, how it stands with this worker."""
        self._changed.set()

    async def aclose(self) -> None:
        """Give every lease back; the others no longer count upon this worker."""
        await tasks.end(self._renewing)
        members = [f"{self._worker}|{job}" for job in self._leased]
        try:
            async with self._redis.pipeline() as pipe:
                for key in self._keys[:2]:
                    pipe.zrem(key, "", *members)
                pipe.zrem(self._keys[2], self._worker)
                pipe.hdel(self._keys[3], self._worker)
                await within_bound(pipe.execute())
        except SharingLost as error:
            logger.debug("leases are left to expire", error=str(error))

    async def take(self, job: str, *, courtesy: bool = False) -> Place:
        """See `Places`. Decided within BOUND seconds, for one job after the other."""
        async with self._one_at_a_time:
            place = self._local.find(courtesy=courtesy)
            if not self._is_lost:
                try:
                    place = await self._shared(job, courtesy=courtesy)
                except SharingLost as error:
                    self._lose(error)
            self._local.note(job, place)
            return place

    def beside(self, job: str) -> None:
        """See `Places`."""
        self._local.beside(job)

    def settle(self, job: str) -> None:
        """See `Places`."""
        self._local.settle(job)

    def holds(self, job: str) -> bool:
        """See `Places`."""
        return self._local.holds(job)

    async def renew(self) -> None:
        """Tell Redis what this worker holds. Raises SharingLost."""
        async with self._one_at_a_time:
            calls, courtesies = self._local.calls, self._local.courtesies
            gone = self._leased - calls - courtesies
            held: list[str | int] = [len(calls), *calls, len(courtesies), *courtesies, *gone]
            await within_bound(self._renew(keys=self._keys, args=[*self._introduction(), *held]))
            self._leased = calls | courtesies
            if self._is_lost:
                self._is_lost = False
                metrics.SESSION_RECONNECTS.inc()
                logger.info("Redis is back", action="count over all workers")

    async def _shared(self, job: str, *, courtesy: bool) -> Place:
        wanted = "courtesy" if courtesy else "call"
        mine = len(self._local.calls), len(self._local.courtesies)
        overall = self._local.capacity.overall
        most = self._own.calls, self._own.courtesy
        fresh = round(FRESH * RENEWAL * 1000)
        told: list[str | int] = [*self._introduction(), job, overall, wanted, *mine, *most, fresh]
        keys = [*self._keys, f"{self._prefix}:passed:{job}"]
        place = Place(cast("str", await within_bound(self._take(keys=keys, args=told))))
        if place in {Place.CALL, Place.COURTESY}:
            self._leased.add(job)
        return place

    @property
    def _own(self) -> Capacity:
        """What this worker may take when it is asked, be it by somebody else than LiveKit."""
        return Capacity(0, 0) if self._is_draining() else self._local.capacity

    def _introduction(self) -> list[str | int]:
        told = self._own if self._is_registered() else Capacity(0, 0)
        return [self._worker, round(LEASE * 1000), told.calls, told.courtesy]

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.renew()
                if self._beside:
                    await self._beside()
            except SharingLost as error:
                self._lose(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), RENEWAL)

    def _lose(self, error: SharingLost) -> None:
        if not self._is_lost:
            logger.warning("Redis is away", action="count this worker alone", error=str(error))
        self._is_lost = True
