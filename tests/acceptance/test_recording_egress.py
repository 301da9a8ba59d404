"""A call that LiveKit's own egress records: what is in its file, and what becomes of its row.

Egress hears a room from the second or two on that it takes to start, in the middle of what the
agent says first: whoever needs that has the worker's own recorder beside it, as here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.store import CallLog
from plugins.line import Ended, spans
from plugins.line.caller import SimulatedCaller
from plugins.line.g711 import Samples
from plugins.line.known import Told
from plugins.line.recording import Recording
from plugins.line.scenario import load_scenario
from tests.livekit_egress import EgressServer
from tests.livekit_phone import RoomPhone, a_room, closed_record
from tests.programs import Worker, eventually, run
from tests.recordings import LAST, LAST_WORD, last_words, opened, persona, spoken, told
from tests.serving import Serving

pytestmark = [pytest.mark.acceptance, pytest.mark.livekit]

DISCLOSURE = "This call is answered by an automated assistant and recorded."
"""Longer than egress takes to start."""

ON_THE_WAY = 0.3
"""Seconds between a caller's last word and the hang-up: what is said is on its way so long."""


@pytest.fixture
async def livekit(tmp_path):
    async with EgressServer(tmp_path) as server:
        yield server


@dataclass
class Recorded:
    """A call that is over and its rows: that of egress, that of the worker's own recorder."""

    line: Recording
    """As the caller heard and said it."""
    greeting: str
    """Its first sentence."""
    room: dict[str, Any]
    own: dict[str, Any]
    variables: dict[str, str]


@pytest.fixture
async def recorded(tmp_path, livekit, variables, clock):
    """One call with its worker, and the control plane that hears the webhooks."""
    phrases = persona(tmp_path / "personas", "always", disclosure=DISCLOSURE)
    *said, hang_up = LAST_WORD["steps"]
    scenario = {**LAST_WORD, "steps": [*said, {"wait": ON_THE_WAY}, hang_up]}
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(scenario))
    caller, room = SimulatedCaller(load_scenario(tmp_path / "scenario.yaml")), a_room()
    variables |= {
        "VOICE_AGENT__PERSONAS__FOLDER": str(tmp_path / "personas"),
        "VOICE_AGENT__RECORDING__BY": "both",
        "VOICE_AGENT__RECORDING__STORAGE__FOLDER": str(tmp_path / "kept"),
        "VOICE_AGENT__RECORDING__STARTS_WITHIN": "600",  # webhooks tell, not the sweep
    }
    async with (
        Serving(tmp_path, "--only", "webhooks,recording", **variables) as plane,
        Worker(variables) as worker,
    ):
        await livekit.telling(f"{plane.url}/webhooks/livekit")
        await worker.becomes(200)
        async with RoomPhone(livekit, clock, caller, room) as phone:
            assert await phone.until_ended() is Ended.CALLER_HANGUP
        assert caller.failure is None
        call, _ = await closed_record(variables, room)

        def over():
            rows = json.loads(recordings(variables, "list", "--call", call.id, "--json"))
            told = {row["made_by"]: row for row in rows if row["ended_at"]}
            return told if len(told) == len(rows) else None

        rows = await eventually(over, "the end of both recordings")
        worker.terminate()
        await worker.ended()
    greeting = phrases["greeting"].partition(". ")[0]
    return Recorded(phone.recording, greeting, rows["egress"], rows["worker"], variables)


async def test_the_greetings_first_word_and_the_callers_last_are_in_egresss_file(recorded, livekit):
    row = recorded.room
    assert (row["status"], row["error"], row["kind"]) == ("complete", "", "room-audio")
    told_of = {hook.event for hook in livekit.webhooks if hook.egress_info.egress_id}
    assert told_of == {"egress_started", "egress_updated", "egress_ended"}
    egress, ours = opened(file_of(row)), opened(file_of(recorded.own))
    assert row["size"] == file_of(row).stat().st_size
    assert row["duration"] == pytest.approx(egress.duration, abs=0.5)

    # Egress has the agent left and the caller right, our own recorder the other way round.
    agent, caller = egress.caller, egress.agent
    greeting = whole(recorded.greeting, spoken(recorded.greeting), agent)
    last = last_words(recorded.line)
    whole(LAST, last, caller)
    for text, sound, side in (
        (recorded.greeting, spoken(recorded.greeting), caller),
        (LAST, last, agent),
    ):
        with pytest.raises(AssertionError, match="nothing of"):
            told(text, sound, side)

    # What was said while egress started is in our own file alone.
    whole(DISCLOSURE, spoken(DISCLOSURE), ours.agent)
    whole(LAST, last, ours.caller)
    heard = whole(recorded.greeting, spoken(recorded.greeting), recorded.line.agent).start
    late = heard - greeting.start - spans(recorded.line.agent)[0][0]
    print(f"egress begins {late:.2f} s after the agent's first word")  # noqa: T201


async def test_a_recording_of_egress_is_deleted_with_its_file(recorded):
    for row in (recorded.room, recorded.own):
        assert file_of(row).exists()
        recordings(recorded.variables, "delete", row["id"], "--yes")
        assert not file_of(row).exists()
    assert json.loads(recordings(recorded.variables, "list", "--json")) == []
    log = CallLog.open(recorded.variables["VOICE_AGENT__STORE__URL"], readonly=True)
    try:
        done = {(line.what, line.object) for line in log.audit_trail()}
    finally:
        log.close()
    assert {("delete recording", row["id"]) for row in (recorded.room, recorded.own)} <= done


def whole(text: str, sound: Samples, side: Samples) -> Told:
    """Where all of `text` is, from its first word to its last."""
    found = told(text, sound, side)
    assert found.words == text
    return found


def file_of(row: dict[str, Any]) -> Path:
    """Where a recording lies."""
    return Path(row["uri"].removeprefix("file://"))


def recordings(variables: dict[str, str], *arguments: str) -> str:
    """What `ops recordings ARGUMENTS` prints."""
    done = run("-m", "ops", "recordings", *arguments, variables=variables, within=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
