"""The schema: migrations build what the tables say, and an old release knows when to stop."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc, text

from agent.errors import StoreAbsent, StoreError, StoreTooNew
from agent.store import CallLog, migrate
from agent.store.engine import open_engine
from agent.store.tables import metadata

pytest_plugins = ["tests.postgres"]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/calls.db"
    return request.getfixturevalue("postgres_url")


def execute(url, *statements):
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def revision(url):
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return connection.scalar(text("SELECT version_num FROM alembic_version"))
    finally:
        engine.dispose()


def test_the_migrations_build_the_tables_that_the_code_uses(url):
    log = CallLog.open(url)
    with log.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    log.close()
    assert differences == []


def test_starting_again_changes_nothing(url):
    CallLog.open(url).close()
    CallLog.open(url).close()
    assert revision(url) == migrate.head()


def test_nothing_is_read_from_the_folder_where_the_process_was_started(url, tmp_path, monkeypatch):
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = nowhere\n")
    monkeypatch.chdir(tmp_path)
    CallLog.open(url).close()
    assert revision(url) == migrate.head()


@pytest.mark.parametrize("readonly", [False, True])
def test_a_database_that_needs_newer_code_is_refused(url, readonly):
    CallLog.open(url).close()
    execute(
        url,
        "UPDATE alembic_version SET version_num = '9002'",
        "UPDATE schema_compat SET oldest_code = '9001'",
    )
    with pytest.raises(
        StoreTooNew, match=rf"9001.*knows {migrate.head()}.*Start the newer release"
    ) as refused:
        CallLog.open(url, readonly=readonly)
    assert "store.url" in str(refused.value)
    assert revision(url) == "9002"


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_database_that_accepts_this_code_is_used_and_not_touched(url, readonly):
    CallLog.open(url).close()
    execute(
        url,
        "UPDATE alembic_version SET version_num = '9002'",
        "ALTER TABLE calls ADD COLUMN invented_later TEXT",
    )
    log = CallLog.open(url, readonly=readonly)
    assert log.list_calls() == []
    log.close()
    assert revision(url) == "9002"


def test_a_reader_of_a_database_without_a_schema_says_what_to_do(url):
    execute(url, "CREATE TABLE of_somebody_else (x INTEGER)")
    with pytest.raises(StoreError, match="start the agent once"):
        CallLog.open(url, readonly=True)


@pytest.mark.parametrize(
    "change", ["UPDATE audit_log SET who = 'mallory'", "DELETE FROM audit_log"]
)
def test_the_database_itself_refuses_to_change_the_audit_trail(url, change):
    log = CallLog.open(url)
    log.audit("alice", "rotate", "key 7", "cli")
    with pytest.raises(exc.DatabaseError, match="append only"):
        execute(url, change)
    assert [line.who for line in log.audit_trail()] == ["alice"]
    log.close()


def test_the_schema_of_this_code_is_known_without_alembic():
    assert migrate.head() == ScriptDirectory.from_config(migrate._config()).get_current_head()


def test_an_empty_database_has_no_call_log_yet(url):
    with pytest.raises(StoreAbsent):
        CallLog.open(url, readonly=True)


def test_a_call_log_of_the_first_release_keeps_its_calls(url):
    engine = open_engine(url)
    with engine.begin() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    execute(url, "INSERT INTO calls (id, started_at) VALUES ('a', '2026-11-21 12:00:00')")
    log = CallLog.open(url)
    assert [(call.id, call.cost) for call in log.list_calls()] == [("a", None)]
    log.close()
    assert revision(url) == migrate.head()


def test_code_of_the_first_release_may_still_use_the_database(url):
    log = CallLog.open(url)
    with log.engine.connect() as connection:
        assert connection.scalar(text("SELECT oldest_code FROM schema_compat")) == "0001"
    log.close()
