"""What automatic recovery does: `ops recover` in a process of its own, told in a line."""

from __future__ import annotations

import sys

import pytest

from ops.incidents import healing

REDIS = {"redis": "no answer"}
STEP = {"step": "reconnect", "outcome": "done", "told": "", "commands": [], "ill": []}


def outcome(before, after, *steps, healed_by=""):
    return {
        "before": before,
        "after": after,
        "steps": steps,
        "healed_by": healed_by,
        "well": not after,
    }


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (outcome({}, {}), "nothing was ill"),
        (outcome(REDIS, {}, STEP, healed_by="reconnect"), "reconnect done: healed by reconnect"),
        (
            outcome(REDIS, REDIS, STEP, {**STEP, "step": "reload", "outcome": "failed"}),
            "reconnect done, reload failed: something is ill still",
        ),
    ],
)
def test_an_outcome_is_a_line(told, line):
    assert healing.summary(told) == line


async def test_a_refusal_is_told_in_its_own_words(monkeypatch):
    program = "import sys; sys.exit(print('error: another recovery runs', file=sys.stderr) or 2)"
    monkeypatch.setattr(healing, "COMMAND", (sys.executable, "-c", program))
    assert await healing.recover(None) == "not possible: error: another recovery runs"


async def test_the_command_is_the_operators_own(monkeypatch, tmp_path):
    monkeypatch.setenv("VOICE_AGENT__DATA__FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("VOICE_AGENT__STORE__URL", f"sqlite:///{tmp_path}/calls.db")
    line = await healing.recover(None)
    assert line == "nothing was ill" or line.endswith(("is ill still", "healed by reconnect"))
