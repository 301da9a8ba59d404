"""Opening a call log: which URLs, what SQLite is told, and what errors give away."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from sqlalchemy import make_url, text

from agent.call import EndReason
from agent.errors import EventRefused, StoreError, StoreUnavailable
from agent.events import CallNote
from agent.store import CallLog, engine

pytest_plugins = ["tests.postgres"]

CALL = "c0" * 16


def note(seq=1):
    return CallNote(call_id=CALL, seq=seq, name="x")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_name_of_postgresql_means_psycopg(scheme):
    url = engine.parse(f"{scheme}://u:secret@db/calls")
    assert url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:secret@db/calls", "mysql is not known"),
        ("postgresql+asyncpg://u:secret@db/calls", "asyncpg is not known"),
        ("secret", "not a database URL"),
        ("postgresql://u:secret@db:port/calls", "not a database URL"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_an_unusable_url_is_refused_without_repeating_it(url, says):
    with pytest.raises(StoreError, match=says) as refused:
        CallLog.open(url)
    assert "store.url" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_sqlite_makes_its_folder_and_is_set_up_for_several_processes(tmp_path):
    log = CallLog.open(f"sqlite:///{tmp_path}/a b#/calls.db")
    with log.engine.connect() as connection:
        pragma = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    log.close()
    assert pragma == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": engine.BUSY_TIMEOUT * 1000,
    }
    assert (tmp_path / "a b#" / "calls.db").is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"store\.url") as refused:
        CallLog.open(f"sqlite:///{tmp_path}/file/calls.db")
    assert str(tmp_path / "file") in str(refused.value)


def test_a_file_that_is_no_database_is_an_error_of_the_store(tmp_path):
    (tmp_path / "calls.db").write_bytes(b"something else" * 100)
    with pytest.raises(StoreError, match=r"calls\.db: file is not a database"):
        CallLog.open(f"sqlite:///{tmp_path}/calls.db")


def test_a_reader_makes_no_file(tmp_path):
    with pytest.raises(StoreError, match=r"no call log at .*x/calls\.db \(setting store\.url"):
        CallLog.open(f"sqlite:///{tmp_path}/x/calls.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    CallLog.open(url).close()
    log = CallLog.open(url, readonly=True)
    with pytest.raises(StoreUnavailable, match="readonly"):
        log.apply("w", [note()])
    log.close()


def test_a_writer_waits_for_another_transaction_instead_of_failing(tmp_path):
    log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["COMMIT"])
    release.start()
    log.apply("w", [note()])
    release.join()
    assert len(log.get_call(CALL).events) == 1
    other.close()
    log.close()


def test_a_lock_that_outlives_the_timeout_is_tried_again_and_never_shown(
    tmp_path, monkeypatch, capfd, caplog
):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.01)
    log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.1, other.execute, ["COMMIT"])
    release.start()
    log.apply("w", [note()])
    release.join()
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(engine, "ATTEMPTS", 2)
    with pytest.raises(StoreUnavailable):
        log.apply("w", [note(2)])
    other.close()
    log.close()
    assert "".join(capfd.readouterr()) + caplog.text == ""


def test_a_batch_is_written_whole_or_not_at_all(tmp_path):
    log = CallLog.open(f"sqlite:///{tmp_path}/calls.db")
    with log.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER stop BEFORE INSERT ON call_events WHEN NEW.seq = 2 "
                "BEGIN SELECT RAISE(ABORT, 'stop'); END"
            )
        )
    with pytest.raises(EventRefused, match="stop"):
        log.apply("w", [note(1), note(2)])
    assert log.list_calls() == []
    log.apply("w", [note(1), note(3)])
    assert len(log.get_call(CALL).events) == 2
    log.close()


def test_errors_hide_the_password_and_the_words_of_callers(postgres_url):
    password = make_url(postgres_url).password
    wrong = postgres_url.replace(password, "not-the-password")
    with pytest.raises(StoreUnavailable) as refused:
        CallLog.open(wrong)
    shown = f"{refused.value} {refused.value.__cause__}"
    assert "not-the-password" not in shown
    assert ":***@" in shown
    log = CallLog.open(postgres_url)
    with log.engine.begin() as connection:
        connection.execute(text("ALTER TABLE call_events ADD CHECK (name <> 'my secret')"))
    with pytest.raises(EventRefused) as failed:
        log.apply("w", [CallNote(call_id=CALL, seq=1, name="my secret")])
    assert "my secret" not in str(failed.value)
    log.close()


def test_no_server_is_unavailable():
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/"):
        CallLog.open("postgresql://u:secret@127.0.0.1:1/calls")


def test_a_connection_that_the_server_dropped_is_replaced_unnoticed(postgres_url, postgres_server):
    log = CallLog.open(postgres_url)
    log.apply("w", [note()])
    other = CallLog.open(postgres_url)
    with other.engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.close()
    log.apply("w", [note(2)])
    assert log.end_call(CALL, EndReason.SILENCE)
    log.close()
