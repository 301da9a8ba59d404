"""Cleanup: a dry run by default, by kind and bytes; what a call uses is never touched."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import time
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from agent.call import EndReason, now
from agent.store import CallLog
from ops.__main__ import app
from ops.upkeep import cleanup
from tests import backups
from tests.backups import CALL, NUMBER, OPEN, call

OLD = time.time() - 40 * 86400
DEAD, LATE = "d1" * 16, "d2" * 16


def aged(path, content=b"line\n" * 1000, at=OLD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    backups.fill(tmp_path)
    monkeypatch.setenv("VOICE_AGENT_CONFIG", str(tmp_path / "etc" / "agent.yaml"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def invoke(folder, *options):
    return CliRunner().invoke(app, ["cleanup", *options], env=backups.variables(folder))


def by_kind(told):
    return {row["kind"]: (row["count"], row["bytes"]) for row in told["kinds"]}


@pytest.fixture
def recorded(installed):
    """A recording that is too old, and one as old of a call that goes on."""
    log = CallLog.open(f"sqlite:///{installed}/data/calls.db")
    at = now() - timedelta(days=100)
    done = aged(installed / "kept" / f"{DEAD}-own.ogg", b"12345")
    going = aged(installed / "kept" / f"{LATE}-own.ogg.part", b"12345")
    log.apply("w/1", call(DEAD, NUMBER, at, uri=done.as_uri()))
    uri = going.with_suffix("").as_uri()
    log.apply("w/1", call(LATE, NUMBER, at, ended=False, uri=uri)[:5])
    log.close()
    return done, going


def test_nothing_is_done_before_it_is_asked_for(installed, recorded):
    aged(installed / "logs" / "old.log")
    aged(installed / "data" / ".upkeep-abc" / "0", b"123")
    os.utime(installed / "data" / ".upkeep-abc", (OLD, OLD))
    before = backups.tree(*(installed / name for name in ("data", "kept", "logs")))
    told = json.loads(invoke(installed, "--json").output)
    assert told["done"] is False
    assert by_kind(told) == {"logs": (1, 5000), "recordings": (2, 5), "temporary": (1, 3)}
    assert backups.tree(*(installed / name for name in ("data", "kept", "logs"))) == before
    assert "nothing was changed: --yes does it" in invoke(installed).output


def test_an_old_log_is_compressed_and_a_live_one_is_not(installed):
    old = aged(installed / "logs" / "worker.log.1")
    quiet = aged(installed / "logs" / "quiet.log")
    young = aged(installed / "logs" / "young.log", at=time.time() - 86400)
    other = aged(installed / "logs" / "picture.png")
    with quiet.open("ab"):
        told = json.loads(invoke(installed, "--yes", "--json").output)
    assert [item["what"] for item in told["items"]] == [str(old)]
    (packed,) = (installed / "logs").glob("*.gz")
    assert gzip.decompress(packed.read_bytes()) == b"line\n" * 1000
    assert packed.stat().st_mtime == pytest.approx(OLD, abs=1)
    assert (old.exists(), quiet.exists(), young.exists(), other.exists()) == (False, *[True] * 3)
    assert told["kinds"][0]["freed"] == 5000 - packed.stat().st_size
    # A second time there is nothing left to do.
    quiet.unlink()
    assert invoke(installed, "--yes").output == "nothing to clear up\n"


def test_recordings_go_by_the_one_rule_and_those_of_open_calls_stay(installed, recorded):
    done, going = recorded
    told = invoke(installed, "--yes", "--json")
    # One could not be deleted yet: somebody may want to know.
    assert told.exit_code == 1
    rows = {item["what"]: item for item in json.loads(told.output)["items"]}
    assert rows[f"{DEAD}-own"]["freed"] == 5
    assert (rows[f"{LATE}-own"]["freed"], rows[f"{LATE}-own"]["why"]) == (None, "it goes on")
    assert (done.exists(), going.exists()) == (False, True)
    assert (installed / "kept" / f"{CALL}-own.ogg").exists()
    log = CallLog.open(f"sqlite:///{installed}/data/calls.db")
    assert log.audit_trail()[0].what == "cleanup"
    assert {row.id for row in log.list_calls(is_open=True)} == {LATE, OPEN}
    log.end_call(LATE, EndReason.CALLER_HANGUP)
    log.close()


def test_leftovers_go_when_they_are_a_day_old_ours_and_unused(installed):
    data, temporary = installed / "data", installed / "tmp"
    gone = [
        aged(data / f"caller_salt.{'a' * 32}"),
        aged(temporary / "rehearsal-abcd1234" / "en.yaml"),
        aged(data / "keys" / f".APIx.key.{'b' * 32}"),
    ]
    stay = [
        aged(data / f"caller_salt.{'c' * 32}", at=time.time()),
        aged(temporary / "line-somebody-else"),
        aged(temporary / "line-abcd1234" / "wire"),
        aged(data / "spool" / f"{'cd' * 16}.jsonl"),
        aged(temporary / "rehearsal-abcd5678" / "new", at=time.time()),
        data / "keys" / "APIold.key",
    ]
    for folder in temporary.iterdir():
        if folder.is_dir():
            os.utime(folder, (OLD, OLD))
    (temporary / "rehearsal-link1234").symlink_to(temporary / "rehearsal-abcd1234")
    with stay[2].open("rb"):
        told = json.loads(invoke(installed, "--yes", "--json").output)
    assert by_kind(told)["temporary"][0] == 3
    assert [path for path in gone if path.exists()] == []
    assert [path for path in stay if not path.exists()] == []


def test_a_log_that_is_written_while_it_is_compressed_stays(installed, monkeypatch):
    log = aged(installed / "logs" / "old.log")
    real = cleanup.sum_of

    def written(file):
        with log.open("ab") as late:
            late.write(b"late\n")
        monkeypatch.setattr(cleanup, "sum_of", real)
        return real(file)

    monkeypatch.setattr(cleanup, "sum_of", written)
    told = invoke(installed, "--yes", "--json")
    assert told.exit_code == 1
    assert log.read_bytes().endswith(b"late\n")
    assert list((installed / "logs").glob(".*")) + list((installed / "logs").glob("*.gz")) == []


def test_a_fresh_install_has_nothing_to_clear_up(tmp_path, monkeypatch):
    backups.configure(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    told = invoke(tmp_path, "--yes")
    assert (told.exit_code, told.output) == (0, "nothing to clear up\n")
    assert not (tmp_path / "data" / "calls.db").exists()
