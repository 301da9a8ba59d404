"""A copy of the whole database as it was at one moment, made while others write.

SQLite: a new file (VACUUM INTO: one read transaction; what was deleted is not in it). PostgreSQL:
a file of COPY's text form for each table, all of one transaction. No program of PostgreSQL's is
needed for either, so that versions need not agree, and a restore can be one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, inspect, text

from agent.errors import StoreError, StoreTooNew, StoreUnavailable
from agent.store import engine as database
from agent.store.migrate import head
from agent.store.tables import metadata

SQLITE_FILE = "calls.db"
DESCRIPTION = "snapshot.json"
VERSIONS = "alembic_version"

WORDS: Mapping[str, Mapping[str, str]] = {
    "turns": {"user_text": "", "agent_text": "", "tools": "[]"},
    "call_events": {"detail": "{}"},
    "webhook_events": {"body": "{}"},
}
"""What people said and what tools were told, with what stands there instead."""

Progress = Callable[[int], None]
"""Told of bytes that were written since."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a database is. `size` is bytes, `revision` that of its schema; empty: none yet."""

    kind: str
    revision: str
    size: int


def facts(url: str) -> Facts | None:
    """What there is at `url`; None: nothing yet. Raises StoreError, StoreUnavailable."""
    if not _is_there(url):
        return None
    engine = database.open_engine(url, readonly=True)
    try:
        return database.read(engine, _facts)
    finally:
        engine.dispose()


def take(url: str, folder: Path, *, words: bool, progress: Progress = lambda _: None) -> list[Path]:
    """Copy the database into `folder`: the files. Without `words` what was said is left out.

    Raises StoreTooNew for a schema that this code does not know, StoreError, StoreUnavailable,
    OSError. Others read and write meanwhile.
    """
    engine = database.open_engine(url, readonly=True)
    try:
        known = database.read(engine, _facts)
        if known.revision > head():
            raise StoreTooNew(
                f"{database.name_of(engine.url)}: its schema {known.revision} is of a newer"
                f" release, and this code knows {head()}: back it up with that release"
            )
        told: dict[str, Any] = {"kind": known.kind, "revision": known.revision, "words": words}
        if known.kind == "postgresql":
            told["tables"] = _copy_tables(engine, folder, words=words, progress=progress)
            files = [folder / f"{name}.copy" for name in told["tables"]]
        else:
            files = [_vacuum(engine, folder / SQLITE_FILE, words=words)]
            progress(files[0].stat().st_size)
    finally:
        engine.dispose()
    description = folder / DESCRIPTION
    description.write_text(json.dumps(told), encoding="utf-8")
    return [description, *files]


def check_free(url: str) -> None:
    """Raises StoreError while somebody else has this database open, StoreUnavailable."""
    if not _is_there(url):
        return
    engine = database.open_engine(url, readonly=True)
    try:
        if engine.dialect.name == "postgresql":
            count = database.read(engine, _others)
            if count:
                raise StoreError(
                    f"{database.name_of(engine.url)}: {count} other connections are open: stop the"
                    " workers and `ops serve` first"
                )
        else:
            _check_file(engine)
    finally:
        engine.dispose()


def _is_there(url: str) -> bool:
    target = database.parse(url)
    return target.get_backend_name() == "postgresql" or Path(target.database or "").is_file()


def _facts(connection: Connection) -> Facts:
    kind = connection.dialect.name
    revision = ""
    if inspect(connection).has_table(VERSIONS):
        revision = str(connection.scalar(text(f"SELECT version_num FROM {VERSIONS}")) or "")  # noqa: S608 - our own name
    if kind == "postgresql":
        size = connection.scalar(text("SELECT pg_database_size(current_database())"))
    else:
        size = Path(str(connection.engine.url.database)).stat().st_size
    return Facts(kind, revision, int(size or 0))


def _vacuum(engine: Engine, target: Path, *, words: bool) -> Path:
    with database.translated(engine):
        raw = engine.raw_connection()
    try:
        source = raw.driver_connection
        assert isinstance(source, sqlite3.Connection)
        source.execute("PRAGMA query_only = 0")  # it would keep VACUUM INTO from its own file
        source.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise _of_sqlite(engine, error) from None
    finally:
        raw.invalidate()
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        if not words:
            _blank(copy)
        (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise _of_sqlite(engine, error) from None
    finally:
        copy.close()
    if verdict != "ok":
        raise StoreError(f"{database.name_of(engine.url)}: damaged: {verdict}")
    return target


def _blank(copy: sqlite3.Connection) -> None:
    for table, columns in WORDS.items():
        known = {row[1] for row in copy.execute(f"PRAGMA table_info({table})")}
        values = {name: value for name, value in columns.items() if name in known}
        if values:
            changes = ", ".join(f"{name} = ?" for name in values)
            copy.execute(f"UPDATE {table} SET {changes}", tuple(values.values()))  # noqa: S608 - our own names
    copy.execute("VACUUM")


def _copy_tables(
    engine: Engine, folder: Path, *, words: bool, progress: Progress
) -> dict[str, list[str]]:
    """The columns of each table, in an order in which they can be filled again."""

    def work(connection: Connection) -> dict[str, list[str]]:
        known = inspect(connection)
        names = [VERSIONS, *(table.name for table in metadata.sorted_tables)]
        tables = {
            name: [column["name"] for column in known.get_columns(name)]
            for name in names
            if known.has_table(name)
        }
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        for name, columns in tables.items():
            instead = {} if words else WORDS.get(name, {})
            _copy_table(raw, name, columns, instead, folder / f"{name}.copy", progress)
        return tables

    try:
        return database.read(engine, work)
    except psycopg.Error as error:
        raise _of_postgres(engine, error) from None


def _copy_table(
    raw: psycopg.Connection[Any],
    name: str,
    columns: list[str],
    instead: Mapping[str, str],
    target: Path,
    progress: Progress,
) -> None:
    chosen = sql.SQL(", ").join(
        sql.Literal(instead[column]) if column in instead else sql.Identifier(column)
        for column in columns
    )
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(chosen, sql.Identifier(name))
    with raw.cursor() as cursor, cursor.copy(statement) as copy, target.open("wb") as out:
        for data in copy:
            out.write(data)
            progress(len(data))


def _others(connection: Connection) -> int:
    statement = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return int(connection.scalar(statement) or 0)


def _check_file(engine: Engine) -> None:
    """Whoever has the file open in WAL mode keeps a lock that a change of the mode meets."""
    path = Path(str(engine.url.database))
    connection = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError:
        raise StoreError(
            f"{database.name_of(engine.url)}: another process has it open: stop the workers and"
            " `ops serve` first"
        ) from None
    except sqlite3.DatabaseError:
        return  # damaged: nobody works with it, and it is to be replaced
    finally:
        connection.close()


def _of_sqlite(engine: Engine, error: sqlite3.Error) -> StoreError:
    return StoreError(f"{database.name_of(engine.url)}: {error}")


def _of_postgres(engine: Engine, error: psycopg.Error) -> StoreError:
    said = str(error).strip().partition("\n")[0]
    if engine.url.password:
        said = said.replace(str(engine.url.password), "***")
    kind = StoreUnavailable if isinstance(error, psycopg.OperationalError) else StoreError
    return kind(f"{database.name_of(engine.url)}: {said}")
