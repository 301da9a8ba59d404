"""Live calls as all machines see them: what each is at, and when its worker was last heard of.

The worker tells of its calls with every renewal of its leases (`agent.leases`): so one clock beats
for both, and one loss of Redis is met once. A call that is no longer told of while nobody said that
it ended has lost its worker. The call log is the truth; this is the cache in front of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from redis.asyncio import ConnectionPool, Redis

from agent import log
from agent.events import CallEnded, CallerJoined, CallNote, CallOpened, Event
from agent.shared import within_bound

logger = log.get(__name__)

LOST = 10.0
"""Seconds without a heartbeat after which a call's worker is taken to be gone: five renewals."""

KEPT = 86_400.0
"""Seconds for which a call that was lost stays known, where nobody forgets it."""


class State(StrEnum):
    """What a live call is at."""

    WAITING = "waiting"
    """The agent is there, the caller is not yet."""
    TALKING = "talking"
    TRANSFERRING = "transferring"
    """The caller is being passed on."""


NOTES: Mapping[str, State] = {
    "transfer_requested": State.TRANSFERRING,
    "transfer_failed": State.TALKING,
}
"""Notes of a call that change its state."""


@dataclass(frozen=True, slots=True)
class Session:
    """One live call. `heartbeat` is when its worker last told of it; None: it never did."""

    call_id: str
    room: str
    room_sid: str
    job_id: str
    worker_id: str
    started_at: datetime
    state: State = State.WAITING
    persona: str = ""
    heartbeat: datetime | None = None


class SessionCache(Protocol):
    """Where sessions are shared. Methods raise SharingLost while it does not answer."""

    async def beat(self, sessions: Sequence[Session], ended: Sequence[str]) -> None:
        """These calls of a worker live, those have ended."""

    async def live(self, within: float = LOST) -> list[Session]:
        """The calls that were told of in the last `within` seconds, the oldest first."""

    async def lost(self, within: float = LOST) -> list[Session]:
        """Those that nobody ended and nobody told of for so long, the oldest first."""

    async def beating_since(self) -> datetime | None:
        """When the first heartbeat came since the cache was empty; None: none came yet.

        What is not in a cache that has been filled for less than LOST may be told of still.
        """

    async def forget(self, call_ids: Sequence[str]) -> None:
        """These are over, and were dealt with."""


class MemorySessions:
    """The twin of RedisSessions, for tests and for one process alone."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, Session] = {}
        self._since: datetime | None = None

    async def beat(self, sessions: Sequence[Session], ended: Sequence[str]) -> None:
        """See SessionCache."""
        at = _moment(self._clock())
        self._since = self._since or at
        for session in sessions:
            self._known[session.call_id] = replace(session, heartbeat=at)
        await self.forget(ended)
        old = [id_ for id_, one in self._known.items() if self._age(one) > KEPT]
        await self.forget(old)

    async def live(self, within: float = LOST) -> list[Session]:
        """See SessionCache."""
        return self._those(lambda age: age <= within)

    async def lost(self, within: float = LOST) -> list[Session]:
        """See SessionCache."""
        return self._those(lambda age: age > within)

    async def beating_since(self) -> datetime | None:
        """See SessionCache."""
        return self._since

    async def forget(self, call_ids: Sequence[str]) -> None:
        """See SessionCache."""
        for call_id in call_ids:
            self._known.pop(call_id, None)

    def _those(self, wanted: Callable[[float], bool]) -> list[Session]:
        return _ordered(one for one in self._known.values() if wanted(self._age(one)))

    def _age(self, session: Session) -> float:
        assert session.heartbeat is not None
        return self._clock() - session.heartbeat.timestamp()


BEAT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local beats, sessions, since = KEYS[1], KEYS[2], KEYS[3]
redis.call('SET', since, now, 'NX')
local told = tonumber(ARGV[2])
for i = 3, 2 + 2 * told, 2 do
    redis.call('ZADD', beats, now, ARGV[i])
    redis.call('HSET', sessions, ARGV[i], ARGV[i + 1])
end
local gone = redis.call('ZRANGEBYSCORE', beats, '-inf', now - tonumber(ARGV[1]))
for i = 3 + 2 * told, #ARGV do gone[#gone + 1] = ARGV[i] end
for _, call in ipairs(gone) do
    redis.call('ZREM', beats, call)
    redis.call('HDEL', sessions, call)
end
return 'heard'
"""
"""Keeps the calls that live with Redis's own time, and drops those that ended or are too old."""

