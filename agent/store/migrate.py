"""Bringing a database to the schema of this code, or refusing to touch it.

Revisions are numbered 0001, 0002, ... A database carries its own revision (Alembic's table) and
the oldest revision of the code that may still use it (`schema_compat`), so that a release can
be taken back as long as the newer schema says that the older code understands it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, select, text

from agent.errors import StoreAbsent, StoreError, StoreTooNew
from agent.store import engine as database
from agent.store.tables import schema_compat

MIGRATIONS = Path(__file__).parent / "migrations"

ADVISORY_LOCK = 0x766F_6963_6541_6921
"""The key of PostgreSQL's advisory lock that migrations take: any number nobody else uses."""


def migrate(engine: Engine) -> None:
    """Apply what is missing, under a lock, in one transaction; two may start at once.

    Raises StoreTooNew when the database says that this code is too old for it.
    """
    if not database.read(engine, _is_current):
        database.write(engine, _upgrade)


def require_current(engine: Engine) -> None:
    """Check that this code can read the database, without changing it.

    Raises StoreTooNew, StoreAbsent for an empty database, and StoreError for one that was not
    migrated yet.
    """
    if not database.read(engine, _is_current):
        name = database.name_of(engine.url)
        is_empty = database.read(
            engine, lambda connection: not inspect(connection).get_table_names()
        )
        error = StoreAbsent if is_empty else StoreError
        raise error(
            f"{name} (setting store.url) has no call log of this release yet: "
            "start the agent once, it brings the database up to date"
        )


def head() -> str:
    """Return the schema revision of this code.

    It is the last of the numbers in the names of the files: a command that only reads need not
    wait for Alembic to be loaded.
    """
    return max(file.stem[1:5] for file in (MIGRATIONS / "versions").glob("v[0-9]*.py"))


def _is_current(connection: Connection) -> bool:
    """Whether nothing is left to apply. A newer database that accepts this code is current."""
    if not inspect(connection).has_table("schema_compat"):
        return False
    oldest = connection.scalar(select(schema_compat.c.oldest_code))
    known = head()
    if oldest and oldest > known:
        raise StoreTooNew(
            f"{database.name_of(connection.engine.url)} (setting store.url) "
            f"was migrated by a newer release: it needs code of schema {oldest} or later, this "
            f"code knows {known}. Start the newer release again, or restore a backup"
        )
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return str(revision or "") >= known


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    # SQLite holds its only write lock since BEGIN IMMEDIATE.
    if _is_current(connection):
        return
    upgrade_to(connection, "head")


def upgrade_to(connection: Connection, revision: str) -> None:
    """Apply what is missing up to `revision`, in the transaction of the connection."""
    from alembic import command  # noqa: PLC0415 - only who migrates waits for it

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _config() -> Any:
    """Configure Alembic without a file."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
