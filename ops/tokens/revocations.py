"""Tokens that are dead to us, in the database and in Redis; where neither answers, nobody knows.

The database is the truth. Redis answers for it while it is away, if it holds all of them: a key of
its own says so, which a Redis that was emptied does not have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from redis.asyncio import ConnectionPool, Redis

from agent import log
from agent.errors import SharingLost, StoreError, StoreUnavailable
from agent.shared import within_bound
from agent.store import CallLog
from agent.store.access import Access, RevocationRow
from ops.front.database import Database

logger = log.get(__name__)

T = TypeVar("T")

PREFIX = "voice-ai:revoked:"
COMPLETE = "voice-ai:revocations:complete"
"""Is there when Redis holds every live revocation."""

WITHIN = 5.0
"""Seconds for the database to answer, before it counts as away."""

AWAY = 1.0
"""Seconds for which a store that did not answer is not asked again."""

AT_ONCE = 500
"""Revocations that are written to Redis at once."""


class Revocations:
    """The revocations of one installation."""

    def __init__(self, database: Database, connections: ConnectionPool | None) -> None:
        self._database = database
        self._redis = Redis(connection_pool=connections) if connections else None
        self._no_database_until = self._no_redis_until = 0.0
        self._unwritten: dict[str, RevocationRow] = {}
        """What only Redis has taken yet."""
        self._is_complete = False
        """Whether Redis has had everything from us since it was last lost."""
        self.generations: Mapping[str, RevocationRow] = {}
        """Generations that were revoked, as of the last `load`, by id."""

    async def add(self, row: RevocationRow) -> bool:
        """Keep a revocation; whether it is new. Raises StoreUnavailable when nobody took it."""
        try:
            is_new = await self._asked(lambda log: Access(log.engine).revoke(row))
        except StoreError:
            is_new = await self._only_shared(row)
        else:
            await self._share(row)
        if row.kind == "generation":
            self.generations = {**self.generations, row.id: row}
        return is_new

    async def prolong(self, row: RevocationRow, until: datetime) -> None:
        """Keep a revocation for longer. A failure is tried again with the next one."""
        try:
            await self._asked(lambda log: Access(log.engine).prolong(row.id, until))
        except StoreError as error:
            logger.warning("a revocation could not be prolonged", error=str(error))

    async def among(self, *ids: str) -> set[str]:
        """Which of these were revoked. Raises StoreUnavailable when that cannot be known."""
        told, shared = await asyncio.gather(
            self._asked(lambda log: Access(log.engine).revoked(ids)),
            self._shared(ids),
            return_exceptions=True,
        )
        for one in (told, shared):
            if isinstance(one, BaseException) and not isinstance(one, StoreError | SharingLost):
                raise one
        found, is_complete = (set(), False) if isinstance(shared, BaseException) else shared
        if isinstance(told, BaseException):
            if is_complete:  # as far as Redis knows: not of what was told to the database alone
                found |= {id_ for id_ in ids if id_ in self.generations}
            # One that is there is revoked; that none is there proves nothing by half.
            if found or is_complete:
                return found
            raise StoreUnavailable("neither the database nor Redis can tell what was revoked")
        return told | found

    async def load(self) -> None:
        """Read what was revoked elsewhere, and write what a store that was away has missed."""
        try:
            await self._write_rest()
            rows = await self._asked(lambda log: Access(log.engine).live_revocations("generation"))
        except StoreError as error:
            logger.debug("revocations could not be read", error=str(error))
        else:
            self.generations = {row.id: row for row in rows}
            await self._complete()

    async def forget(self) -> None:
        """Drop those of tokens that have expired."""
        try:
            await self._asked(lambda log: Access(log.engine).forget_revocations())
        except StoreError as error:
            logger.debug("old revocations stay for now", error=str(error))

    async def _asked(self, work: Callable[[CallLog], T]) -> T:
        if time.monotonic() < self._no_database_until:
            raise StoreUnavailable("the database does not answer")
        try:
            async with asyncio.timeout(WITHIN):
                return await self._database.run(work)
        except TimeoutError:
            self._no_database_until = time.monotonic() + AWAY
            raise StoreUnavailable("the database does not answer in time") from None

    async def _write_rest(self) -> None:
        def write(log: CallLog) -> None:
            for row in rows:
                Access(log.engine).revoke(row)

        if rows := list(self._unwritten.values()):
            await self._asked(write)
            for row in rows:
                self._unwritten.pop(row.id, None)

    async def _shared(self, ids: Sequence[str]) -> tuple[set[str], bool]:
        """Which of these Redis holds, and whether it holds all there are. Raises SharingLost."""
        redis = self._usable()
        keys = [COMPLETE, *(PREFIX + id_ for id_ in ids)]
        complete, *found = await self._within(redis.mget(keys))
        return {id_ for id_, value in zip(ids, found, strict=True) if value}, complete is not None

    async def _share(self, row: RevocationRow) -> None:
        """Tell Redis, too: what it misses now it gets with everything else when it is back."""
        try:
            redis = self._usable()
            await self._within(redis.set(PREFIX + row.id, row.kind, exat=row.expires_at))
        except SharingLost:
            self._is_complete = False

    async def _only_shared(self, row: RevocationRow) -> bool:
        try:
            redis = self._usable()
            taken = await self._within(
                redis.set(PREFIX + row.id, row.kind, exat=row.expires_at, nx=True)
            )
        except SharingLost as error:
            raise StoreUnavailable("neither the database nor Redis takes a revocation") from error
        self._unwritten[row.id] = row
        return taken is not None

    async def _complete(self) -> None:
        """See that Redis holds everything."""
        try:
            redis = self._usable()
            marks = await self._within(redis.mget([COMPLETE]))
            if self._is_complete and marks[0]:
                return
            rows = await self._asked(lambda log: Access(log.engine).live_revocations())
            for begin in range(0, len(rows), AT_ONCE):
                async with redis.pipeline(transaction=False) as pipe:
                    for row in rows[begin : begin + AT_ONCE]:
                        pipe.set(PREFIX + row.id, row.kind, exat=row.expires_at)
                    await self._within(pipe.execute())
            await self._within(redis.set(COMPLETE, "1"))
            self._is_complete = True
        except (SharingLost, StoreError) as error:
            self._is_complete = False
            logger.debug("Redis does not hold all revocations", error=str(error))

    def _usable(self) -> Redis:
        if self._redis is None or time.monotonic() < self._no_redis_until:
            raise SharingLost
        return self._redis

    async def _within(self, access: Awaitable[T]) -> T:
        try:
            return await within_bound(access)
        except SharingLost:
            self._no_redis_until = time.monotonic() + AWAY
            self._is_complete = False
            raise
