"""Client keys and revocations in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Engine, insert, select, update

from agent.call import now
from agent.store import engine as database
from agent.store.access_tables import client_keys


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


@dataclass(frozen=True, slots=True)
class Access:
    """Client keys of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def add_key(self, row: ClientKeyRow) -> None:
        """Keep a new client key."""
        values = {field.name: getattr(row, field.name) for field in fields(row)}
        statement = insert(client_keys).values(**{**values, "scopes": list(row.scopes)})
        database.write(self.engine, lambda connection: connection.execute(statement))

    def keys(self) -> Sequence[ClientKeyRow]:
        """All client keys, revoked ones too, the oldest first."""
        statement = select(client_keys).order_by(client_keys.c.made_at, client_keys.c.id)
        rows = database.read(
            self.engine, lambda connection: connection.execute(statement).mappings().all()
        )
        return [ClientKeyRow(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]

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
