"""Who calls the HTTP API: client keys, random, kept as hashes, each with its scopes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from agent.call import now
from agent.errors import StoreError
from agent.store.access import Access, ClientKeyRow
from ops.front.database import Database

PREFIX = "vak"
"""Client keys look like vak_ID_SECRET: recognisable where one was left lying about."""

FRESH = 1.0
"""Seconds for which the list of client keys is believed: so soon a revoked one is refused."""

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


class Clients:
    """The client keys of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, ClientKeyRow] = {}
        self._read_at = -FRESH

    async def client(self, key: str) -> Client | None:
        """The client whose key this is. Raises StoreError when that cannot be known."""
        await self._read()
        _, _, rest = key.partition("_")
        row = self._known.get(rest.partition("_")[0])
        if row is None or not hmac.compare_digest(row.hash, digest(key)):
            return None
        return Client(row.id, row.name, frozenset(row.scopes), row.per_minute)

    async def is_empty(self) -> bool:
        """Whether nobody can come in, since no client key was made. Raises StoreError."""
        await self._read()
        return not self._known

    async def add(self, name: str, scopes: tuple[str, ...], per_minute: int | None = None) -> str:
        """Make a client key, which is told here and never again. Raises StoreError."""
        row, key = new_key(name, scopes, per_minute)
        await self._database.run(lambda log: Access(log.engine).add_key(row))
        self._read_at = -FRESH
        return key

    async def _read(self) -> None:
        if time.monotonic() - self._read_at < FRESH:
            return
        rows = await self._database.run(lambda log: Access(log.engine).keys())
        self._known = {row.id: row for row in rows if row.revoked_at is None}
        self._read_at = time.monotonic()


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

    401 without a valid key, 403 without the scope, 503 where no key was configured or the
    database cannot be asked.
    """

    async def client_of(
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Client:
        clients: Clients = request.app.state.plane.clients
        try:
            if await clients.is_empty():
                raise HTTPException(503, "no client key is configured: python -m ops clients add")
            client = await clients.client(given.credentials) if given else None
        except StoreError as error:
            raise HTTPException(503, "client keys cannot be read now") from error
        if client is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "a valid client key is needed", headers)
        if not any(client.may(scope) for scope in scopes):
            raise HTTPException(403, f"the client key lacks the scope {' or '.join(scopes)}")
        return client

    return client_of
