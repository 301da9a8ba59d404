"""A backup during ten running calls, everything deleted, and a restore: every row and file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agent.errors import StoreError
from tests import backups
from tests.backups import rows, tree, wipe
from tests.programs import eventually, rehearse, run, settings
from tests.recordings import persona

pytestmark = pytest.mark.acceptance

CALLS = 10
AUDIT = ("audit_log",)


def environment(folder):
    """Variables of a worker whose calls are recorded, and of its operator."""
    return {
        **settings(folder),
        **backups.variables(folder),
        "VOICE_AGENT__PERSONAS__FOLDER": str(folder / "etc" / "personas"),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{folder}/data/calls.db",
        "VOICE_AGENT__RECORDING__BY": "worker",
    }


def ops(folder, *arguments):
    """The JSON that `python -m ops ARGUMENTS` prints."""
    variables = environment(folder)
    done = run("-m", "ops", *arguments, "--json", variables=variables, within=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bring_back(folder, made):
    """Delete everything, and restore: the configuration first, which says where the rest goes."""
    wipe(folder)
    for options in (["--what", "config"], []):
        ops(folder, "restore", made["backup"]["name"], "--yes", *options)


def files_of(folder):
    """Everything but the database and the cache of phrases, which is made anew."""
    found = tree(*(folder / name for name in ("data", "etc", "kept")))
    cache = str(folder / "data" / "phrases")
    return {path: told for path, told in found.items() if not path.startswith(cache)}


def is_busy(folder):
    """The rows, once all calls go on and each caller has finished a turn."""
    try:
        found = rows(f"sqlite:///{folder}/data/calls.db")
    except StoreError:
        return None  # the worker has not made it yet
    going = len(list((folder / "kept").glob("*.part")))
    turns = {row[0] for row in found["turns"]}
    return found if (going, len(turns)) == (CALLS, CALLS) else None


async def test_ten_calls_go_on_during_a_backup_and_all_of_it_comes_back(tmp_path):
    url = f"sqlite:///{tmp_path}/data/calls.db"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "agent.yaml").write_text("call: {caller_timeout: 31}\n")
    persona(tmp_path / "etc" / "personas", "always")
    options = ("--scenario", "opening-hours", "--calls", str(CALLS))
    placed = asyncio.create_task(
        asyncio.to_thread(rehearse, tmp_path, *options, **environment(tmp_path)), name="calls"
    )
    before = await eventually(lambda: placed.done() or is_busy(tmp_path), "ten calls at once")
    assert not placed.done()
    during = await asyncio.to_thread(ops, tmp_path, "backup")
    after = rows(url)
    print(during)  # noqa: T201 - shown on failure
    summary, report = await placed
    assert (summary["calls"], summary["expectations_met"]) == (CALLS, True), report
    ended = ops(tmp_path, "backup")
    last, files = rows(url, without=AUDIT), files_of(tmp_path)
    assert len(last["calls"]) == len(list((tmp_path / "kept").glob("*.ogg"))) == CALLS

    bring_back(tmp_path, ended)
    assert rows(url, without=AUDIT) == last
    assert files_of(tmp_path) == files

    sounds = {path.name: path.read_bytes() for path in (tmp_path / "kept").glob("*.ogg")}
    bring_back(tmp_path, during)
    look_at_the_moment(rows(url), before, after, last)
    begun = {path.name: path.read_bytes() for path in (tmp_path / "kept").glob("*.part")}
    assert len(begun) == CALLS
    for name, sound in begun.items():
        assert sounds[Path(name).stem].startswith(sound)


def look_at_the_moment(then, before, after, last):
    """What came back is of one moment between two others, and nothing of it is half."""
    assert {row[0] for row in then["calls"]} == {row[0] for row in last["calls"]}
    events = set(map(repr, then["call_events"]))
    assert set(map(repr, before["call_events"])) <= events <= set(map(repr, after["call_events"]))
    committed = {
        (row[0], row[-1]["turn"]) for row in then["call_events"] if row[2] == "turn_committed"
    }
    assert {row[:2] for row in then["turns"]} == committed
