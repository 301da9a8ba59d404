"""POST /events: what workers elsewhere report is written once and counted once, by whomever."""

from __future__ import annotations

import asyncio
import json
import math
import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from livekit import api
from prometheus_client import REGISTRY

from agent import metrics
from agent.call import EndReason, now
from agent.errors import NotFound, Unavailable
from agent.events import (
    WORKER_SEQ,
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    TurnCommitted,
    TurnFinished,
    encode,
)
from agent.store.leases import Leases
from ops import workers
from ops.workers import SILENT
from tests.control_plane import ControlPlane

A, B = "aa" * 16, "bb" * 16
HOST = "vm-12345678"
ME, OTHER, ELSEWHERE = f"{HOST}/{'1' * 12}", f"{HOST}/{'2' * 12}", f"vm-87654321/{'3' * 12}"
MINUTE_AGO = now() - timedelta(minutes=1)


def a_call(call_id=A, reason=EndReason.CALLER_HANGUP):
    """A call of 30 seconds with a greeting and two turns, one of them interrupted."""

    def at(seconds):
        return {"call_id": call_id, "at": MINUTE_AGO + timedelta(seconds=seconds)}

    told = [
        lambda seq: CallOpened(
            **at(0),
            seq=seq,
            room=f"voice-ai-call-{call_id[:4]}",
            room_sid=f"RM_{call_id[:4]}",
            job_id="AJ_1",
            agent_name="voice-ai",
            pid=1,
        ),
        lambda seq: CallerJoined(**at(1), seq=seq, identity="sip_c-1", persona="en"),
        lambda seq: CallNote(**at(1), seq=seq, name="greeted", detail={"after": 0.5}),
        lambda seq: TurnCommitted(**at(5), seq=seq, turn=1, user_text="hello", confidence=0.9),
        lambda seq: TurnFinished(**at(7), seq=seq, turn=1, agent_text="hello", latency=0.7),
        lambda seq: TurnCommitted(**at(9), seq=seq, turn=2, user_text="when"),
        lambda seq: TurnFinished(**at(11), seq=seq, turn=2, latency=0.9, interrupted=True),
        lambda seq: CallEnded(**at(31), seq=seq, reason=reason),
    ]
    return [make(seq) for seq, make in enumerate(told, 1)]


def report(*told, worker=ME, **more):
    entries = [{"worker_id": worker, "event": json.loads(encode(event))} for event in told]
    return {"worker": worker, "events": entries, **more}


class Figures:
    """What has changed in the registry, which all control planes of this process share."""

    def __init__(self):
        self._before = self._now()

    def __call__(self, name, **labels):
        key = (name, *sorted(labels.items()))
        return self._now().get(key, 0.0) - self._before.get(key, 0.0)

    def _now(self):
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }

    def of_calls(self):
        """Calls, turns, interruptions, answers and pick-ups, and their seconds."""
        names = (
            "voice_turns_total",
            "voice_interruptions_total",
            "voice_response_latency_seconds_count",
            "voice_pickup_seconds_count",
            "livekit_sip_call_duration_seconds_sum",
        )
        ends = self("voice_calls_total", kind="caller", reason="caller_hangup")
        return [ends, *(round(self(name, kind="caller"), 3) for name in names)]


ONE_CALL = [1, 2, 1, 2, 1, 30]


@pytest.fixture
def figures():
    return Figures()


@pytest.fixture
async def plane(tmp_path):
    async with ControlPlane(tmp_path) as plane:
        yield plane


@pytest.fixture
async def key(plane):
    return await plane.key("events")


@pytest.fixture
def send(plane, key):
    async def send(*told, **more):
        status, answer = await plane.ask("/events", report(*told, **more), key)
        assert status == 200, answer
        return answer

    return send


@pytest.fixture
def watch(plane):
    """The watch over workers, as long after its start as it takes, with a LiveKit to be asked."""
    watch = plane.app.state.sidecars["events"].workers
    watch._steady_since -= 1000
    return watch


async def record(plane, call_id=A):
    return await plane.plane.database.run(lambda db: db.get_call(call_id))


async def expire(plane, worker=ME):
    """The worker was last heard of long ago."""
    await plane.plane.database.run(
        lambda db: Leases(db.engine).hold(workers.lease_of(worker), workers.HOLDER, -1.0)
    )


async def test_only_with_the_scope(plane):
    assert (await plane.ask("/events", report()))[0] in {401, 503}
    for scope in ("calls", "tokens", "metrics"):
        assert (await plane.ask("/events", report(), await plane.key(scope)))[0] == 403
    assert (await plane.ask("/events", report(), await plane.key("events")))[0] == 200
    assert (await plane.ask("/calls", key=await plane.key("events", name="w")))[0] == 403


