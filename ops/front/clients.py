"""Who calls the HTTP API: client keys, random, kept as hashes, each with its scopes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from agent import log, tasks
from agent.call import now
from agent.errors import StoreError, StoreUnavailable
from agent.store.access import Access, ClientKeyRow
from ops.front.database import Database

logger = log.get(__name__)

PREFIX = "vak"
"""Client keys look like vak_ID_SECRET: recognisable where one was left lying about."""

FRESH = 0.5
"""Seconds for which the list of client keys is believed: so soon a revoked one is refused."""

STALE = 300.0
"""Seconds for which it is believed while the database is away: tokens and webhooks go on."""

PATIENCE = 1.0
"""Seconds that a request waits for the list where there is one from before."""

LONGEST = 30.0
"""Seconds that it waits where there is none."""

HOUR = 3600.0
"""Seconds in which it is kept once that a key is used."""

bearer = HTTPBearer(auto_error=False, description="A client key: `python -m ops clients add`.")


@dataclass(frozen=True, slots=True)
class Client:
    """A caller of the HTTP API whose key was right."""

    id: str
    name: str
    scopes: frozenset[str]
    per_minute: int | None = None

    def may(self, scope: str) -> bool:
        """Whether the client has `scope`, or `admin`, which holds all."""
        return scope in self.scopes or "admin" in self.scopes

    def may_some(self, noun: str) -> bool:
        """Whether the client has the scope `noun`, or one that is narrower: `noun:...`."""
        return self.may(noun) or any(held.startswith(f"{noun}:") for held in self.scopes)


class Clients:
    """The client keys of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, ClientKeyRow] = {}
        self._read_at = -math.inf
        self._again_at = 0.0
        self._error: StoreError | None = None
        self._reading: asyncio.Task[None] | None = None
        self._used: dict[str, float] = {}
        """When it was last kept, by the id of a key."""
        self._noting: asyncio.Task[None] | None = None

    async def client(self, key: str) -> Client | None:
        """The client whose key this is. Raises StoreError when that cannot be known."""
        await self._read()
        _, _, rest = key.partition("_")
        row = self._known.get(rest.partition("_")[0])
        if row is None or not hmac.compare_digest(row.hash, digest(key)):
            return None
        self._use(row)
        return Client(row.id, row.name, frozenset(row.scopes), row.per_minute)

    async def is_empty(self) -> bool:
        """Whether nobody can come in, since no client key was made. Raises StoreError."""
        await self._read()
        return not self._known

    async def add(self, name: str, scopes: tuple[str, ...], per_minute: int | None = None) -> str:
        """Make a client key, which is told here and never again. Raises StoreError."""
        row, key = new_key(name, scopes, per_minute)
        await self._database.run(lambda log: Access(log.engine).add_key(row))
        await self._reread()
        return key

    async def aclose(self) -> None:
        """Read no more."""
        await tasks.end(self._reading, self._noting)

    async def _read(self) -> None:
        """See that the list is fresh: whoever finds it old reads it for all who wait."""
        if time.monotonic() >= self._again_at:
            if self._reading is None or self._reading.done():
                self._reading = tasks.spawn(self._reread(), "client-keys")
            await asyncio.wait({self._reading}, timeout=PATIENCE if self._is_usable else LONGEST)
        if not self._is_usable:
            raise self._error or StoreUnavailable()

    def _use(self, row: ClientKeyRow) -> None:
        """Keep that the key is used, beside the request: an audit tells of unused ones."""
        at = time.monotonic()
        if at - self._used.get(row.id, -math.inf) < HOUR or _is_running(self._noting):
            return
        self._used[row.id] = at
        if row.used_at is None or (now() - row.used_at).total_seconds() > HOUR:
            self._noting = tasks.spawn(self._note(row.id), "client-key-use")

    async def _note(self, key_id: str) -> None:
        try:
            await self._database.run(lambda log: Access(log.engine).use_key(key_id))
        except StoreError as error:
            logger.debug("the use of a client key is not kept", error=str(error))

    @property
    def _is_usable(self) -> bool:
        return time.monotonic() - self._read_at < STALE

    async def _reread(self) -> None:
        try:
            rows = await self._database.run(lambda log: Access(log.engine).client_keys())
        except StoreError as error:
            if self._error is None:
                logger.warning("client keys cannot be read", error=str(error), action="as before")
            self._error = error
        else:
            self._known = {row.id: row for row in rows if row.revoked_at is None}
            self._read_at, self._error = time.monotonic(), None
        self._again_at = time.monotonic() + FRESH


def _is_running(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()


def new_key(
    name: str, scopes: tuple[str, ...], per_minute: int | None = None
) -> tuple[ClientKeyRow, str]:
    """A new client key: the row to keep, and the key itself."""
    key_id = secrets.token_hex(6)
    key = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    row = ClientKeyRow(
        id=key_id,
        name=name,
        hash=digest(key),
        scopes=scopes,
        per_minute=per_minute,
        made_at=now(),
    )
    return row, key


def digest(key: str) -> str:
    """What is kept of a key, which is random and long: a slow hash would add nothing."""
    return hashlib.sha256(key.encode()).hexdigest()


def require(*scopes: str) -> Callable[..., Awaitable[Client]]:
    """A dependency: the client of the request, which must have one of `scopes`.

    403 without it. (401 without a valid key, and 503 where none was configured or the database
    cannot be asked, are said at `ops.front.door`, before.) A narrower scope (`tokens:viewer` for
    `tokens`) is let in, too: what it allows is for the route to judge. Without `scopes` any
    client is let in.
    """

    async def client_of(
        request: Request,
        _given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Client:
        client: Client = request.state.client  # the door let it in
        if scopes and not any(client.may_some(scope) for scope in scopes):
            raise HTTPException(403, f"the client key lacks the scope {' or '.join(scopes)}")
        return client

    return client_of
