"""Opening a database by its URL: SQLite or PostgreSQL, and one way to write to either."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url

from agent.errors import EventRefused, StoreAbsent, StoreError, StoreUnavailable

T = TypeVar("T")

BUSY_TIMEOUT = 20.0
"""Seconds that a SQLite connection waits for another one's transaction."""

ATTEMPTS = 6
FIRST_WAIT = 0.02
"""Seconds at most before the second attempt, doubled before each further one, with jitter."""

READS = "reads"
"""Execution option of transactions that only read: they take no write lock on SQLite."""

POSTGRES = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # milliseconds: a dead network is noticed
    "prepare_threshold": None,  # prepared statements do not survive a transaction pooler
}


def open_engine(url: str, *, readonly: bool = False) -> Engine:
    """Make an engine for `url`; SQLite makes the file and its folder unless `readonly`.

    Raises StoreError for a URL that names no database that we know, for a folder that cannot
    be made, and with `readonly` StoreAbsent for a SQLite file that does not exist.
    """
    target = parse(url)
    # Statements carry what callers said: their values stay out of every error and log.
    if target.get_backend_name() == "postgresql":
        options: dict[str, Any] = {"connect_args": POSTGRES, "pool_pre_ping": True}
        return create_engine(target, hide_parameters=True, **options)
    path = Path(target.database or "")
    if readonly and not path.is_file():
        raise StoreAbsent(f"no call log at {path} (setting store.url): no call was recorded there")
    if not readonly:
        _make_folder(path.parent)
    engine = create_engine(
        target, hide_parameters=True, creator=lambda: _connect_sqlite(path, readonly=readonly)
    )
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def parse(url: str) -> URL:
    """Read a database URL. Raises StoreError, without the password that may be in it."""
    try:
        target = make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise StoreError("store.url is not a database URL") from error
    scheme = target.drivername
    if scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
        return target.set(drivername="postgresql+psycopg")
    if scheme != "sqlite":
        raise StoreError(f"store.url: {scheme} is not known, use sqlite or postgresql")
    if target.database in {None, "", ":memory:"}:
        raise StoreError("store.url: SQLite needs a file, as in sqlite:///data/calls.db")
    return target


def file_of(url: str) -> Path | None:
    """The file of a SQLite database; None for another one, or for a URL that cannot be used."""
    try:
        target = parse(url)
    except StoreError:
        return None
    return Path(target.database or "") if target.get_backend_name() == "sqlite" else None


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turn errors of the database into ours, which name it without its password."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
        raise StoreUnavailable(_describe(engine, error)) from None
    except (exc.DataError, exc.IntegrityError) as error:
        raise EventRefused(_describe(engine, error)) from None
    except exc.DBAPIError as error:
        raise StoreError(_describe(engine, error)) from None
    except exc.StatementError as error:  # a value that no driver takes
        raise EventRefused(_describe(engine, error)) from None


def write(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run `work` in one write transaction, again when a passing conflict undid it."""
    return _persist(engine, engine.begin, work)


def read(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run `work` on one consistent view of the database, however many statements it takes."""
    options: dict[str, Any] = {READS: True}
    if engine.dialect.name == "postgresql":  # SQLite's transactions are that already
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return _persist(
        engine, engine.connect, lambda connection: work(connection.execution_options(**options))
    )


def _persist(
    engine: Engine,
    begin: Callable[[], AbstractContextManager[Connection]],
    work: Callable[[Connection], T],
) -> T:
    """Try again what lost a race: even a reader of SQLite may meet a lock while a log recovers."""
    with translated(engine):
        # Not stamina: it would log the error, which may quote a row with a caller's words.
        for attempt in range(1, ATTEMPTS):
            try:
                with begin() as connection:
                    return work(connection)
            except exc.DBAPIError as error:
                if not _is_passing(error):
                    raise
                time.sleep(random.uniform(0.5, 1) * FIRST_WAIT * 2 ** (attempt - 1))
        with begin() as connection:
            return work(connection)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {folder} of the call log (setting store.url): {error.strerror}"
        ) from error


def _connect_sqlite(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """Open a connection whose transactions are ours to begin (isolation_level None).

    A reader opens the file for writing too: it may be the one that recovers the log of a
    process that was killed. `query_only` keeps it from writing anything else.
    """
    mode = "rw" if readonly else "rwc"
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if not readonly:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA query_only = {int(readonly)}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock now: a transaction that reads first could not wait for it later."""
    reads = connection.get_execution_options().get(READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _is_passing(error: exc.DBAPIError) -> bool:
    """Whether another attempt may succeed at once: a lock, a lost race, a dropped connection."""
    if isinstance(error, exc.IntegrityError):
        return True
    if not isinstance(error, exc.OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return (
        error.connection_invalidated
        or state in {"40001", "40P01"}
        or code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    )


def _describe(engine: Engine, error: exc.SQLAlchemyError) -> str:
    """One line: which database, and what it said."""
    said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    if engine.url.password:
        said = said.replace(str(engine.url.password), "***")
    return f"{name_of(engine.url)}: {said}"


def name_of(url: URL) -> str:
    """The database without its password and without a query, which may hold another."""
    return url.set(query={}).render_as_string(hide_password=True)
