"""Figures of many calls, asked of both databases: hand-made calls, sums done by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from agent.call import EndReason
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    RecordingAsked,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
)
from agent.metrics import FAULTS
from agent.store import CallLog, analysis
from agent.store.statistics import Statistics
from ops.upkeep.figures import Rows, figures, series, trends

pytest_plugins = ["tests.postgres"]

DAY = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
EDGES = [DAY + HOUR * hour for hour in range(25)]
FAULT_NAMES = [reason.value for reason in FAULTS]


def cost(total, known):
    parts = {"openai": known, "cartesia": total and "0.5"}
    return {"currency": "USD", "total": total, "known": known, "providers": parts, "parts": []}


def call(number, at, *, end=EndReason.CALLER_HANGUP, seconds=60, persona="en", marks=(), turns=(),
         notes=(), paid=None, memory=None):  # fmt: skip
    """The events of one call; `turns` are latencies, `marks` notes before all others."""
    seq = iter(range(1, 100))
    told = {"call_id": f"{number:032x}"}
    yield CallOpened(**told, seq=next(seq), at=at, room="r", room_sid="", job_id="", agent_name="",
                     pid=1)  # fmt: skip
    yield CallerJoined(
        **told, seq=next(seq), at=at + timedelta(seconds=1), identity="sip_c-77", number="c-77",
        persona=persona, language=persona,
    )  # fmt: skip
    for name, detail in (*marks, *notes):
        yield CallNote(**told, seq=next(seq), at=at, name=name, detail=detail)
    for turn, latency in enumerate(turns, 1):
        yield TurnCommitted(
            **told, seq=next(seq), at=at, turn=turn, user_text="a secret", confidence=0.9,
            end_of_turn_delay=0.4, transcription_delay=0.2,
        )  # fmt: skip
        yield TurnFinished(
            **told, seq=next(seq), at=at, turn=turn, agent_text="another", latency=latency,
            llm_ttft=0.3, tts_ttfb=0.1, interrupted=latency > 2,
        )  # fmt: skip
    if end:
        yield CallEnded(
            **told, seq=next(seq), at=at + timedelta(seconds=1 + seconds), reason=end, cost=paid,
            memory_bytes=memory,
        )  # fmt: skip


CALLS = [
    *call(1, DAY - HOUR, turns=[1.0], paid=cost("2", "2")),
    *call(2, DAY, turns=[0.5, 1.5, 3.5], paid=cost("1.5", "1.0"), memory=60_000_000,
          notes=[("greeted", {"after": 0.8}), ("link", {"score": 4.1}), ("link", {"score": 3.1}),
                 ("silence_owed", {"seconds": 3.5})]),
    *call(3, DAY + 5 * HOUR, turns=[1.0], persona="ru", end=EndReason.PROVIDER_FAILURE, seconds=30,
          marks=[("kind", {"kind": "outbound"})], paid=cost(None, "0.25"), memory=70_000_000,
          notes=[("provider_failed", {"of": "llm", "provider": "openai", "state": "down"})]),
    *call(4, DAY + 5 * HOUR, turns=[9.0], marks=[("kind", {"kind": "canary"})]),
    *call(5, DAY + 6 * HOUR, end=EndReason.REJECTED_BUSY, seconds=4),
    *call(6, DAY + 6 * HOUR, seconds=2, marks=[("rejected", {"verdict": "busy"})]),
    *call(7, DAY + 23.5 * HOUR, end=None),
    *call(8, DAY + 24 * HOUR, turns=[7.0]),
]  # fmt: skip


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    url = f"sqlite:///{tmp_path}/calls.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    opened = CallLog.open(url)
    opened.apply("w", CALLS)
    yield opened
    opened.close()


def rows(log):
    rough = [DAY - 24 * HOUR, DAY, DAY + 24 * HOUR]
    return Statistics(log.engine).read(
        lambda found: Rows(
            calls=found.calls([DAY - 24 * HOUR, *EDGES], FAULT_NAMES),
            turns=found.turns([DAY - 24 * HOUR, *EDGES]),
            notes=found.notes(rough),
            costs=found.provider_costs(rough[1:]),
            durations=found.durations(rough[1:]),
            recordings=found.recordings(DAY, DAY + 24 * HOUR),
            most_at_once=found.most_at_once(rough[1:]),
        )
    )


def test_business_is_what_callers_did(log):
    told = figures(rows(log))
    assert told["volume"] | {"turns_a_call": None} == {
        "calls": 3,
        "answered": 3,
        "inbound": 2,
        "outbound": 1,
        "left_out": {"canary": 1, "courtesy": 2},
        "refused": {"rejected_busy": 1, "caller_hangup": 1},
        "most_at_once": 2,
        "turns": 4,
        "turns_a_call": None,
        "by_persona": {"en": 2, "ru": 1},
        "by_language": {"en": 2, "ru": 1},
    }
    assert told["endings"] == {"caller_hangup": 1, "provider_failure": 1, "goes_on": 1}
    assert told["duration"] == pytest.approx(
        {"count": 2, "mean": 45, "p50": 30, "p95": 60, "p99": 60, "most": 60}, abs=0.01
    )


def test_latency_and_quality_are_those_of_the_turns(log):
    told = figures(rows(log))
    response = told["latency"]["response"]
    assert response == {"count": 4, "mean": 1.625, "p50": 1.0, "p95": 3.5, "p99": 3.5, "most": 3.5}
    assert told["latency"]["end_of_turn"]["p95"] == 0.4
    assert told["latency"]["pickup"]["p50"] == 0.8
    assert told["quality"]["audio"] == {"count": 2, "mean": 3.6, "worst": 3.1}
    assert told["quality"]["dead_air"] == {"count": 1, "most": 3.5, "fillers": 0, "apologies": 0}
    assert told["quality"]["interrupted_share"] == 0.25
    assert told["errors"]["providers"] == {"llm openai": 1}
    assert told["errors"]["by_reason"] == {"provider_failure": 1}
    assert told["errors"]["failed_share"] == 0.3333


def test_a_cost_that_is_not_known_is_in_no_sum(log):
    (told,) = figures(rows(log))["cost"]
    assert told == {
        "currency": "USD",
        "known": 1.25,
        "calls": 2,
        "calls_not_wholly_known": 1,
        "a_call": 0.625,
        "by_provider": {"openai": 1.25, "cartesia": 0.5},
    }


def test_trends_are_against_the_period_before(log):
    told = {line["what"]: line for line in trends(rows(log))}
    assert (told["calls"]["now"], told["calls"]["before"], told["calls"]["change"]) == (3, 1, 200.0)
    assert told["response_p50"]["change"] == 0.0
    assert told["audio_quality"]["before"] is None
    assert told["audio_quality"]["change"] is None


def test_the_memory_of_calls_is_a_float(log):
    groups = [row for row in rows(log).calls if row.memory is not None]
    assert sorted((row.memory, type(row.memory)) for row in groups) == [(6e7, float), (7e7, float)]


def test_each_hour_has_its_own_figures(log):
    told = series(rows(log), 24)
    assert [hour for hour, many in enumerate(told["calls"]) if many] == [0, 5, 23]
    assert told["failed"][5] == 1
    assert told["response_p95"][0] == 3.5
    assert told["response_p95"][1] is None


def test_the_slowest_turns_and_the_worst_calls(log):
    def work(found):
        edges = [DAY, DAY + 24 * HOUR]
        return (
            analysis.slowest_turns(found, edges, 2),
            analysis.worst_calls(found, edges, FAULT_NAMES, 10),
            analysis.busiest_hour(found, [DAY - 24 * HOUR, DAY + 48 * HOUR]),
        )

    slow, worst, busiest = Statistics(log.engine).read(work)
    assert [(int(row.call, 16), row.turn, row.latency) for row in slow] == [
        (2, 3, 3.5),
        (2, 2, 1.5),
    ]
    assert [(int(row.call, 16), row.points) for row in worst] == [
        (3, pytest.approx(6.0)),
        (2, pytest.approx(1.8)),
    ]
    assert worst[0].began == DAY + 5 * HOUR
    assert busiest == (DAY - HOUR, 1)


def test_growth_counts_the_rows_of_a_time(log):
    asked = RecordingAsked(
        call_id=f"{2:032x}", seq=50, at=DAY, recording="2-own", by="worker", what="room-audio",
        output="ogg", persona="en",
    )  # fmt: skip
    made = RecordingMade(
        call_id=f"{2:032x}", seq=51, at=DAY, uri="file:///x.ogg", channels=2, duration=3.0,
        recording="2-own", size=5000,
    )  # fmt: skip
    log.apply("w", [asked, made])

    def work(found):
        return (
            analysis.growth(found, DAY, DAY + 24 * HOUR),
            analysis.size(found),
            found.recordings(DAY, DAY + HOUR),
        )

    grown, size, recorded = Statistics(log.engine).read(work)
    assert grown["calls"] == (8, 6)
    assert grown["turns"] == (7, 5)
    assert grown["recording_log"] == (1, 1)
    assert size > 10_000
    assert [(row.status, row.count, row.bytes) for row in recorded] == [("complete", 1, 5000)]
    assert type(recorded[0].bytes) is int  # PostgreSQL's own sum is a decimal


def test_figures_of_nothing():
    empty = Rows(
        calls=[], turns=[], notes=[], costs=[], durations=[], recordings=[], most_at_once=0
    )
    told = figures(empty)
    assert told["volume"]["calls"] == 0
    assert told["latency"]["response"]["p95"] is None
    assert told["cost"] == []
    assert series(empty, 2) == {"calls": [0, 0], "failed": [0, 0], "response_p95": [None, None]}
    assert all(line["change"] is None for line in trends(empty))


def test_costs_in_two_currencies_are_never_added():
    def group(currency):
        return SimpleNamespace(
            bucket=1, kind="caller", persona="en", language="en", end_reason="silence",
            currency=currency, count=1, answered=1, ended=1, seconds=1, failed=0, known=2.0,
            unknown=0,
        )  # fmt: skip

    rows = Rows(
        calls=[group("USD"), group("EUR")], turns=[], notes=[], costs=[], durations=[],
        recordings=[], most_at_once=0,
    )  # fmt: skip
    assert [one["currency"] for one in figures(rows)["cost"]] == ["EUR", "USD"]
    assert {line["what"]: line["now"] for line in trends(rows)}["cost"] is None