async def test_a_call_is_written_as_its_worker_would(plane, send, figures):
    assert await send(*a_call()) == {"refused": [], "abandoned": []}
    call = await record(plane)
    assert (call.call.worker_id, call.call.end_reason) == (ME, EndReason.CALLER_HANGUP)
    assert [turn.user_text for turn in call.turns] == ["hello", "when"]
    assert [event.seq for event in call.events] == [event.seq for event in a_call()]
    assert figures.of_calls() == ONE_CALL


async def test_what_comes_twice_is_written_and_counted_once(plane, send, figures):
    await send(*a_call()[:5])
    await send(*a_call()[:5])
    await send(*a_call()[3:])
    await send(*a_call())
    assert figures.of_calls() == ONE_CALL
    assert len((await record(plane)).events) == len(a_call())
    assert figures("voice_reported_events_total", outcome="new") == len(a_call())


@pytest.mark.parametrize("step", [1, 2, 3])
async def test_two_control_planes_count_a_call_once(plane, key, tmp_path, figures, step):
    told = a_call()
    async with ControlPlane(tmp_path) as second:
        for index in range(0, len(told), step):
            piece = told[max(0, index - 1) : index + step]  # one of them had its answer lost
            to = (plane, second)[index // step % 2]
            assert (await to.ask("/events", report(*piece), key))[0] == 200
    assert figures.of_calls() == ONE_CALL
    assert len((await record(plane)).events) == len(told)


async def test_a_control_plane_that_was_not_there_before_counts_the_rest(
    plane, key, tmp_path, figures
):
    assert (await plane.ask("/events", report(*a_call()[:4]), key))[0] == 200
    before = figures.of_calls()
    async with ControlPlane(tmp_path) as second:
        assert (await second.ask("/events", report(*a_call()[4:]), key))[0] == 200
    assert before == [0, 1, 0, 0, 1, 0]
    assert figures.of_calls() == ONE_CALL


async def test_an_end_that_the_room_told_first_does_not_hide_the_jobs_own(plane, send, figures):
    await send(*a_call()[:-1])
    await plane.plane.database.run(
        lambda db: db.end_call(A, EndReason.CALLER_HANGUP, detail="left", provisional=True)
    )
    plane.app.state.sidecars["events"]._counting._counted.clear()
    await send(a_call()[-1])
    assert figures.of_calls() == ONE_CALL


async def test_notes_for_figures_alone_are_counted_once_too(plane, send, figures):
    told = a_call()
    silence = CallNote(call_id=A, seq=99, name="silence_owed", detail={"seconds": 2.0})
    broken = CallNote(call_id=A, seq=98, name="greeted", detail={"what": "no seconds"})
    first, rest = told[:4], told[4:]
    second = replace(silence, seq=5)
    rest = [replace(event, seq=event.seq + 1) for event in rest]
    await send(*first, second)
    await send(*first, second)
    await send(*first, second, *rest[:2])
    await send(broken, *rest)
    assert figures("voice_dead_air_seconds_count", kind="caller") == 1
    assert figures.of_calls() == ONE_CALL


async def test_what_is_no_event_is_refused_by_its_place(plane, send):
    body = report(*a_call())
    body["events"].insert(1, {"worker_id": ME, "event": {"kind": "nonsense"}})
    body["events"].append({"worker_id": ME, "event": {**body["events"][0]["event"], "seq": 2**40}})
    status, answer = await plane.ask("/events", body, await plane.key("events", name="w"))
    assert status == 200
    assert [one["index"] for one in answer["refused"]] == [1, len(a_call()) + 1]
    assert len((await record(plane)).events) == len(a_call())


async def test_what_no_worker_writes_leaves_no_series_and_breaks_no_figure(plane, key, figures):
    """Whoever has the key may write what it likes: a currency for every call, no number at all."""
    body = report(*a_call())
    last = body["events"][-1]["event"]
    for currency in ("x" * 20, "АБВ", "usd", 7):
        last["cost"] = {"currency": currency, "known": 1.0, "total": 1.0}
        call = json.loads(json.dumps(body).replace(A, uuid4().hex))
        assert (await plane.ask("/events", call, key))[0] == 200
    body["events"][2]["event"]["detail"]["after"] = float("nan")
    last["cost"] = {"currency": "USD", "known": float("nan"), "total": 1.0}
    assert (await plane.ask("/events", body, key))[0] == 200
    known = {sample.labels["currency"] for sample in metrics.COST.collect()[0].samples}
    assert all(re.fullmatch("[A-Z]{3}|other", one) for one in known)
    assert not any(
        math.isnan(sample.value)
        for family in REGISTRY.collect()
        if family.name.startswith("voice_")
        for sample in family.samples
    )


@pytest.mark.parametrize("detail", [["a list"], {"seconds": "two"}, {"seconds": None}])
async def test_a_note_that_nobody_can_count_holds_up_no_other(plane, send, detail):
    broken = report(*a_call())
    silence = CallNote(call_id=A, seq=90, name="silence_owed", detail={})
    told = {**json.loads(encode(silence)), "detail": detail}
    broken["events"].insert(4, {"worker_id": ME, "event": told})
    status, answer = await plane.ask("/events", broken, await plane.key("events", name="w"))
    assert status == 200
    assert [one["index"] for one in answer["refused"]] == [4]
    assert (await record(plane)).call.ended_at is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker": "no worker"},
        {"worker": f"{'x' * 300}/{'1' * 12}"},
        {"gone": [ELSEWHERE]},
        {"gone": [ME]},
        {"events": [{"event": {}}]},
        {"events": "many"},
    ],
)
async def test_what_is_no_report_changes_nothing(plane, key, wrong):
    status, _ = await plane.ask("/events", {**report(*a_call()), **wrong}, key)
    assert status == 422
    assert await plane.plane.database.run(lambda db: db.list_calls()) == []


