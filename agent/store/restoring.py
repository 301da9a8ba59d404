"""Putting a copy of `agent.store.snapshot` back: whole, at this code's schema, or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, insert, inspect, text

from agent.call import now
from agent.errors import StoreError, StoreTooNew
from agent.store import engine as database
from agent.store import migrate
from agent.store.keeping import Kept, Present, Row, keep, present_of
from agent.store.snapshot import DESCRIPTION, SQLITE_FILE, VERSIONS, facts
from agent.store.tables import audit_log, metadata

PATIENCE = "10s"
"""For which a table is waited for that somebody else uses."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a database in a folder. `words`: what was said is in it."""

    folder: Path
    kind: str
    revision: str
    words: bool
    tables: Mapping[str, list[str]]


def describe(folder: Path) -> Copy:
    """What the copy in `folder` is. Raises StoreError when this code cannot put it back."""
    try:
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        tables = {str(name): list(columns) for name, columns in told.get("tables", {}).items()}
        copy = Copy(folder, told["kind"], told["revision"], told["words"], tables)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError("the backup's database has no description that can be read") from error
    if copy.revision > migrate.head():
        raise StoreTooNew(
            f"the backup's database has schema {copy.revision}, and this code knows"
            f" {migrate.head()}: restore it with that release"
        )
    return copy


def check_fits(copy: Copy, url: str) -> None:
    """Raises StoreError when the copy is of another kind of database than that at `url`."""
    wanted = database.parse(url).get_backend_name()
    if copy.kind != wanted:
        raise StoreError(
            f"the backup is of a database of {copy.kind}, and store.url names one of {wanted}"
        )


def file_of(url: str) -> Path:
    """The file of a SQLite database. Raises StoreError."""
    return Path(database.parse(url).database or "")


def present(url: str) -> Present:
    """What the database at `url` says that must stay true; nothing where there is none.

    Raises StoreTooNew when it is newer than this code, StoreError when it cannot be read.
    """
    known = facts(url)
    if known is None or not known.revision:
        return Present()
    if known.revision > migrate.head():
        raise StoreTooNew(
            f"the database has schema {known.revision}, and this code knows {migrate.head()}:"
            " restore with that release"
        )
    engine = database.open_engine(url, readonly=True)
    try:
        return present_of(engine)
    finally:
        engine.dispose()


def ready_file(copy: Copy, kept: Present, line: Row) -> Kept:
    """Bring the copy of a SQLite database to this code's schema, and keep what must stay true.

    `line` of the audit trail says who restores. The file is whole in itself afterwards.
    """
    path = copy.folder / SQLITE_FILE
    engine = database.open_engine(f"sqlite:///{path}")
    try:
        migrate.migrate(engine)
        done = database.write(engine, lambda connection: _kept(connection, kept, line))
    finally:
        engine.dispose()
    raw = sqlite3.connect(path, isolation_level=None)
    try:
        raw.execute("PRAGMA journal_mode = DELETE").fetchone()
    finally:
        raw.close()
    return done


def load_postgres(
    copy: Copy,
    url: str,
    kept: Present,
    line: Row,
    before_commit: Callable[[Kept], None],
) -> Kept:
    """Put the copy in the place of all our tables, in one transaction.

    `before_commit` is called when all but the commit is done: what it raises undoes everything.
    Raises StoreError, StoreUnavailable.
    """
    engine = database.open_engine(url)
    try:
        with database.translated(engine), engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
            _drop(connection)
            migrate.upgrade_to(connection, copy.revision)
            _fill(connection, copy)
            migrate.upgrade_to(connection, migrate.head())
            done = _kept(connection, kept, line)
            before_commit(done)
    except psycopg.Error as error:
        said = str(error).strip().partition("\n")[0]
        raise StoreError(f"{database.name_of(engine.url)}: {said}") from None
    finally:
        engine.dispose()
    return done


def _kept(connection: Connection, present: Present, line: Row) -> Kept:
    done = keep(connection, present)
    connection.execute(insert(audit_log).values(at=now(), **line))
    return done


def _drop(connection: Connection) -> None:
    """Drop our tables, with the functions of their triggers, which would be in the way."""
    functions = text(
        "SELECT DISTINCT p.oid::regprocedure::text FROM pg_trigger t"
        " JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
        " WHERE NOT t.tgisinternal AND c.relname = ANY(:names)"
        " AND c.relnamespace = current_schema()::regnamespace"
    )
    for function in connection.scalars(functions, {"names": _names()}).all():
        connection.execute(text(f"DROP FUNCTION {function} CASCADE"))
    for name in _names():
        quoted = connection.dialect.identifier_preparer.quote(name)
        connection.execute(text(f"DROP TABLE IF EXISTS {quoted} CASCADE"))


def _names() -> list[str]:
    return [VERSIONS, *(table.name for table in metadata.sorted_tables)]


def _fill(connection: Connection, copy: Copy) -> None:
    """Fill the tables, whose migrations may have left rows in them."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    known = inspect(connection)
    for name, columns in copy.tables.items():
        if name not in _names() or not known.has_table(name):
            raise StoreError(f"the backup has a table {name} that its schema does not know")
        with raw.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(name)))
            if cursor.fetchone():  # never of audit_log, which refuses even to be emptied of nothing
                cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            _fill_table(cursor, name, columns, copy.folder / f"{name}.copy")
            _count_on(cursor, name, [column["name"] for column in known.get_columns(name)])


def _fill_table(cursor: psycopg.Cursor[Any], name: str, columns: list[str], source: Path) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with cursor.copy(statement) as copy, source.open("rb") as file:
        while data := file.read(1 << 16):
            copy.write(data)


def _count_on(cursor: psycopg.Cursor[Any], name: str, columns: list[str]) -> None:
    """Let numbers that the database gives go on after those that came back."""
    for column in columns:
        own = (sql.Identifier(name).as_string(cursor), column)
        cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", own)
        (sequence,) = cursor.fetchone() or (None,)
        if sequence:
            statement = sql.SQL(
                "SELECT setval(%s, greatest(coalesce(max({}), 1), 1), max({}) IS NOT NULL) FROM {}"
            ).format(sql.Identifier(column), sql.Identifier(column), sql.Identifier(name))
            cursor.execute(statement, (sequence,))
