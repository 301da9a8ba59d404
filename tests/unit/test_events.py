"""Events travel as lines of JSON and come back equal."""

from __future__ import annotations

import json
from datetime import UTC

import pytest

from agent.call import EndReason
from agent.events import (
    KINDS,
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    RecordingAsked,
    RecordingChanged,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
    decode,
    encode,
)

KEY = {"call_id": "a1" * 16, "seq": 7}
EVENTS = [
    CallOpened(**KEY, room="r", room_sid="RM_1", job_id="AJ_1", agent_name="voice-ai", pid=42),
    CallerJoined(**KEY, identity="sip_1", number="+15550100", providers={"stt": "offline"}),
    TurnCommitted(**KEY, turn=1, user_text="сколько\nстоит?", confidence=0.5, stt="offline"),
    TurnFinished(**KEY, turn=1, agent_text="Sixty.", latency=0.25, tools=("end_call", "x")),
    CallNote(**KEY, name="dtmf", detail={"key": "#", "nested": [1, None]}),
    RecordingAsked(
        **KEY, recording="r-own", by="worker", what="room-audio", output="ogg", persona="en"
    ),
    RecordingChanged(**KEY, recording="r-own", status="failed", error="a full disk"),
    RecordingMade(**KEY, uri="file:///a.wav", channels=2, duration=1.5, recording="r-own"),
    CallEnded(**KEY, reason=EndReason.SILENCE, usage={"models": []}, memory_bytes=1),
]


def test_every_kind_has_an_example_here():
    assert {event.kind for event in EVENTS} == set(KINDS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_comes_back_equal_from_one_line(event):
    line = encode(event)
    assert "\n" not in line
    back = decode(line)
    assert back == event
    assert type(back) is type(event)
    assert back.at.tzinfo is not None
    assert back.at.utcoffset() == UTC.utcoffset(None)
    assert decode(line.encode()) == event


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_fields_of_a_newer_release_are_passed_over(event):
    body = json.loads(encode(event)) | {"mood": "sunny"}
    assert decode(json.dumps(body)) == event


def test_fields_that_an_older_release_did_not_write_take_their_defaults():
    body = json.loads(encode(EVENTS[-1]))
    del body["memory_bytes"], body["usage"]
    assert decode(json.dumps(body)) == CallEnded(**KEY, at=EVENTS[-1].at, reason=EndReason.SILENCE)


@pytest.mark.parametrize(("detail", "kept"), [("", "boredom"), ("yawned", "boredom: yawned")])
def test_an_end_for_a_reason_of_a_newer_release_is_kept(detail, kept):
    body = json.loads(encode(EVENTS[-1])) | {"reason": "boredom", "detail": detail}
    event = decode(json.dumps(body))
    assert (event.reason, event.detail) == (EndReason.AGENT_HANGUP, kept)


GOOD = json.loads(encode(EVENTS[-1]))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        b"\xff\xfe",
        "null",
        "[]",
        "7",
        '{"bye":true}',
        json.dumps(GOOD | {"kind": "call_exploded"}),
        json.dumps(GOOD | {"kind": ["call_ended"]}),
        json.dumps(GOOD | {"at": "yesterday"}),
        json.dumps(GOOD | {"at": 7}),
        json.dumps(GOOD | {"reason": 7}),
        json.dumps(GOOD | {"reason": ["silence"]}),
        json.dumps({name: value for name, value in GOOD.items() if name != "call_id"}),
        json.dumps({name: value for name, value in GOOD.items() if name != "at"}),
    ],
)
def test_what_is_not_an_event_is_a_value_error(line):
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract
        decode(line)
