"""Backups: what is in them, that they are whole, when old ones go, and what they never hold."""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import os
import re
import stat
import subprocess
import tarfile
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from typer.testing import CliRunner

from agent.call import now
from agent.errors import StoreUnavailable
from agent.store import CallLog, snapshot
from config.settings import ROOT
from ops.__main__ import app
from ops.upkeep import archive, sealed, shelf
from ops.upkeep.backup import parts_of, verify
from ops.upkeep.backup_age import BackupAge
from ops.upkeep.sealed import BackupError, SealedReader, SealedWriter
from ops.upkeep.shelf import Shelf
from ops.upkeep.sources import PARTS
from tests import backups
from tests.backups import CALL, KEY, WORDS, make

SECRETS = (b"APIold", b"a client's key", b"OggS", WORDS.encode(), b"salt\n")


def content(path, key=""):
    """Every file of an archive, by its name."""
    with path.open("rb") as file:
        plain = SealedReader(file, key) if key else file
        with tarfile.open(fileobj=gzip.GzipFile(fileobj=plain), mode="r|") as tar:
            return {one.name: tar.extractfile(one).read() for one in tar}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "SCRYPT_N", 1 << 8)  # a guess may be cheap here
    backups.fill(tmp_path)
    monkeypatch.setenv("VOICE_AGENT_CONFIG", str(tmp_path / "etc" / "agent.yaml"))
    return tmp_path


def test_everything_is_in_it_encrypted_and_for_its_owner_alone(installed):
    settings = backups.settings(installed)
    made = make(settings, PARTS)
    path = made.backup.path
    assert made.backup.parts == PARTS
    assert (made.backup.is_encrypted, stat.S_IMODE(path.stat().st_mode)) == (True, 0o600)
    raw = path.read_bytes()
    assert [word for word in SECRETS if word in raw] == []
    found = content(path, KEY)
    names = {name.split("/", 2)[1] for name in found if "/" in name}
    assert {"settings", "personas", "keys", "client_key", "spool", "caller_salt"} <= names
    assert found[f"recordings/store/{CALL}-own.ogg"] == b"OggS sound"
    assert found["recordings/store/hls/0001.ts"] == b"segment"
    assert WORDS.encode() in found["database/snapshot/calls.db"]
    assert verify(made.backup, KEY).about["parts"] == list(PARTS)
    assert sorted(Shelf(settings.backup.folder).told()) == list(PARTS)
    assert not list((installed / "data").glob(".upkeep-*"))


def test_without_a_key_what_must_be_secret_is_left_out_and_that_is_said(installed):
    made = make(backups.settings(installed, VOICE_AGENT__BACKUP__KEY=""), PARTS)
    assert (made.backup.is_encrypted, made.backup.parts) == (False, ("config", "database", "logs"))
    assert any("backup.key is not set" in note for note in made.notes)
    found = content(made.backup.path)
    labels = {name.split("/")[1] for name in found if "/" in name}
    assert not labels & {"keys", "client_key", "spool", "caller_salt", "store", "env", "tls_key"}
    everything = b"".join(found.values())
    assert [word for word in SECRETS if word in everything] == []
    assert b"room-e1e1" in found["database/snapshot/calls.db"]


def test_a_damaged_or_shortened_backup_is_known_for_one(installed):
    for key in (KEY, ""):
        settings = backups.settings(installed, VOICE_AGENT__BACKUP__KEY=key)
        made = make(settings, ("config", "logs"))
        whole = made.backup.path.read_bytes()
        middle = len(whole) // 2
        for bad in (
            whole[:-1],
            whole[:middle],
            whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            b"",
        ):
            made.backup.path.write_bytes(bad)
            with pytest.raises(BackupError, match=re.escape(made.backup.name)):
                verify(made.backup, key)
        made.backup.path.unlink()


