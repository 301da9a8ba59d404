"""The calls that are live, and those whose worker is gone: from Redis, else from the call log."""

from __future__ import annotations

from datetime import timedelta

from agent import log, metrics
from agent.call import now
from agent.errors import SharingLost
from agent.ledger import Presence
from agent.sessions import LOST, RedisSessions, Session, SessionCache, State
from agent.store.rows import CallRow
from ops.front.plane import Plane

logger = log.get(__name__)

MOST = 10_000
"""Calls that are told, at most."""


class LiveCalls:
    """What one `ops serve` knows of live calls."""

    def __init__(self, plane: Plane, cache: SessionCache | None = None) -> None:
        """`cache`: another one than the Redis of the settings."""
        self._plane = plane
        settings = plane.settings
        if cache is None and plane.redis is not None:
            cache = RedisSessions(plane.redis, settings.worker.agent_name)
        self._cache = cache
        self._presence = Presence(settings.data.folder / "run")
        self._is_away = False

    async def live_calls(self) -> list[Session]:
        """The calls that are live now, the oldest first.

        While Redis is away, or has not heard of every worker yet, they are the call log's open
        ones, without a heartbeat. Raises StoreError when that cannot be read either.
        """
        told = await self._from_cache()
        if told is not None:
            metrics.SESSION_READS.labels("hit").inc()
            return told[0]
        return [_session(row) for row in await self._open_calls()]

    async def lost_calls(self) -> list[Session]:
        """The open calls whose worker has not told of them for LOST seconds, the oldest first.

        Whoever closes one looks first whether its room still has an agent: a worker that cannot
        reach Redis goes on with its calls. Without Redis they are the calls of workers of this host
        and data folder that have ended. Raises StoreError when the call log cannot be read.
        """
        rows = {row.id: row for row in await self._open_calls()}
        told = await self._from_cache()
        if told is None or self._cache is None:
            gone = [row for row in rows.values() if self._presence.is_gone(row.worker_id)]
            return [_session(row) for row in gone]
        live, lost = told
        await self._forget([one.call_id for one in lost if one.call_id not in rows])
        heard_of = {one.call_id for one in (*live, *lost)}
        before = now() - timedelta(seconds=LOST)
        silent = [
            _session(row)
            for row in rows.values()
            if row.id not in heard_of and row.started_at < before
        ]
        metrics.SESSION_READS.labels("miss").inc(len(silent))
        found = [*(one for one in lost if one.call_id in rows), *silent]
        return sorted(found, key=lambda one: (one.started_at, one.call_id))

    async def _from_cache(self) -> tuple[list[Session], list[Session]] | None:
        """Live and lost calls; None when Redis cannot tell of all of them."""
        if self._cache is None:
            return None
        try:
            since = await self._cache.beating_since()
            live, lost = await self._cache.live(), await self._cache.lost()
        except SharingLost as error:
            metrics.SESSION_READS.labels("away").inc()
            if not self._is_away:
                logger.warning("Redis is away", action="ask the call log", error=str(error))
            self._is_away = True
            return None
        if self._is_away:
            self._is_away = False
            metrics.SESSION_RECONNECTS.inc()
            logger.info("Redis is back", action="ask it for live calls")
        if since is None or since > now() - timedelta(seconds=LOST):
            metrics.SESSION_READS.labels("miss").inc()
            return None
        return live, lost

    async def _forget(self, ended: list[str]) -> None:
        """Calls that the call log knows to be over, whoever closed them."""
        if self._cache is None or not ended:
            return
        try:
            await self._cache.forget(ended)
        except SharingLost as error:
            logger.debug("ended calls are left to expire", error=str(error))

    async def _open_calls(self) -> list[CallRow]:
        return await self._plane.database.run(lambda log: log.list_calls(MOST, is_open=True)[::-1])


def _session(row: CallRow) -> Session:
    return Session(
        row.id,
        row.room,
        row.room_sid or "",
        row.job_id,
        row.worker_id,
        row.started_at,
        State.WAITING if row.answered_at is None else State.TALKING,
        row.persona,
    )
