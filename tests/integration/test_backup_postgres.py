"""Backup and restore of a real PostgreSQL, while somebody writes to it."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from agent.call import now
from agent.errors import StoreError, StoreUnavailable
from agent.store import CallLog
from agent.store.forgetting import Forgetting, Tombstone
from ops.__main__ import app
from ops.upkeep import restore as restoring
from ops.upkeep import sealed
from ops.upkeep.sealed import BackupError
from ops.upkeep.shelf import Shelf
from tests import backups
from tests.backups import KEY, NOON, NUMBER, OTHER, WORDS, Pseudonyms, call, make, rows, wipe
from tests.programs import run

pytest_plugins = ["tests.postgres"]

LINE = {"who": "somebody", "what": "restore", "object": "x", "source": "here"}
AUDIT = ("audit_log",)


@pytest.fixture
def installed(tmp_path, monkeypatch, postgres_url):
    monkeypatch.setattr(sealed, "SCRYPT_N", 1 << 8)
    monkeypatch.setenv("VOICE_AGENT_CONFIG", str(tmp_path / "etc" / "agent.yaml"))
    backups.fill(tmp_path, postgres_url)
    return backups.settings(tmp_path, VOICE_AGENT__STORE__URL=postgres_url)


def bring_back(settings, name="latest", key=KEY, **more):
    shelf = Shelf(settings.backup.folder)
    with shelf.locked():
        return restoring.restore(settings, shelf.find(name), key, LINE, **more)


def drop_all(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


class Writer:
    """Applies one call after another, each in one transaction, until it is stopped."""

    def __init__(self, url):
        self._log = CallLog.open(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")
        self.begun = threading.Event()
        self.written = 0

    def __enter__(self):
        self._thread.start()
        assert self.begun.wait(30)
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        self._log.close()

    def _write(self):
        while not self._stop.is_set():
            self._log.apply("w/1", call(f"{self.written:032x}", OTHER, NOON))
            self.written += 1
            if self.written == 20:
                self.begun.set()


def test_a_backup_while_somebody_writes_is_of_one_moment_and_comes_back(installed):
    url = installed.store.url
    with Writer(url) as writer:
        least = writer.written
        made = make(installed)
        most = writer.written + 1
        until = time.monotonic() + 30
        while writer.written < most + 5 and time.monotonic() < until:
            time.sleep(0.01)
    assert writer.written >= most + 5, "nobody was kept from writing"
    all_rows = rows(url, without=AUDIT)
    drop_all(url)
    wipe(installed.data.folder.parent)

    bring_back(installed, made.backup.name)
    found = rows(url, without=AUDIT)
    calls = {row[0] for row in found["calls"]}
    assert least <= len(calls) - 3 <= most
    # Every row is as it was written, and no call is there by half.
    for table, then in found.items():
        assert set(map(repr, then)) <= set(map(repr, all_rows[table])), table
    assert len(found["turns"]) == len(calls)
    assert len(found["call_events"]) == 5 * len(calls) + 1  # one was recorded, one goes on
    log = CallLog.open(url)
    log.audit("somebody", "goes on", "", "")  # numbers go on after those that came back
    assert [row.what for row in log.audit_trail()] == ["goes on", "restore", "sip.create"]
    log.close()


def test_the_present_is_backed_up_and_what_was_forgotten_stays_so(installed):
    url = installed.store.url
    made = make(installed)
    log = CallLog.open(url)
    name = Pseudonyms(b"salt").of_number(NUMBER)
    Forgetting(log.engine).bury(Tombstone(name, now()))
    log.apply("w/1", call("f1" * 16, OTHER, NOON))
    log.close()
    later = rows(url, without=AUDIT)
    done = bring_back(installed, made.backup.name)
    assert done.kept.forgotten == [name]
    calls = {row[0] for row in rows(url)["calls"]}
    assert calls == {backups.LATER, backups.OPEN}
    bring_back(installed, done.before.name)
    with_stone = rows(url, without=AUDIT)
    assert with_stone["tombstones"] == later["tombstones"]
    assert {row[0] for row in with_stone["calls"]} == {*calls, "f1" * 16}


def test_while_others_are_connected_nothing_is_done(installed):
    made = make(installed)
    had = rows(installed.store.url)
    log = CallLog.open(installed.store.url)
    log.list_calls()
    with pytest.raises(StoreError, match="1 other connections are open"):
        bring_back(installed, made.backup.name)
    log.close()
    assert rows(installed.store.url) == had


def test_one_that_fails_at_the_last_moment_changes_no_row(installed, monkeypatch):
    made = make(installed)
    log = CallLog.open(installed.store.url)
    log.apply("w/1", call("f1" * 16, OTHER, NOON))
    log.close()
    had = rows(installed.store.url)

    def full(_swap):
        raise BackupError("no space left on device")

    monkeypatch.setattr(restoring.Swap, "run", full)
    with pytest.raises(BackupError, match="no space"):
        bring_back(installed, made.backup.name)
    assert rows(installed.store.url) == had


def test_without_a_key_no_word_of_anybody_is_in_it(installed):
    unsealed = installed.backup.model_copy(update={"key": SecretStr("")})
    settings = installed.model_copy(update={"backup": unsealed})
    made = make(settings)
    assert WORDS.encode() not in made.backup.path.read_bytes()
    drop_all(installed.store.url)
    wipe(installed.data.folder.parent)
    bring_back(settings, made.backup.name, key="")
    turns = rows(installed.store.url)["turns"]
    assert (len(turns), any(WORDS in row for row in turns)) == (3, False)


def test_each_command_says_in_a_line_that_the_database_is_away(tmp_path):
    backups.configure(tmp_path)
    away = "postgresql://nobody:hush@127.0.0.1:9/calls"
    variables = backups.variables(tmp_path, VOICE_AGENT__STORE__URL=away)
    done = run("-m", "ops", "backup", variables=variables, within=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("error: postgresql+psycopg://nobody:***@127.0.0.1:9/calls")
    told = CliRunner().invoke(app, ["cleanup"], env=variables)
    assert isinstance(told.exception, StoreUnavailable)
    # Configuration can be had back without a database.
    CliRunner().invoke(app, ["backup", "--what", "config"], env=variables)
    (tmp_path / "etc" / "agent.yaml").write_text("call: {caller_timeout: 44}\n")
    told = CliRunner().invoke(app, ["restore", "latest", "--yes"], env=variables)
    assert told.exit_code == 0, told.exception
    assert "not in the audit trail" in told.output
    assert (tmp_path / "etc" / "agent.yaml").read_text() == "call: {caller_timeout: 31}\n"
