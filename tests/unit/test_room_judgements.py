"""How a call ended by what its room tells, and what a room's people need."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from livekit.protocol.agent_dispatch import AgentDispatch
from livekit.protocol.models import ParticipantInfo

from agent.call import EndReason
from agent.store.room_rows import (
    ABORTED,
    AGENT,
    SIP,
    STANDARD,
    ParticipantRow,
    RoomCall,
    RoomRow,
    RoomState,
)
from ops.rooms.ended import judge
from ops.rooms.situation import Situation, is_rescued, rescue_metadata, situation

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(seconds):
    return None if seconds is None else NOON + timedelta(seconds=seconds)


def someone(kind, joined=0, left=None, reason="", sid=None):
    return ParticipantRow(
        sid=sid or f"PA_{kind}",
        room_sid="RM_1",
        kind=kind,
        identity=kind,
        joined_at=at(joined),
        left_at=at(left),
        reason=reason,
    )


HERE, GONE = someone(SIP), someone(SIP, left=9, reason="client_initiated")
AGENT_HERE, AGENT_GONE = someone(AGENT), someone(AGENT, left=8, reason="client_initiated")
KILLED = someone(AGENT, left=8, reason="signal_close")
SECOND = someone(AGENT, 9, 10, "room_deleted", "PA_second")
LATE_KILLED = someone(AGENT, left=11, reason="connection_timeout")


@pytest.mark.parametrize(
    ("people", "ended", "reason"),
    [
        ([], None, None),
        ([HERE], None, None),
        ([HERE, AGENT_HERE], None, None),
        ([HERE, AGENT_GONE], None, None),
        ([GONE, AGENT_HERE], None, None),
        ([GONE], None, None),
        ([GONE, AGENT_GONE], None, EndReason.CALLER_HANGUP),
        ([], 10, EndReason.CALLER_NEVER_JOINED),
        ([AGENT_GONE], 10, EndReason.CALLER_NEVER_JOINED),
        ([someone(SIP, joined=None, left=1, reason=ABORTED)], 10, EndReason.CALLER_NEVER_JOINED),
        ([someone("egress"), AGENT_GONE], 10, EndReason.CALLER_NEVER_JOINED),
        ([GONE], 10, EndReason.NO_AGENT),
        ([GONE, AGENT_HERE], 10, EndReason.CALLER_HANGUP),
        ([someone(STANDARD, left=9), AGENT_HERE], 10, EndReason.CALLER_HANGUP),
        ([someone(SIP, left=9, reason="room_deleted"), AGENT_GONE], 10, EndReason.AGENT_HANGUP),
        ([someone(SIP, left=9, reason="media_failure"), AGENT_GONE], 10, EndReason.MEDIA_FAILURE),
        ([someone(SIP, left=9, reason="new_reason"), AGENT_GONE], 10, EndReason.CALLER_HANGUP),
        ([HERE, AGENT_GONE], 10, EndReason.AGENT_HANGUP),
        ([GONE, KILLED], 10, EndReason.WORKER_KILLED),
        ([HERE, KILLED], 10, EndReason.WORKER_KILLED),
        ([GONE, LATE_KILLED], 12, EndReason.CALLER_HANGUP),
        ([GONE, KILLED, SECOND], 12, EndReason.CALLER_HANGUP),
    ],
)
def test_how_a_call_ended(people, ended, reason):
    state = RoomState(room=RoomRow(sid="RM_1", ended_at=at(ended)), people=tuple(people))
    told = judge(state)
    assert (told and told.reason) == reason


def person(kind="SIP", identity="caller", **attributes):
    return ParticipantInfo(
        sid=f"PA_{identity}", identity=identity, kind=kind, attributes=attributes, state="ACTIVE"
    )


def call(reason=None, detail=""):
    return RoomCall(
        id="a1" * 16,
        room="room",
        room_sid="RM_1",
        job_id="AJ_1",
        started_at=NOON,
        ended_at=NOON if reason else None,
        end_reason=reason,
        end_detail=detail,
        end_provisional=False,
    )


FINE, ALONE, TOGETHER, LEFT = Situation.FINE, Situation.ALONE, Situation.TOGETHER, Situation.LEFT
BUSY_AGENT = person("AGENT", "agent", **{"voice.verdict": "busy"})


@pytest.mark.parametrize(
    ("people", "record", "before", "wanted"),
    [
        ([], None, False, FINE),
        ([person("AGENT", "agent")], call(), False, Situation.NOBODY),
        ([BUSY_AGENT], None, False, Situation.NOBODY),
        ([person("AGENT", "agent"), person("STANDARD")], None, False, FINE),
        ([person()], None, False, ALONE),
        ([person()], call(), False, ALONE),
        ([person()], call("worker_killed"), False, ALONE),
        ([person(), person("AGENT", "agent")], None, False, FINE),
        ([person(), BUSY_AGENT], None, False, FINE),
        ([person(**{"voice.verdict": "busy"})], None, False, FINE),
        ([person()], call("rejected_blocked"), False, FINE),
        ([person(), person("EGRESS", "recorder")], None, False, ALONE),
        ([person("STANDARD")], None, False, FINE),
        ([person(), person("STANDARD", "operator")], None, False, TOGETHER),
        ([person(), person("SIP", "colleague")], call("transferred", "warm"), False, TOGETHER),
        ([person()], call("transferred", "warm"), False, LEFT),
        ([person("SIP", "colleague")], None, False, LEFT),
        ([person()], None, True, LEFT),
        ([person("STANDARD")], None, True, LEFT),
        ([person()], call("transferred", "cold"), False, FINE),
        ([person(), person("AGENT", "agent")], call("transferred", "warm"), True, FINE),
    ],
)
def test_what_a_room_needs(people, record, before, wanted):
    assert situation(people, record, was_together=before) is wanted


def test_who_has_left_is_not_there():
    gone = person("AGENT", "agent")
    gone.state = ParticipantInfo.State.DISCONNECTED
    assert situation([person(), gone], None) is ALONE


def test_the_agent_that_is_called_in_has_the_choices_of_the_first_and_no_order():
    order = {"persona": "ru", "dial": {"to": "+15550100"}, "signature": "s", "direction": "out"}
    first = AgentDispatch(agent_name="voice-ai", metadata=json.dumps(order))
    other = AgentDispatch(agent_name="other", metadata='{"persona": "en"}')
    metadata = rescue_metadata([other, first], "voice-ai")
    assert json.loads(metadata) == {"persona": "ru", "rescued": True}
    assert not is_rescued([first, other, AgentDispatch(metadata="no JSON"), AgentDispatch()])
    assert is_rescued([first, AgentDispatch(metadata=metadata)])
    assert json.loads(rescue_metadata([], "voice-ai")) == {"rescued": True}