def test_another_key_and_no_key_are_told_apart_from_damage(installed):
    made = make(backups.settings(installed), ("config",))
    with pytest.raises(BackupError, match="another key"):
        verify(made.backup, "x" * 20)
    with pytest.raises(BackupError, match=r"set backup\.key"):
        verify(made.backup, "")


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 207])
def test_a_sealed_stream_comes_back_and_none_of_its_pieces_can_go(size, monkeypatch):
    monkeypatch.setattr(sealed, "SCRYPT_N", 1 << 8)
    monkeypatch.setattr(sealed, "CHUNK", 100)
    data = os.urandom(size)
    out = io.BytesIO()
    writer = SealedWriter(out, KEY)
    for start in range(0, size, 33):
        writer.write(data[start : start + 33])
    writer.finish()
    whole = out.getvalue()
    reader = SealedReader(io.BytesIO(whole), KEY)
    assert b"".join(iter(lambda: reader.read(7), b"")) == data
    head = len(whole) - size - 16 * max(1, -(-size // 100))
    first = whole[head : head + 116]
    for bad in (
        whole[: head + 116],
        whole[:head] + whole[head + 116 :],
        whole + first,
        whole[:head] + first + whole[head:],
        whole[:-1],
    ):
        if bad != whole:
            with pytest.raises(BackupError, match="damaged"):
                SealedReader(io.BytesIO(bad), KEY).read()


def test_two_streams_with_one_key_share_nothing():
    def sealed():
        out = io.BytesIO()
        writer = SealedWriter(out, KEY)
        writer.write(b"x" * 1000)
        writer.finish()
        return out.getvalue()

    one, other = sealed(), sealed()
    assert one[-1000:] != other[-1000:]


def test_the_old_go_only_when_every_part_of_them_is_in_a_newer_one(tmp_path):
    kept = Shelf(tmp_path)
    at = datetime(2026, 11, 21, tzinfo=UTC)
    for name in (
        "voice-20260901T040000Z-config+recordings.tar.gz.sealed",
        "voice-20260902T040000Z-config+recordings.tar.gz.sealed",
        "voice-20261001T020000Z-config.tar.gz.sealed",
        "voice-20261002T030000Z-database.tar.gz.sealed",
        "voice-20261120T020000Z-config.tar.gz.sealed",
        "voice-20261120T030000Z-database.tar.gz",
    ):
        (tmp_path / name).touch()
    gone = [one.name for one in kept.outdated(30, at)]
    # The newest recordings stay, and so does the only database that is encrypted.
    assert gone == ["voice-20260901T040000Z-config+recordings", "voice-20261001T020000Z-config"]


def test_old_ones_are_removed_after_the_new_one_was_read_back(installed, monkeypatch):
    settings = backups.settings(installed)
    settings.backup.folder.mkdir()
    old = settings.backup.folder / "voice-20260101T020000Z-config.tar.gz.sealed"
    old.touch()

    def broken(*_, **__):
        raise BackupError("it is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(archive, "read", broken)
        with pytest.raises(BackupError):
            make(settings, ("config",))
    assert sorted(path.name for path in settings.backup.folder.iterdir()) == [".lock", old.name]
    assert make(settings, ("config",)).removed == ["voice-20260101T020000Z-config"]
    assert not old.exists()


def test_two_at_once_and_a_full_disk_are_refused_in_a_line(installed, monkeypatch):
    settings = backups.settings(installed)
    settings.backup.folder.mkdir()
    env = backups.variables(installed)
    with (settings.backup.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = CliRunner().invoke(app, ["backup"], env=env)
    assert "another backup, restore or cleanup" in str(told.exception)
    usage = type("Usage", (), {"free": 10 << 20})
    monkeypatch.setattr(shelf.shutil, "disk_usage", lambda _: usage)
    told = CliRunner().invoke(app, ["backup"], env=env)
    assert "10 MB are free" in str(told.exception)
    assert Shelf(settings.backup.folder).listed() == []


def test_a_fresh_install_has_no_calls_yet(tmp_path):
    backups.configure(tmp_path)
    env = backups.variables(tmp_path)
    told = CliRunner().invoke(app, ["backup", "--what", "database,recordings"], env=env)
    assert (told.exit_code, "no calls yet" in told.output) == (0, True)
    assert "no backups yet" in CliRunner().invoke(app, ["backup", "list"], env=env).output
    assert json.loads(CliRunner().invoke(app, ["backup", "list", "--json"], env=env).output) == []
    told = CliRunner().invoke(app, ["backup", "verify", "latest"], env=env)
    assert "no backup latest" in str(told.exception)


def test_the_commands_tell_people_and_machines(installed):
    env = backups.variables(installed)
    told = json.loads(CliRunner().invoke(app, ["backup", "--json"], env=env).output)
    name = told["backup"]["name"]
    assert told["parts"]["recordings"]["files"] == 3
    told = CliRunner().invoke(app, ["backup", "list"], env=env).output
    assert (name in told, "encrypted" in told) == (True, True)
    told = CliRunner().invoke(app, ["backup", "verify", name[6:20]], env=env).output
    assert told.startswith(f"{name} is whole")
    told = CliRunner().invoke(app, ["backup", "verify", "latest", "--json"], env=env).output
    assert json.loads(told)["whole"] is True
    told = CliRunner().invoke(app, ["backup", "--what", "photos"], env=env)
    assert "photos is none of config, database, logs, recordings" in str(told.exception)


def test_parts_are_taken_in_our_order():
    assert parts_of("logs, config") == ("config", "logs")
    assert parts_of("") == PARTS


def test_a_database_that_is_away_is_a_line(installed):
    url = "postgresql://nobody:hush@127.0.0.1:9/calls"
    settings = backups.settings(installed, VOICE_AGENT__STORE__URL=url)
    with pytest.raises(StoreUnavailable) as told:
        make(settings, ("database",))
    assert ("hush" in str(told.value), "\n" in str(told.value)) == (False, False)


def test_links_and_what_is_hidden_are_no_part_of_it(installed):
    (installed / "kept" / "link.ogg").symlink_to("/etc/hostname")
    (installed / "kept" / ".hidden").write_text("x")
    os.mkfifo(installed / "logs" / "pipe.log")
    made = make(backups.settings(installed), ("recordings", "logs"))
    names = set(content(made.backup.path, KEY))
    assert not {name for name in names if "link" in name or "hidden" in name or "pipe" in name}


def test_deleted_rows_are_not_in_the_copy(installed, tmp_path):
    url = f"sqlite:///{installed}/data/calls.db"
    log = CallLog.open(url)
    log.audit("x", "very-telling-words", "", "")
    log.close()
    (tmp_path / "copy").mkdir()
    files = snapshot.take(url, tmp_path / "copy", words=False)
    assert b"very-telling-words" in files[1].read_bytes()
    assert WORDS.encode() not in files[1].read_bytes()


def test_the_age_of_backups_is_a_metric(tmp_path):
    collector = BackupAge(tmp_path)
    (family,) = collector.collect()
    assert family.samples == []
    at = now() - timedelta(hours=3)
    Shelf(tmp_path).tell(("config",), at)
    Shelf(tmp_path).tell(("database",), at + timedelta(hours=1))
    (family,) = collector.collect()
    values = {one.labels["what"]: one.value for one in family.samples}
    assert set(values) == {"config", "database"}
    assert values["database"] - values["config"] == 3600
    assert values["config"] == pytest.approx(at.timestamp(), abs=1)
    (tmp_path / "last.json").write_text('{"config": "yesterday", "room-17": "2026-01-01"}')
    (family,) = collector.collect()
    assert family.samples == []


@pytest.mark.needs("prometheus")
def test_the_alert_knows_how_often_each_part_is_due(tmp_path):
    file = ROOT / "ops" / "prometheus" / "rules" / "upkeep.yml"
    groups = yaml.safe_load(file.read_text())["groups"]
    alerts = {rule.get("alert"): rule for group in groups for rule in group["rules"]}
    name = "voice_backup_last_success_timestamp_seconds"
    due = {"database": (1, 2), "config": (1, 2), "recordings": (20, 33), "logs": (20, 33)}
    series = [
        {"series": f'{name}{{job="voice-ops",what="{part}"}}', "values": f"{-days * 86400}x40"}
        for part, (days, _) in due.items()
    ]
    late = [
        {"series": f'{name}{{job="voice-ops",what="{part}"}}', "values": f"{-days * 86400}x40"}
        for part, (_, days) in due.items()
    ]
    samples = [
        {"labels": f'{{what="{part}"}}', "value": days * 86400 + 1200}
        for part, (_, days) in due.items()
    ]
    cases = [
        {
            "interval": "1m",
            "input_series": given,
            "promql_expr_test": [
                {"expr": alerts["BackupOld"]["expr"], "eval_time": "20m", "exp_samples": expected}
            ],
        }
        for given, expected in ((series, []), (late, samples))
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": cases}))
    command = ["promtool", "test", "rules", str(tmp_path / "test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
