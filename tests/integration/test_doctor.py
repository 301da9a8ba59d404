"""`python -m ops doctor`: each thing broken behind stand-ins, and only that finding changes."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from ops.doctor import examine
from ops.doctor.livekit import NOBODY
from tests.front_door import CANARY, a_rule, changed
from tests.livekit_server import LiveKitServer
from tests.programs import settings
from tests.sip_operator import invoke
from tests.sip_server import SipServer
from tests.sip_stand_in import SECRET, RealSip

pytest_plugins = ["tests.doctor"]


async def test_all_is_well_and_told_from_the_outside_in(doctor, door):
    code, found = await doctor()
    assert code == 0, found
    order = [tried.split()[0] for tried in found]
    outside_in = ["settings", "DNS", "clock", "key", "grant", "trunks", "Redis", "openai", "data"]
    places = [order.index(first) for first in outside_in if first in order]
    assert places == sorted(places)
    assert {"deepgram", "openai", "groq", "cartesia", "webhooks", "Redis"} <= set(order)
    (call,) = [call for call in door.calls if not call.sip_trunk_id]
    assert call.trunk.hostname.endswith(".invalid")
    assert call.room_name in door.deleted  # the room that the service made is taken away
    assert all(room.startswith("voice-ai-doctor-") for room in door.deleted)


GRANTS = {
    "agent": ("grant agent (the door of workers)", "broken"),
    "DeleteRoom": ("grant room create (delete no room)", "broken"),
    "ListParticipants": ("grant room admin (participants of no room)", "broken"),
    "ListDispatch": ("grant agent dispatch (those of no room)", "broken"),
    "ListEgress": ("grant egress (list)", "degraded"),
    "ListIngress": ("grant ingress (list)", "degraded"),
}


@pytest.mark.parametrize("method", GRANTS)
async def test_a_grant_that_is_refused(doctor, door, method):
    _, before = await doctor()
    door.refuses.add(method)
    code, after = await doctor()
    tried, level = GRANTS[method]
    assert changed(before, after) == {tried: level}
    assert "refused (401)" in after[tried]["came_back"]
    assert after[tried]["todo"]
    assert code == {"degraded": 1, "broken": 2}[level]


async def test_a_grant_that_is_never_answered(doctor, door, impatient):
    _, before = await doctor()
    door.hangs.add("ListIngress")
    _, after = await doctor()
    assert changed(before, after) == {"grant ingress (list)": "degraded"}


async def test_a_key_that_the_server_does_not_know_is_told_once(doctor, door):
    _, before = await doctor()
    door.knows_key = False
    code, after = await doctor()
    inside = "grants, trunks, SIP and egress"
    assert changed(before, after) == {
        "key at 127.0.0.1 (list rooms)": "broken",
        inside: "broken",
    }
    assert (code, after[inside]["came_back"]) == (2, "not tried: see above")


@pytest.mark.parametrize(("ahead", "level"), [(30, "degraded"), (-3600, "broken")])
async def test_a_clock_that_is_wrong(doctor, door, ahead, level):
    _, before = await doctor("--without", "grants,sip,egress,trunks")
    door.ahead = ahead
    _, after = await doctor("--without", "grants,sip,egress,trunks")
    assert changed(before, after)["clock against 127.0.0.1"] == level
    assert ("behind" if ahead > 0 else "ahead") in after["clock against 127.0.0.1"]["came_back"]


async def test_services_that_do_not_answer(doctor, door, impatient):
    _, before = await doctor()
    door.has_sip = False
    _, after = await doctor()
    assert changed(before, after) == {"SIP service (a call to doctor.invalid)": "degraded"}
    door.has_sip, door.has_egress = True, False
    _, after = await doctor()
    assert changed(before, after) == {"egress service (a recording of nothing)": "degraded"}


async def test_a_server_without_redis(doctor, door):
    _, before = await doctor()
    door.has_redis = False
    code, after = await doctor()
    assert changed(before, after) == {
        "trunks and rules": "degraded",
        "SIP service (a call to doctor.invalid)": "degraded",
        "egress service (a recording of nothing)": "degraded",
    }
    assert (code, "redis" in after["trunks and rules"]["came_back"]) == (1, True)


async def test_rules_that_ask_for_somebody_else(doctor, door):
    _, before = await doctor()
    door.kept["Rule"]["SDR_1"] = a_rule("another-agent")
    _, after = await doctor()
    assert list(changed(before, after).values()) == ["broken"]
    door.kept["Rule"].clear()
    assert changed(before, (await doctor())[1]) == {"dispatch rules": "broken"}
    door.kept["InboundTrunk"].clear()
    assert changed(before, (await doctor())[1]) == {"trunks and rules": "degraded"}


async def test_the_configuration(doctor, tmp_path):
    _, before = await doctor()
    code, after = await doctor(VOICE_AGENT__WORKER__MAX_CALLS="none")
    assert (code, [one["level"] for one in after.values()]) == (2, ["broken"])
    assert "worker.max_calls" in after["settings"]["came_back"]

    _, after = await doctor(SIP_NUMBER="")
    assert changed(before, after) == {"config/sip.yaml": "degraded"}
    assert "SIP_NUMBER" in after["config/sip.yaml"]["came_back"]

    code, after = await doctor(LIVEKIT_API_SECRET="")
    assert changed(before, after) == {"settings of LiveKit": "broken"}
    assert code == 2

    folder = tmp_path / "personas"
    shutil.copytree("config/personas", folder)
    (folder / "ru.yaml").write_text("nonsense: 1\n")
    _, after = await doctor(VOICE_AGENT__PERSONAS__FOLDER=str(folder))
    assert changed(before, after) == {"personas": "broken"}


async def test_what_is_left_out_is_not_tried_and_a_wrong_name_is_refused(doctor, door):
    _, found = await doctor("--without", "egress,sip,providers,sip-file")
    assert not [one for one in found if one.startswith(("SIP service", "egress service", "openai"))]
    assert not [call for call in door.calls if not call.sip_trunk_id]
    code, _, err = await asyncio.to_thread(invoke, "doctor", "--without", "nothing", env={})
    assert (code, "no nothing: there are" in err) == (2, True)


async def test_a_server_that_is_not_there(doctor):
    code, found = await doctor(LIVEKIT_URL="ws://127.0.0.1:9")
    assert (code, found["connection to 127.0.0.1:9"]["level"]) == (2, "broken")
    assert not [tried for tried in found if tried.startswith("grant ")]


def test_people_are_told_what_to_do(tmp_path):
    env = {**settings(tmp_path), "LIVEKIT_URL": "", "LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}
    code, out, err = invoke("doctor", env=env)
    assert (code, err) == (2, "")
    assert "broken  settings of LiveKit: LIVEKIT_URL" in out
    assert "    -> set it where the worker is started" in out


async def test_a_check_that_breaks_is_told_in_a_line(doctor, monkeypatch):
    _, before = await doctor()

    async def breaks(_section):
        raise ValueError(SECRET)

    monkeypatch.setattr(examine.livekit, "grants", breaks)
    code, after = await doctor()
    assert (code, changed(before, after)) == (1, {"grants": "degraded"})
    assert "the check itself failed (ValueError)" in after["grants"]["came_back"]


@pytest.mark.livekit
async def test_a_real_server_without_redis(doctor, tmp_path):
    async with LiveKitServer(tmp_path) as server:
        _, found = await doctor(**server.variables)
        assert {one["level"] for tried, one in found.items() if "grant" in tried} == {"ok"}
        assert found["key at 127.0.0.1 (list rooms)"]["level"] == "ok"
        assert found["clock against 127.0.0.1"]["level"] == "ok"
        if server.is_ours:
            assert "redis" in found["trunks and rules"]["came_back"]
        refused = {**server.variables, "LIVEKIT_API_SECRET": CANARY * 2}
        code, found = await doctor(**refused)
        assert (code, found["key at 127.0.0.1 (list rooms)"]["level"]) == (2, "broken")


@pytest.mark.livekit
@pytest.mark.skipif(bool(RealSip.lacking()), reason="livekit-server and redis-server on PATH")
async def test_a_real_server_with_redis_and_without_services(doctor, tmp_path):
    async with RealSip(tmp_path) as server:
        _, found = await doctor(**server.variables)
        assert found["trunks and rules"]["came_back"].startswith("there are none")
        assert found["SIP service (a call to doctor.invalid)"]["level"] == "degraded"
        assert found["egress service (a recording of nothing)"]["level"] == "degraded"
        assert {one["level"] for tried, one in found.items() if "grant" in tried} == {"ok"}


@pytest.mark.sip
async def test_a_real_telephone_side_leaves_no_room_behind(doctor, tmp_path):
    async with SipServer(tmp_path) as server:
        _, found = await doctor(**server.variables)
        assert found["SIP service (a call to doctor.invalid)"]["level"] == "ok"
        assert not [room for room in await server.rooms() if room.startswith(NOBODY)]
