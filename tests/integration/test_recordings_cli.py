"""`ops recordings`, `ops ingress` and `ops forget` as an operator meets them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from agent.call import EndReason
from agent.events import CallEnded, CallerJoined, CallOpened, RecordingAsked, RecordingMade
from agent.pseudonym import Pseudonyms
from agent.store import CallLog
from tests.media_stand_in import MediaStandIn
from tests.programs import run

CALL, NUMBER = "e1" * 16, "+15550142"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OWN = f"{CALL}-own"


async def invoke(variables, *arguments):
    """`python -m ops ARGUMENTS`, while the stand-in answers."""
    return await asyncio.to_thread(run, "-m", "ops", *arguments, variables=variables, within=120)


@pytest.fixture
async def livekit():
    async with MediaStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def variables(tmp_path, livekit):
    return {
        **livekit.variables,
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
        "VOICE_AGENT__SECURITY__CALLER_SALT": "salt",
        "VOICE_AGENT__RECORDING__STORAGE__FOLDER": str(tmp_path / "kept"),
        "VOICE_AGENT__RECORDING__TARGETS__HOSTS": "live.example.com",
    }


@pytest.fixture
def recorded(tmp_path, variables):
    """A call of NUMBER that was recorded: the file."""
    path = tmp_path / "kept" / f"{OWN}.ogg"
    path.parent.mkdir()
    path.write_bytes(b"sound")
    key = {"call_id": CALL, "at": NOON}
    of_file = {"recording": OWN, "uri": path.as_uri()}
    log = CallLog.open(variables["VOICE_AGENT__STORE__URL"])
    name = Pseudonyms(b"salt").of_number(NUMBER)
    asked = {"by": "worker", "what": "room-audio", "output": "ogg", "persona": "en"}
    room = {"room": "r", "room_sid": "RM_1", "job_id": "J", "agent_name": "a", "pid": 1}
    log.apply(
        "w",
        [
            CallOpened(**key, seq=1, **room),
            CallerJoined(**key, seq=2, identity="sip", number=name, persona="en"),
            RecordingAsked(**key, seq=3, **of_file, **asked),
            RecordingMade(**key, seq=4, **of_file, channels=2, duration=1.5, size=5),
            CallEnded(**key, seq=5, reason=EndReason.CALLER_HANGUP),
        ],
    )
    log.close()
    return path


async def test_recordings_are_listed_shown_and_deleted(variables, recorded):
    done = await invoke(variables, "recordings", "list", "--json")
    assert [row["id"] for row in json.loads(done.stdout)] == [OWN]
    assert "room-audio" in (await invoke(variables, "recordings", "list")).stdout
    assert "complete" in (await invoke(variables, "recordings", "show", OWN)).stdout
    done = await invoke(variables, "recordings", "delete", OWN)
    assert (done.returncode, "nothing was changed" in done.stderr) == (2, True)
    assert recorded.exists()
    assert (await invoke(variables, "recordings", "delete", OWN, "--yes")).stdout == "deleted\n"
    assert not recorded.exists()


async def test_a_recording_is_started_and_stopped_and_nonsense_refused_in_a_line(
    variables, livekit
):
    done = await invoke(variables, "recordings", "start", "--room", "r", "--output", "dash")
    assert done.returncode == 2
    assert done.stderr == "error: dash: LiveKit's egress makes no DASH; use hls\n"
    done = await invoke(variables, "recordings", "start", "--room", "r", "--json")
    assert json.loads(done.stdout)["egress_id"] == "EG_1"
    assert (await invoke(variables, "recordings", "stop", "EG_1")).returncode == 0
    assert [method for method, _ in livekit.asked] == ["StartRoomCompositeEgress", "StopEgress"]
    done = await invoke(variables, "recordings", "sweep", "--json")
    assert json.loads(done.stdout) == {"failed": [], "deleted": [], "kept": [], "forgotten": []}


async def test_a_caller_is_forgotten_after_a_look_and_a_question(variables, recorded):
    done = await invoke(variables, "forget", NUMBER, "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert (told["removed"], told["calls"], told["recordings"]) == (False, [CALL], [OWN])
    done = await invoke(variables, "forget", NUMBER)
    assert (done.returncode, recorded.exists()) == (2, True)
    done = await invoke(variables, "forget", NUMBER, "--yes")
    assert done.stdout.startswith("removed: 1 calls, 0 turns, 1 recordings")
    assert not recorded.exists()
    assert NUMBER not in done.stdout + done.stderr
    done = await invoke(variables, "forget", "somebody", "--yes")
    assert (done.returncode, "expected a phone number" in done.stderr) == (2, True)


async def test_an_ingress_shows_its_key_once(variables):
    made = ("--room", "stage", "--identity", "studio")
    done = await invoke(variables, "ingress", "create", "rtmp", *made)
    assert "the-stream-key   (shown only now)" in done.stdout
    done = await invoke(variables, "ingress", "list")
    assert ("IN_1" in done.stdout, "the-stream-key" in done.stdout) == (True, False)
    done = await invoke(variables, "ingress", "update", "IN_1", "--room", "other", "--json")
    assert json.loads(done.stdout)[0]["room"] == "other"
    assert (await invoke(variables, "ingress", "delete", "IN_1", "--yes")).stdout == "deleted\n"
    url = ("--url", "http://127.0.0.1/a.mp4")
    done = await invoke(variables, "ingress", "create", "url", *made, *url)
    assert (done.returncode, "127.0.0.1 is not in recording.targets.hosts" in done.stderr) == (
        2,
        True,
    )
