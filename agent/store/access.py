"""Client keys and revocations in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update

from agent.call import now
from agent.store import engine as database
from agent.store import writes
from agent.store.access_tables import client_keys, revocations


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeyRow:
    """Who may use the HTTP API. `hash` is that of the key; the key itself is kept nowhere."""

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    per_minute: int | None
    made_at: datetime
    revoked_at: datetime | None = None
    used_at: datetime | None = None
    """Within an hour; None: never, or not since this is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRow:
    """A token that is dead to us, or all tokens of one generation.

    `kind` is `token` (it was refreshed: `id` is its jti) or `generation` (it was revoked, and so
    is whatever was refreshed from it: `room` may not be entered with any of them).
    """

    id: str
    kind: str
    room: str
    revoked_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Access:
    """Client keys and revocations of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def add_key(self, row: ClientKeyRow) -> None:
        """Keep a new client key."""
        values = {field.name: getattr(row, field.name) for field in fields(row)}
        statement = insert(client_keys).values(**{**values, "scopes": list(row.scopes)})
        database.write(self.engine, lambda connection: connection.execute(statement))

    def client_keys(self) -> Sequence[ClientKeyRow]:
        """All client keys, revoked ones too, the oldest first."""
        statement = select(client_keys).order_by(client_keys.c.made_at, client_keys.c.id)
        rows = database.read(
            self.engine, lambda connection: connection.execute(statement).mappings().all()
        )
        return [ClientKeyRow(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]

    def use_key(self, key_id: str) -> None:
        """Keep that a client key is used now."""
        statement = update(client_keys).where(client_keys.c.id == key_id).values(used_at=now())
        database.write(self.engine, lambda connection: connection.execute(statement))

    def revoke_key(self, key_id: str) -> bool:
        """Refuse a client key from now on; whether there was one that was not refused yet."""
        statement = (
            update(client_keys)
            .where(client_keys.c.id == key_id, client_keys.c.revoked_at.is_(None))
            .values(revoked_at=now())
        )
        return database.write(
            self.engine, lambda connection: connection.execute(statement).rowcount > 0
        )

    def revoke(self, row: RevocationRow) -> bool:
        """Keep a revocation, each id once; whether it is new."""
        values = {field.name: getattr(row, field.name) for field in fields(row)}
        return database.write(
            self.engine, lambda connection: writes.insert_new(connection, revocations, values)
        )

    def revoked(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids were revoked."""
        statement = select(revocations.c.id).where(revocations.c.id.in_(ids))
        return database.read(
            self.engine, lambda connection: set(connection.execute(statement).scalars())
        )

    def prolong(self, revocation_id: str, until: datetime) -> None:
        """Let a revocation end at `until`, where it would end before."""
        statement = (
            update(revocations)
            .where(revocations.c.id == revocation_id, revocations.c.expires_at < until)
            .values(expires_at=until)
        )
        database.write(self.engine, lambda connection: connection.execute(statement))

    def live_revocations(self, kind: str = "") -> Sequence[RevocationRow]:
        """The revocations that matter still, the oldest first; of one kind, or of all."""
        statement = select(revocations).where(revocations.c.expires_at > now())
        if kind:
            statement = statement.where(revocations.c.kind == kind)
        statement = statement.order_by(revocations.c.revoked_at, revocations.c.id)
        rows = database.read(
            self.engine, lambda connection: connection.execute(statement).mappings().all()
        )
        return [RevocationRow(**row) for row in rows]

    def forget_revocations(self) -> int:
        """Drop the revocations of tokens that have expired: how many there were."""

        def work(connection: Connection) -> int:
            gone = connection.execute(delete(revocations).where(revocations.c.expires_at <= now()))
            return gone.rowcount

        return database.write(self.engine, work)
