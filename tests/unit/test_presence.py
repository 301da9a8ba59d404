"""Workers of one folder know which of them are gone, also those that were killed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.ledger import Presence

ROOT = Path(__file__).parents[2]

OTHER_WORKER = """
import sys
from pathlib import Path
from agent.ledger import Presence
presence = Presence(Path(sys.argv[1]))
presence.announce()
print(presence.worker_id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def presence(tmp_path):
    presence = Presence(tmp_path / "run")
    presence.announce()
    yield presence
    presence.leave()


@pytest.fixture
def other(tmp_path):
    """Another worker's process, and its id."""
    command = [sys.executable, "-c", OTHER_WORKER, str(tmp_path / "run")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_living_worker_is_not_gone_and_a_killed_one_is(presence, other):
    process, worker_id = other
    assert not presence.is_gone(worker_id)
    process.kill()
    process.wait()
    assert presence.is_gone(worker_id)


def test_a_worker_that_left_is_gone(presence, tmp_path):
    early = Presence(tmp_path / "run")
    early.announce()
    assert not presence.is_gone(early.worker_id)
    early.leave()
    early.leave()
    assert presence.is_gone(early.worker_id)


def test_a_worker_is_not_gone_for_itself(presence):
    assert not presence.is_gone(presence.worker_id)


def test_of_other_hosts_and_folders_nothing_is_known(presence, tmp_path):
    elsewhere = Presence(tmp_path / "elsewhere")
    elsewhere.announce()
    for unknown in (elsewhere.worker_id, "another-host/0123456789ab", "", "nobody"):
        assert not presence.is_gone(unknown)
    elsewhere.leave()


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Presence(tmp_path / "file" / "run").announce()


def test_old_locks_of_workers_that_are_gone_are_swept_and_others_stay(tmp_path):
    gone, alive, young = tmp_path / "gone.lock", tmp_path / "alive.lock", tmp_path / "young.lock"
    for path in (gone, alive, young):
        path.touch()
    for path in (gone, alive):
        os.utime(path, (0, 0))
    with alive.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        Presence(tmp_path).sweep()
    assert not gone.exists()
    assert alive.exists()
    assert young.exists()