READ = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = {}
for _, call in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1] == 'live'
    and now - tonumber(ARGV[2]) or '-inf', ARGV[1] == 'live' and '+inf'
    or '(' .. string.format('%.0f', now - tonumber(ARGV[2])))) do
    found[#found + 1] = redis.call('HGET', KEYS[2], call)
    found[#found + 1] = redis.call('ZSCORE', KEYS[1], call)
end
return found
"""
"""Sessions with their heartbeats: those that live, or those that were lost."""


PREFIX = "voice-ai:sessions:"
"""Begins the keys in Redis, within braces: those of a group are on one node of a cluster."""


class RedisSessions:
    """The sessions of all workers that share a Redis and an agent's name."""

    def __init__(self, connections: ConnectionPool, group: str) -> None:
        redis = Redis(connection_pool=connections)
        prefix = f"{{{PREFIX}{group}}}"
        self._keys = [f"{prefix}:{name}" for name in ("beats", "calls", "since")]
        self._redis = redis
        self._beat = redis.register_script(BEAT)
        self._read = redis.register_script(READ)

    async def beat(self, sessions: Sequence[Session], ended: Sequence[str]) -> None:
        """See SessionCache."""
        told: list[str | int] = [round(KEPT * 1000), len(sessions)]
        for session in sessions:
            told += [session.call_id, _encode(session)]
        await within_bound(self._beat(keys=self._keys, args=[*told, *ended]))

    async def live(self, within: float = LOST) -> list[Session]:
        """See SessionCache."""
        return await self._those("live", within)

    async def lost(self, within: float = LOST) -> list[Session]:
        """See SessionCache."""
        return await self._those("lost", within)

    async def beating_since(self) -> datetime | None:
        """See SessionCache."""
        told = await within_bound(self._redis.get(self._keys[2]))
        return _moment(int(told) / 1000) if told else None

    async def forget(self, call_ids: Sequence[str]) -> None:
        """See SessionCache."""
        if call_ids:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zrem(self._keys[0], *call_ids)
                pipe.hdel(self._keys[1], *call_ids)
                await within_bound(pipe.execute())

    async def clear(self) -> int:
        """Drop all of it: how many keys there were. Workers tell it anew with their next beat.

        Until they have told for LOST seconds, whoever asks takes the call log's word. An operator
        asks for it, so it may take longer than BOUND. Raises RedisError and OSError.
        """
        gone: int = await self._redis.delete(*self._keys)
        return gone

    async def _those(self, which: str, within: float) -> list[Session]:
        args: list[str | int] = [which, round(within * 1000)]
        found: list[str | None] = await within_bound(self._read(keys=self._keys[:2], args=args))
        pairs = zip(found[::2], found[1::2], strict=True)
        # A Redis that is short of memory may have thrown the sessions away, and kept the beats.
        return _ordered(
            _decode(body, _moment(float(beat) / 1000)) for body, beat in pairs if body and beat
        )


class Sessions:
    """One worker's live calls, learnt from the events of its jobs."""

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._live: dict[str, Session] = {}
        self._ended: set[str] = set()

    def __len__(self) -> int:
        return len(self._live)

    def hear(self, event: Event) -> bool:
        """Learn from an event; whether the others should know at once."""
        if isinstance(event, CallOpened) and event.call_id not in self._live:
            self._live[event.call_id] = Session(
                event.call_id,
                event.room,
                event.room_sid,
                event.job_id,
                self._worker_id,
                event.at,
            )
            return True
        session = self._live.get(event.call_id)
        if session is None:
            return False
        if isinstance(event, CallEnded):
            del self._live[event.call_id]
            self._ended.add(event.call_id)
            return True
        changed = _after(session, event)
        self._live[event.call_id] = changed
        return changed != session

    async def tell(self, cache: SessionCache) -> None:
        """Tell of all calls, and of those that ended since. Raises SharingLost."""
        ended = set(self._ended)
        await cache.beat(list(self._live.values()), list(ended))
        self._ended -= ended


def _after(session: Session, event: Event) -> Session:
    if isinstance(event, CallerJoined):
        return replace(session, state=State.TALKING, persona=event.persona)
    if isinstance(event, CallNote) and event.name in NOTES:
        return replace(session, state=NOTES[event.name])
    return session


def _encode(session: Session) -> str:
    body: dict[str, Any] = asdict(session)
    del body["heartbeat"]
    return json.dumps({**body, "started_at": session.started_at.isoformat()})


def _decode(text: str, heartbeat: datetime) -> Session:
    """What `_encode` made. Fields and states of a newer release are passed over."""
    body = json.loads(text)
    try:
        state = State(body["state"])
    except ValueError:
        state = State.TALKING
    names = ("call_id", "room", "room_sid", "job_id", "worker_id", "persona")
    known = {name: body[name] for name in names}
    started = datetime.fromisoformat(body["started_at"])
    return Session(**known, started_at=started, state=state, heartbeat=heartbeat)


def _ordered(sessions: Any) -> list[Session]:
    return sorted(sessions, key=lambda one: (one.started_at, one.call_id))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