async def test_calls_of_workers_that_ended_are_closed_and_their_rooms_told(plane, send, figures):
    await send(*a_call()[:4], worker=OTHER)
    await send(*a_call(B)[:4])
    answer = await send(gone=[OTHER])
    assert answer["abandoned"] == ["voice-ai-call-aaaa"]
    closed, going = (await record(plane)).call, (await record(plane, B)).call
    assert (closed.end_reason, closed.end_provisional) == (EndReason.WORKER_KILLED, False)
    assert going.ended_at is None
    assert figures("voice_calls_total", kind="caller", reason="worker_killed") == 1
    assert (await send(gone=[OTHER]))["abandoned"] == []


async def test_what_a_worker_that_leaves_has_not_closed_is_closed(plane, send, figures):
    await send(*a_call()[:4])
    answer = await send(*a_call(B), leaving=True)
    assert answer["abandoned"] == ["voice-ai-call-aaaa"]
    left = (await record(plane)).call
    assert (left.end_reason, left.end_provisional) == (EndReason.WORKER_KILLED, True)
    assert (await record(plane, B)).call.end_reason is EndReason.CALLER_HANGUP
    assert figures("voice_calls_total", kind="caller", reason="worker_killed") == 1


async def test_a_worker_that_falls_silent_has_its_calls_closed(plane, send, watch, figures):
    await send(*a_call()[:4])
    assert await watch.look() == []
    await expire(plane)
    assert await watch.look() == [A]
    closed = (await record(plane)).call
    assert (closed.end_reason, closed.end_detail) == (EndReason.WORKER_KILLED, SILENT)
    assert figures("voice_calls_total", kind="caller", reason="worker_killed") == 1
    assert await watch.look() == []

    await send(*a_call()[4:])  # it was only cut off
    told = (await record(plane)).call
    assert (told.end_reason, told.turn_count) == (EndReason.CALLER_HANGUP, 2)
    assert figures("voice_calls_total", kind="caller", reason="caller_hangup") == 0


async def test_nobody_is_silent_who_had_no_chance_to_report(plane, send, watch):
    await send(*a_call()[:4])
    await expire(plane)
    watch._steady_since = asyncio.get_running_loop().time()
    assert await watch.look() == []
    assert (await record(plane)).call.ended_at is None


async def test_calls_of_workers_that_never_reported_are_not_looked_after(plane, watch):
    await plane.plane.database.run(lambda db: db.apply(ELSEWHERE, a_call()[:4]))
    assert await watch.look() == []


class Room:
    """What LiveKit says of a room."""

    def __init__(self, answer):
        self.room, self._answer = self, answer

    async def list_participants(self, _request):
        if isinstance(self._answer, Exception):
            raise self._answer
        return SimpleNamespace(participants=[api.ParticipantInfo(kind=self._answer)])


AGENT, SIP = api.ParticipantInfo.Kind.AGENT, api.ParticipantInfo.Kind.SIP


@pytest.mark.parametrize(
    ("answer", "closed"), [(AGENT, []), (SIP, [A]), (NotFound(), [A]), (Unavailable(), [])]
)
async def test_a_call_that_goes_on_is_left_alone(plane, send, watch, answer, closed):
    await send(*a_call()[:4])
    await expire(plane)
    watch._livekit = Room(answer)
    assert await watch.look() == closed


def going():
    return REGISTRY.get_sample_value("livekit_sip_calls_active", {"kind": "caller"})


async def test_calls_that_go_on_are_told_by_the_kind(plane, send, watch, figures):
    await send(*a_call()[:4], *a_call(B)[:4])
    await watch.look()
    assert going() == 2
    assert REGISTRY.get_sample_value("voice_reporting_workers") == 1
    await send(*a_call()[4:])
    await send(CallEnded(call_id=B, seq=WORKER_SEQ, reason=EndReason.PROCESS_KILLED))
    await send(leaving=True)
    await watch.look()
    assert going() == 0
    assert REGISTRY.get_sample_value("voice_reporting_workers") == 0
    assert figures("voice_calls_total", kind="caller", reason="process_killed") == 1
