"""Events of calls become figures: each once, and nothing is kept of a call that ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from agent import metrics
from agent.call import EndReason, Verdict
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    RecordingChanged,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
)
from agent.tally import Tally

START = datetime(2026, 1, 1, tzinfo=UTC)


class Figures:
    """What has changed since it was made: the registry is one for the whole process."""

    def __init__(self):
        self._before = self._now()

    def _now(self):
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }

    def __call__(self, name, **labels):
        key = (name, *sorted(labels.items()))
        return self._now().get(key, 0.0) - self._before.get(key, 0.0)


@pytest.fixture
def figures():
    return Figures()


class Teller:
    """Tells a tally of one call."""

    def __init__(self, tally, call_id="a" * 32):
        self.tally, self.call_id, self.seq = tally, call_id, 0

    def __call__(self, kind, second=0.0, **values):
        self.seq += 1
        at = START + timedelta(seconds=second)
        self.tally.hear(kind(call_id=self.call_id, seq=self.seq, at=at, **values))

    def open(self):
        self(CallOpened, room="r", room_sid="RM_1", job_id="j", agent_name="voice-ai", pid=1)
        self(CallerJoined, 1.0, identity="sip_1")


@pytest.fixture
def tell():
    teller = Teller(Tally())
    teller.open()
    return teller


def test_a_call_is_active_until_it_ends_and_then_has_a_length(figures, tell):
    assert figures("livekit_sip_calls_active", kind="caller") == 1
    tell(CallEnded, 61.0, reason=EndReason.CALLER_HANGUP)
    assert figures("livekit_sip_calls_active", kind="caller") == 0
    assert figures("livekit_sip_call_duration_seconds_sum", kind="caller") == 60
    assert figures("voice_calls_total", kind="caller", reason="caller_hangup") == 1
    assert figures("livekit_sip_call_failures_total", kind="caller", reason="caller_hangup") == 0


def test_a_recording_counts_though_it_is_known_only_after_the_call(figures, tell):
    tell(CallEnded, reason=EndReason.CALLER_HANGUP)
    tell(RecordingMade, uri="file:///a.ogg", channels=2, duration=1.0)
    tell(RecordingChanged, recording="a-own", status="failed")
    tell(RecordingChanged, recording="a-room", status="failed")
    tell(RecordingChanged, recording="a-room", status="active")
    assert figures("voice_recordings_total", by="worker", outcome="complete") == 1
    assert figures("voice_recordings_total", by="worker", outcome="failed") == 1
    assert figures("voice_recordings_total", by="egress", outcome="failed") == 1


def test_an_event_that_cannot_be_counted_harms_nobody(figures, tell):
    note = {"call_id": tell.call_id, "seq": 9, "name": "rejected"}
    tell.tally.count(CallNote(**note, detail={"verdict": "no such verdict"}))
    tell(CallEnded, reason=EndReason.CALLER_HANGUP)
    assert figures("voice_calls_total", kind="courtesy", reason="caller_hangup") == 1


def test_a_fault_is_a_failure_and_a_refusal_is_none(figures, tell):
    tell(CallEnded, reason=EndReason.PROVIDER_FAILURE)
    other = Teller(tell.tally, "b" * 32)
    other.open()
    other(CallNote, name="rejected", detail={"verdict": Verdict.BUSY.value})
    other(CallEnded, reason=EndReason.REJECTED_BUSY)
    failures = "livekit_sip_call_failures_total"
    assert figures(failures, kind="caller", reason="provider_failure") == 1
    assert figures(failures, kind="courtesy", reason="rejected_busy") == 0
    assert figures("voice_calls_total", kind="courtesy", reason="rejected_busy") == 1
    assert figures("livekit_sip_calls_active", kind="courtesy") == 0
    assert figures("voice_admission_refusals_total", verdict="busy") == 1


def test_a_turn_is_counted_once_however_often_its_row_is_written(figures, tell):
    tell(TurnCommitted, turn=1, confidence=0.93, transcription_delay=0.2, end_of_turn_delay=0.4)
    tell(TurnFinished, turn=1, tools=("end_call",))
    for _ in range(2):
        tell(TurnFinished, turn=1, latency=0.7, llm_ttft=0.3, tts_ttfb=0.1, tools=("end_call", "x"))
    tell(TurnFinished, turn=1, latency=0.7, interrupted=True)
    assert figures("voice_turns_total", kind="caller") == 1
    assert figures("voice_recognition_confidence_sum", kind="caller") == pytest.approx(0.93)
    assert figures("voice_response_latency_seconds_count", kind="caller") == 1
    assert figures("voice_response_latency_seconds_sum", kind="caller") == pytest.approx(0.7)
    assert figures("voice_llm_first_token_seconds_sum", kind="caller") == pytest.approx(0.3)
    assert figures("voice_interruptions_total", kind="caller") == 1
    assert figures("voice_tool_calls_total", tool="end_call") == 1
    assert figures("voice_tool_calls_total", tool="other") == 1  # a name that a model invented


def test_the_greeting_is_no_turn_of_the_caller(figures, tell):
    tell(TurnCommitted, turn=0)
    tell(TurnFinished, turn=0, agent_text="Hello")
    tell(CallNote, name="greeted", detail={"after": 0.4})
    assert figures("voice_turns_total", kind="caller") == 0
    assert figures("voice_pickup_seconds_sum", kind="caller") == pytest.approx(0.4)


def test_calls_of_a_canary_have_a_label_of_their_own(figures, tell):
    tell(CallNote, name="kind", detail={"kind": "canary"})
    assert figures("livekit_sip_calls_active", kind="caller") == 0
    assert figures("livekit_sip_calls_active", kind="canary") == 1
    tell(CallEnded, reason=EndReason.CALLER_HANGUP)
    assert figures("livekit_sip_calls_active", kind="canary") == 0


def test_the_score_is_the_mean_of_the_calls_that_go_on(tell):
    other = Teller(tell.tally, "b" * 32)
    other.open()
    tell(CallNote, name="link", detail={"score": 4.0})
    other(CallNote, name="link", detail={"score": 3.0})
    assert metrics.QUALITY._value.get() == 3.5
    tell(CallEnded, reason=EndReason.CALLER_HANGUP)
    assert metrics.QUALITY._value.get() == 3.0


def test_a_canary_does_not_sound_for_callers_and_no_score_is_0(tell):
    tell(CallNote, name="link", detail={"score": 4.0})
    canary = Teller(tell.tally, "b" * 32)
    canary(CallOpened, room="r", room_sid="RM_2", job_id="j", agent_name="voice-ai", pid=1)
    canary(CallNote, name="kind", detail={"kind": "canary"})
    canary(CallNote, name="link", detail={"score": 1.0})
    assert metrics.QUALITY._value.get() == 4.0
    tell(CallEnded, reason=EndReason.CALLER_HANGUP)
    assert metrics.QUALITY._value.get() == 0


def test_every_silence_that_was_owed_is_counted(figures, tell):
    for seconds in (0.7, 3.4):
        tell(CallNote, name="silence_owed", detail={"seconds": seconds})
    assert figures("voice_dead_air_seconds_count", kind="caller") == 2
    assert figures("voice_dead_air_seconds_bucket", kind="caller", le="3.0") == 1


def test_what_a_job_asked_of_livekit_is_counted_once_under_names_that_there_are(figures, tell):
    asked = {"service": "room", "method": "delete_room", "status": "200", "seconds": 0.25}
    tell(CallNote, name="livekit_request", detail=asked)
    refused = {**asked, "status": "breaker_open", "seconds": None}
    tell(CallNote, name="livekit_request", detail=refused)
    for odd in ({"method": "invented"}, {"status": "made up"}):
        tell(CallNote, name="livekit_request", detail={**asked, **odd})
    about = {"service": "room", "method": "delete_room"}
    assert figures("livekit_api_requests_total", **about, status="200") == 1
    assert figures("livekit_api_requests_total", **about, status="breaker_open") == 1
    assert figures("livekit_api_request_duration_seconds_sum", **about) == 0.25
    assert figures("livekit_api_requests_total", **{**about, "status": "made up"}) == 0


def test_what_a_call_cost_is_added_and_an_unknown_price_is_told(figures, tell):
    cost = {"currency": "USD", "known": "0.0125", "total": None}
    tell(CallEnded, reason=EndReason.CALLER_HANGUP, cost=cost)
    assert figures("voice_cost_total", currency="USD") == pytest.approx(0.0125)
    assert figures("voice_cost_unknown_total") == 1


def test_a_thousand_calls_leave_no_more_behind_than_ten():
    tally = Tally()

    def play(calls):
        for number in range(calls):
            tell = Teller(tally, f"{number:032x}")
            tell.open()
            tell(TurnCommitted, turn=1, confidence=0.9)
            tell(TurnFinished, turn=1, latency=0.5, tools=(f"invented_{number}",))
            tell(CallNote, name="kind", detail={"kind": f"kind {number}"})
            tell(CallNote, name="silence_owed", detail={"seconds": number})
            tell(CallNote, name="link", detail={"score": 4.2})
            asked = {"service": f"s{number}", "method": f"m{number}", "status": f"{number}"}
            tell(CallNote, name="livekit_request", detail={**asked, "seconds": 0.1})
            tell(CallEnded, reason=EndReason.CALLER_HANGUP)
        return sum(len(family.samples) for family in REGISTRY.collect())

    assert play(10) == play(1000)
    assert tally._going == {}
