"""What a restore refuses, and that it changes nothing then; what the command says."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from agent.call import EndReason
from agent.errors import StartError, StoreError, StoreTooNew
from agent.ledger import Presence
from agent.start import check_restored
from agent.store import CallLog, engine, migrate
from ops.__main__ import app
from ops.serve import app as serving
from ops.upkeep import swap
from ops.upkeep.backup import verify
from ops.upkeep.sealed import BackupError
from ops.upkeep.shelf import Shelf
from tests import backups
from tests.backups import (
    CALL,
    KEY,
    WORDS,
    bring_back,
    files_of,
    make,
    rows,
    url_of,
    wipe,
)

pytest_plugins = ["tests.installed"]

AUDIT = ("audit_log",)


def test_while_a_worker_or_another_process_is_there_nothing_is_done(installed):
    settings = backups.settings(installed)
    make(settings)
    before = files_of(installed), rows(url_of(installed))
    worker = Presence(installed / "data" / "run")
    worker.announce()
    with pytest.raises(BackupError, match="in use by 1 processes"):
        bring_back(settings)
    worker.leave()
    log = CallLog.open(url_of(installed))
    log.list_calls()
    with pytest.raises(StoreError, match="another process has it open"):
        bring_back(settings)
    log.close()
    assert (files_of(installed), rows(url_of(installed))) == before
    bring_back(settings)


def test_a_control_plane_is_seen_too(installed):
    settings = backups.settings(installed)
    make(settings)
    with TestClient(serving(settings)), pytest.raises(BackupError, match="in use by 1 processes"):
        bring_back(settings)
    bring_back(settings)


def test_a_wrong_key_damage_and_a_newer_schema_are_refused_and_nothing_is_changed(installed):
    settings = backups.settings(installed)
    made = make(settings)
    before = files_of(installed), rows(url_of(installed))
    whole = made.backup.path.read_bytes()
    with pytest.raises(BackupError, match="another key"):
        bring_back(settings, key="x" * 20)
    made.backup.path.write_bytes(whole[:-5])
    with pytest.raises(BackupError, match="damaged"):
        bring_back(settings)
    made.backup.path.unlink()

    raw = sqlite3.connect(installed / "data" / "calls.db")
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.commit()
    raw.close()
    with pytest.raises(StoreTooNew, match="9999"):
        make(settings)
    make(settings, ("config",))
    with pytest.raises(BackupError, match="has no recordings"):
        bring_back(settings, parts=("recordings",))
    raw = sqlite3.connect(installed / "data" / "calls.db")
    raw.execute("UPDATE alembic_version SET version_num = ?", (migrate.head(),))
    raw.commit()
    raw.close()
    assert (files_of(installed), rows(url_of(installed))) == before


def test_a_backup_of_a_newer_schema_is_refused(installed, monkeypatch):
    settings = backups.settings(installed)
    make(settings)
    wipe(installed)
    monkeypatch.setattr(migrate, "head", lambda: "0001")
    with pytest.raises(StoreTooNew, match="restore it with that release"):
        bring_back(settings)
    assert files_of(installed) == {}


def test_a_backup_of_another_kind_of_database_is_refused(installed):
    settings = backups.settings(installed)
    make(settings, ("database",))
    url = "postgresql://nobody@127.0.0.1:9/calls"
    other = backups.settings(installed, VOICE_AGENT__STORE__URL=url)
    with pytest.raises(StoreError):
        bring_back(other)


def test_an_older_schema_is_brought_up_to_date(installed):
    settings = backups.settings(installed)
    (installed / "data" / "calls.db").unlink()
    opened = engine.open_engine(url_of(installed))
    engine.write(opened, lambda connection: migrate.upgrade_to(connection, "0004"))
    opened.dispose()
    raw = sqlite3.connect(installed / "data" / "calls.db")
    raw.execute("INSERT INTO calls (id, started_at) VALUES ('one', '2026-01-01 00:00:00.000000')")
    raw.commit()
    raw.close()
    made = make(settings)
    wipe(installed)
    bring_back(settings, made.backup.name)
    found = rows(url_of(installed))
    assert ([row[0] for row in found["calls"]], found["recording_log"]) == (["one"], [])


def test_one_that_fails_half_way_leaves_everything(installed, monkeypatch):
    settings = backups.settings(installed)
    make(settings)
    (installed / "etc" / "agent.yaml").write_text("call: {caller_timeout: 44}\n")
    (installed / "kept" / f"{CALL}-own.ogg").unlink()
    log = CallLog.open(url_of(installed))
    log.end_call(backups.OPEN, EndReason.CALLER_LOST)
    log.close()
    before = files_of(installed), rows(url_of(installed))
    real = swap.sync

    def full(folder):
        if folder == installed / "kept":
            raise OSError(28, "No space left on device", str(folder))
        real(folder)

    monkeypatch.setattr(swap, "sync", full)
    with pytest.raises(BackupError, match="all was put back"):
        bring_back(settings)
    assert (files_of(installed), rows(url_of(installed))) == before
    assert not list(installed.rglob("*.new")) + list(installed.rglob("*.old"))


def test_one_that_is_killed_half_way_is_undone_by_the_next(installed, monkeypatch):
    settings = backups.settings(installed)
    made = make(settings)
    (installed / "etc" / "agent.yaml").write_text("call: {caller_timeout: 44}\n")
    (installed / "logs" / "worker.log").unlink()
    before = files_of(installed), rows(url_of(installed))

    class Killed(BaseException):
        pass

    def killed(_folder):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(swap.Swap, "undo", lambda _self: None)
        patch.setattr(swap, "sync", lambda folder: None if folder == settings.backup.folder
                      else killed(folder))  # fmt: skip
        with pytest.raises(Killed):
            bring_back(settings)
    assert files_of(installed) != before[0]
    journal = settings.backup.journal
    assert swap.recover(journal)
    assert (files_of(installed), rows(url_of(installed))) == before
    assert not swap.recover(journal)
    bring_back(settings, made.backup.name)
    assert (installed / "etc" / "agent.yaml").read_text() == "call: {caller_timeout: 31}\n"


def cut_off(settings, monkeypatch):
    """A restore that is killed when all files have changed their places."""

    class Killed(BaseException):
        pass

    def settle(_self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(swap.Swap, "settle", settle)
        with pytest.raises(Killed):
            bring_back(settings)
    return settings.backup.journal


def test_one_that_was_killed_is_not_undone_under_a_worker(installed, monkeypatch):
    settings = backups.settings(installed)
    make(settings)
    (installed / "etc" / "agent.yaml").write_text("call: {caller_timeout: 44}\n")
    cut_off(settings, monkeypatch)
    with pytest.raises(StartError, match="a restore goes on or was cut off"):
        check_restored(settings)
    there = files_of(installed)
    worker = Presence(installed / "data" / "run")
    worker.announce()
    with pytest.raises(BackupError, match="in use by 1 processes"):
        bring_back(settings)
    worker.leave()
    assert files_of(installed) == there
    bring_back(settings)
    check_restored(settings)


def test_what_was_written_after_one_that_was_killed_is_not_lost(installed, monkeypatch):
    settings = backups.settings(installed)
    make(settings)
    (installed / "data" / "caller_salt").write_bytes(b"other")
    journal = cut_off(settings, monkeypatch)
    log = CallLog.open(url_of(installed))
    log.audit("somebody", "call", "of a week", "here")
    log.close()
    there = files_of(installed), rows(url_of(installed))
    with pytest.raises(BackupError, match="was written since a restore was cut off"):
        bring_back(settings)
    assert journal.exists()
    assert (files_of(installed), rows(url_of(installed))) == there


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("config/personas/../../../evil.yaml", tarfile.REGTYPE),
        ("/etc/evil", tarfile.REGTYPE),
        ("config/personas/a/./b.yaml", tarfile.REGTYPE),
        ("config/personas/evil.yaml", tarfile.SYMTYPE),
        ("config/personas/evil.yaml", tarfile.LNKTYPE),
        ("config/personas/evil.yaml", tarfile.CHRTYPE),
        ("config/personas/evil.yaml", tarfile.FIFOTYPE),
        ("config/nowhere/evil.yaml", tarfile.REGTYPE),
        ("config/checkout/evil.py", tarfile.REGTYPE),
        ("config/personas/.evil.yaml", tarfile.REGTYPE),
        ("config/personas/.evil/en.yaml", tarfile.REGTYPE),
        ("database/snapshot/sub/calls.db", tarfile.REGTYPE),
    ],
)
def test_an_archive_that_means_harm_does_none(installed, name, kind):
    settings = backups.settings(installed)
    before = files_of(installed)
    settings.backup.folder.mkdir()
    path = settings.backup.folder / "voice-20261101T020000Z-config+database.tar.gz"
    content = b"evil" if kind == tarfile.REGTYPE else b""
    entry = {"name": name, "size": len(content), "mode": 0o4777, "mtime_ns": 0}
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    with gzip.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        about = {"format": 1, "parts": ["config"]}
        for member, text in (("about.json", about), (name, None), ("manifest.json", [entry])):
            info = tarfile.TarInfo(member)
            told = {"files": text} if isinstance(text, list) else text
            data = content if text is None else json.dumps(told).encode()
            if text is None:
                info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises((BackupError, StoreError)):
        bring_back(settings)
    assert files_of(installed) == before
    assert not list(installed.rglob("evil*"))


def test_what_only_says_by_its_name_that_it_is_encrypted_is_refused(installed):
    open_one = make(backups.settings(installed, VOICE_AGENT__BACKUP__KEY="")).backup.path
    settings = backups.settings(installed)
    sealed = make(settings).backup
    sealed.path.write_bytes(open_one.read_bytes())
    before = files_of(installed), rows(url_of(installed))
    with pytest.raises(BackupError, match="not encrypted, though its name says so"):
        bring_back(settings, sealed.name)
    with pytest.raises(BackupError, match="not encrypted, though its name says so"):
        verify(sealed, KEY)
    assert (files_of(installed), rows(url_of(installed))) == before


def test_without_a_key_the_present_is_not_thrown_away_unasked(installed):
    settings = backups.settings(installed, VOICE_AGENT__BACKUP__KEY="")
    make(settings)
    with pytest.raises(BackupError, match="--discard-present"):
        bring_back(settings, key="")
    done = bring_back(settings, key="", discard=True)
    assert any("transcripts are not in this backup" in note for note in done.notes)
    turns = rows(url_of(installed))["turns"]
    assert (len(turns), any(WORDS in row for row in turns)) == (3, False)


def test_a_damaged_database_can_be_replaced_when_that_is_asked_for(installed):
    settings = backups.settings(installed)
    make(settings)
    had = rows(url_of(installed), without=AUDIT)
    (installed / "data" / "calls.db").write_bytes(b"not a database, " * 1000)
    with pytest.raises(BackupError, match="--discard-present"):
        bring_back(settings)
    done = bring_back(settings, discard=True)
    assert any("cannot be read" in note for note in done.notes)
    assert rows(url_of(installed), without=AUDIT) == had


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_restores_for_the_user_of_the_worker(installed):
    settings = backups.settings(installed)
    make(settings)
    wipe(installed)
    os.chown(installed, 12345, 12345)
    bring_back(settings)
    made = [installed / "data" / "calls.db", installed / "kept" / "hls" / "0001.ts"]
    made += [path.parent for path in made]
    assert [path.stat().st_uid for path in made] == [12345] * 4


def test_even_the_configuration_may_be_gone(installed):
    env = backups.variables(installed)
    make(backups.settings(installed))
    files = files_of(installed)
    wipe(installed)
    told = CliRunner().invoke(app, ["restore", "latest", "--yes"], env=env)
    assert "python -m ops restore latest --what config" in str(told.exception)
    assert "voice-" in CliRunner().invoke(app, ["backup", "list"], env=env).output
    for options in (["--what", "config"], []):
        told = CliRunner().invoke(app, ["restore", "latest", "--yes", *options], env=env)
        assert told.exit_code == 0, told.exception
    assert files_of(installed) == files


def test_the_command_asks_and_tells(installed):
    env = backups.variables(installed)
    make(backups.settings(installed))
    name = Shelf(installed / "backups").listed()[0].name
    told = CliRunner().invoke(app, ["restore", "latest"], env=env, input="n\n")
    assert "nothing was changed" in str(told.exception)
    told = CliRunner().invoke(app, ["restore", "latest", "--yes"], env=env)
    assert (told.exit_code, told.output.startswith(f"restored {name}")) == (0, True)
    (installed / "key").write_text(KEY + "\n")
    changed = {**env, "VOICE_AGENT__BACKUP__KEY": "another-key-than-before"}
    command = ["restore", name, "--yes", "--json", "--what", "config,logs"]
    told = CliRunner().invoke(app, command, env=changed)
    assert "another key" in str(told.exception)
    told = CliRunner().invoke(app, [*command, "--key-file", str(installed / "key")], env=changed)
    assert json.loads(told.output)["restored"]["name"] == name
    told = CliRunner().invoke(app, ["restore", "nothing", "--yes"], env=env)
    assert "python -m ops backup list" in str(told.exception)
