"""Calls over HTTP: who may see them, what of them, and who may end them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.call import EndReason, now
from agent.events import CallEnded, CallerJoined, CallNote, CallOpened, TurnCommitted, TurnFinished
from tests.control_plane import ControlPlane
from tests.room_server import NAME, SID, Server

CALL, OVER = "a1" * 16, "b2" * 16
WHO = "c-0123456789abcdef0123"
WORDS = "my cat is called Whiskers"


def opened(call_id, sid, at):
    return CallOpened(
        call_id=call_id,
        seq=1,
        at=at,
        room=NAME if call_id == CALL else "voice-ai-call-2",
        room_sid=sid,
        job_id="AJ",
        agent_name="voice-ai",
        pid=1,
    )


@pytest.fixture
async def plane(tmp_path):
    async with ControlPlane(tmp_path) as plane:
        plane.plane.livekit = Server()
        before = now() - timedelta(hours=1)
        events = [
            opened(OVER, "RM_2", before),
            CallEnded(call_id=OVER, seq=2, at=before, reason=EndReason.SILENCE),
            opened(CALL, SID, now()),
            CallerJoined(call_id=CALL, seq=2, identity="sip_x", number=WHO, persona="en"),
            TurnCommitted(call_id=CALL, seq=3, turn=1, user_text=WORDS),
            TurnFinished(call_id=CALL, seq=4, turn=1, agent_text=f"So {WORDS}.", latency=0.5),
            CallNote(call_id=CALL, seq=5, name="tool", detail={"words": WORDS}),
        ]
        await plane.plane.database.run(lambda log: log.apply("w", events))
        yield plane


@pytest.fixture
async def key(plane):
    return await plane.key("calls")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/calls", None),
        ("/calls/live", None),
        (f"/calls/{CALL}", None),
        (f"/calls/{CALL}/hangup", {}),
    ],
)
async def test_nobody_comes_in_without_the_scope(plane, path, body):
    other = await plane.key("tokens", "metrics")
    assert (await plane.ask(path, body))[0] == 401
    assert (await plane.ask(path, body, "vak_x_y"))[0] == 401
    assert (await plane.ask(path, body, other))[0] == 403
    assert plane.plane.livekit.deleted == []


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, [CALL, OVER]),
        ({"limit": "1"}, [CALL]),
        ({"open": "true"}, [CALL]),
        ({"open": "false"}, [OVER]),
        ({"caller": WHO}, [CALL]),
        ({"since": (now() - timedelta(minutes=5)).isoformat()}, [CALL]),
    ],
)
async def test_calls_are_listed_the_newest_first(plane, key, query, wanted):
    status, told = await plane.ask("/calls", key=key, params=query)
    assert (status, [call["id"] for call in told["calls"]]) == (200, wanted)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "x"},
        {"since": "yesterday"},
        {"since": "2026-11-21T12:00:00"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"open": "perhaps"},
        {"caller": "\0"},
        {"caller": "+15550100"},
    ],
)
async def test_a_wish_that_means_nothing_is_refused(plane, key, query):
    assert (await plane.ask("/calls", key=key, params=query))[0] == 422


async def test_a_call_is_shown_without_what_was_said(plane, key):
    status, told = await plane.ask(f"/calls/{CALL[:6]}", key=key)
    assert status == 200
    assert WORDS not in str(told)
    assert told["call"]["caller"] == WHO
    assert told["turns"][0]["latency"] == 0.5
    assert "tool" in {note["name"] for note in told["history"]}


async def test_words_are_shown_to_who_may_read_them(plane):
    key = await plane.key("calls", "calls:transcripts")
    _, told = await plane.ask(f"/calls/{CALL}", key=key)
    assert told["turns"][0]["user_text"] == WORDS
    assert {"words": WORDS} in [note["detail"] for note in told["history"]]


async def test_the_scope_of_words_alone_opens_no_call(plane):
    key = await plane.key("calls:transcripts")
    assert (await plane.ask(f"/calls/{CALL}", key=key))[0] == 403


async def test_the_calls_that_go_on_are_told(plane, key):
    status, told = await plane.ask("/calls/live", key=key)
    assert status == 200
    (call,) = told["live"]
    assert (call["id"], call["room"], call["heartbeat"]) == (CALL, NAME, None)
    assert told["lost"] == []  # another host's worker, of which nobody tells, may live


@pytest.mark.parametrize("call_id", ["c3c3", "A1", "x", "%00"])
async def test_a_call_that_there_is_not(plane, key, call_id):
    assert (await plane.ask(f"/calls/{call_id}", key=key))[0] in {404, 422}


async def test_an_operator_ends_a_call_and_it_is_in_the_audit_trail(plane, key):
    livekit = plane.plane.livekit
    livekit.open()
    assert await plane.ask(f"/calls/{CALL}/hangup", {}, key) == (200, {"id": CALL})
    assert livekit.deleted == [NAME]
    trail = await plane.plane.database.run(lambda log: log.audit_trail())
    (line,) = [line for line in trail if line.what == "calls.hangup"]
    assert (line.who, line.object, line.source) == ("client desk", CALL, "127.0.0.1")


async def test_the_job_of_a_call_may_end_it_by_itself(plane, key):
    livekit = plane.plane.livekit
    livekit.open()
    livekit.job_listens = True
    assert (await plane.ask(f"/calls/{CALL}/hangup", {}, key))[0] == 200
    assert livekit.deleted == []


async def test_a_room_that_livekit_made_anew_is_found_by_its_name(plane, key):
    plane.plane.livekit.open(sid="RM_new")
    assert (await plane.ask(f"/calls/{CALL}/hangup", {}, key))[0] == 200


async def test_what_cannot_be_ended(plane, key):
    livekit = plane.plane.livekit
    assert (await plane.ask(f"/calls/{OVER}/hangup", {}, key))[0] == 409
    assert (await plane.ask(f"/calls/{CALL}/hangup", {}, key))[0] == 409
    livekit.open()
    livekit.is_away = True
    assert (await plane.ask(f"/calls/{CALL}/hangup", {}, key))[0] == 503
    trail = await plane.plane.database.run(lambda log: log.audit_trail())
    assert [line for line in trail if line.what == "calls.hangup"] == []
