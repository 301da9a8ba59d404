"""What a time of calls comes to: volume, latency, quality, endings, errors, cost. Pure.

Made of the rows of `agent.store.statistics`, whose first bucket is the period before, and whose
others are the hours or days of the period itself. All times are seconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.events import GREETED
from agent.metrics import CALLER, CANARY, COURTESY, OUTBOUND
from agent.store.statistics import LINK, SILENCE, TURN

LEFT_OUT = (CANARY, COURTESY)
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PARTS = {
    "response": "latency",
    "end_of_turn": "end_of_turn_delay",
    "stt": "transcription_delay",
    "llm_first_token": "llm_ttft",
    "tts_first_byte": "tts_ttfb",
}
"""What an answer is made of, by the column of a turn."""

NOT_OVER = "goes_on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the database tells of a period and of the one before it."""

    calls: Sequence[Any]
    turns: Sequence[Any]
    notes: Sequence[Any]
    costs: Sequence[Any]
    durations: Sequence[float]
    """Of the period itself, as the last three are."""
    recordings: Sequence[Any]
    most_at_once: int


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of the sorted values that at least this share of them does not exceed."""
    if not ordered:
        return None
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def spread(values: Iterable[float | None]) -> dict[str, Any]:
    """How many values there are, their mean, p50, p95, p99 and the highest; None of no values."""
    ordered = sorted(value for value in values if value is not None)
    return {
        "count": len(ordered),
        "mean": _round(sum(ordered) / len(ordered)) if ordered else None,
        **{name: _round(percentile(ordered, share)) for name, share in SHARES.items()},
        "most": _round(ordered[-1]) if ordered else None,
    }


def figures(rows: Rows) -> dict[str, Any]:
    """The figures of the period itself, as the report tells them."""
    now = [row for row in rows.calls if row.bucket > 0]
    business = [row for row in now if row.kind not in LEFT_OUT]
    turns = _columns([row for row in rows.turns if row[0] > 0])
    notes = [row for row in rows.notes if row.bucket > 0]
    return {
        "volume": _volume(now, business, len(turns["bucket"]), rows.most_at_once),
        "duration": spread(rows.durations),
        "latency": {
            **{part: spread(turns[name]) for part, name in PARTS.items()},
            "pickup": _spread_of(notes, GREETED),
        },
        "quality": _quality(turns, notes),
        "endings": dict(_counts(business, "end_reason").most_common()),
        "errors": _errors(business, notes, rows.recordings),
        "cost": _cost(business, rows.costs),
    }


def series(rows: Rows, many: int) -> dict[str, list[float | None]]:
    """What a chart needs of each of the `many` buckets of the period itself."""
    total, failed = [0] * many, [0] * many
    slow: list[list[float]] = [[] for _ in range(many)]
    for row in rows.calls:
        if row.bucket > 0 and row.kind not in LEFT_OUT:
            total[row.bucket - 1] += row.count
            failed[row.bucket - 1] += row.failed
    for bucket, latency, *_ in rows.turns:
        if bucket > 0 and latency is not None:
            slow[bucket - 1].append(latency)
    response = [_round(percentile(sorted(values), SHARES["p95"])) for values in slow]
    return {"calls": [*total], "failed": [*failed], "response_p95": response}


def trends(rows: Rows) -> list[dict[str, Any]]:
    """The figures that matter most: now, before, and the change in per cent."""
    now, before = _headlines(rows, is_before=False), _headlines(rows, is_before=True)
    return [
        {"what": what, "now": now[what], "before": before[what], "change": change(*pair)}
        for what, pair in ((what, (now[what], before[what])) for what in now)
    ]


def change(now: float | None, before: float | None) -> float | None:
    """By how many per cent a figure has changed; None where that cannot be said."""
    if now is None or not before:
        return None
    return round((now - before) / before * 100, 1)


def _headlines(rows: Rows, *, is_before: bool) -> dict[str, float | None]:
    def of(all_rows: Sequence[Any]) -> list[Any]:
        return [row for row in all_rows if (row.bucket == 0) is is_before]

    calls = [row for row in of(rows.calls) if row.kind not in LEFT_OUT]
    notes = of(rows.notes)
    turns = _columns([row for row in rows.turns if (row[0] == 0) is is_before])
    many, ended = _sum(calls, "count"), _sum(calls, "ended")
    latency = sorted(value for value in turns["latency"] if value is not None)
    link = _spread_of(notes, LINK)
    known = _sum(calls, "known")
    return {
        "calls": many,
        "mean_duration": _round(_ratio(_sum(calls, "seconds"), ended)),
        "response_p50": _round(percentile(latency, SHARES["p50"])),
        "response_p95": _round(percentile(latency, SHARES["p95"])),
        "audio_quality": link["mean"],
        "dead_air": _spread_of(notes, SILENCE)["count"],
        "failed_share": _round(_ratio(_sum(calls, "failed"), many), 4),
        "cost": _round(known, 2) if _currencies(calls) == 1 else None,
        "cost_a_call": _round(_ratio(known, many), 4) if _currencies(calls) == 1 else None,
    }


def _volume(
    now: Sequence[Any], business: Sequence[Any], turns: int, most_at_once: int
) -> dict[str, Any]:
    many = _sum(business, "count")
    kinds = _counts(now, "kind")
    return {
        "calls": many,
        "answered": _sum(business, "answered"),
        "inbound": kinds[CALLER],
        "outbound": kinds[OUTBOUND],
        "left_out": {kind: kinds[kind] for kind in LEFT_OUT},
        "refused": dict(_counts([row for row in now if row.kind == COURTESY], "end_reason")),
        "most_at_once": most_at_once,
        "turns": turns,
        "turns_a_call": _round(_ratio(turns, many), 2),
        "by_persona": dict(_counts(business, "persona").most_common()),
        "by_language": dict(_counts(business, "language").most_common()),
    }


def _quality(turns: Mapping[str, Sequence[Any]], notes: Sequence[Any]) -> dict[str, Any]:
    link, silences = _spread_of(notes, LINK), _spread_of(notes, SILENCE)
    confidence = sorted(value for value in turns["confidence"] if value is not None)
    mean = sum(confidence) / len(confidence) if confidence else None
    scores = sorted(row.value for row in notes if row.name == LINK and row.value is not None)
    cut_off = sum(map(bool, turns["interrupted"]))
    return {
        "audio": {
            "count": link["count"],
            "mean": link["mean"],
            "worst": _round(scores[0], 2) if scores else None,
        },
        "confidence": {"mean": _round(mean), "p5": _round(percentile(confidence, 0.05))},
        "dead_air": {
            "count": silences["count"],
            "most": silences["most"],
            "fillers": _often(notes, "said_filler"),
            "apologies": _often(notes, "said_apology"),
        },
        "interrupted_share": _round(_ratio(cut_off, len(turns["bucket"])), 4),
        "not_understood": _often(notes, "not_understood"),
    }


def _errors(
    business: Sequence[Any], notes: Sequence[Any], recordings: Sequence[Any]
) -> dict[str, Any]:
    failed = _sum(business, "failed")
    providers: Counter[str] = Counter()
    for row in notes:
        if row.name == "provider_failed":
            providers[row.of] += row.count
    lost = sum(row.count for row in recordings if row.status == "failed")
    return {
        "failed_calls": failed,
        "failed_share": _round(_ratio(failed, _sum(business, "count")), 4),
        "by_reason": dict(_counts([row for row in business if row.failed], "end_reason")),
        "providers": dict(providers.most_common()),
        "gave_up": _often(notes, "gave_up"),
        "transfer_failed": _often(notes, "transfer_failed"),
        "recordings_failed": lost,
    }


def _cost(business: Sequence[Any], costs: Sequence[Any]) -> list[dict[str, Any]]:
    """A line a currency. What the price book does not tell is in none of the sums."""
    told = []
    for currency in sorted({row.currency for row in business if row.currency}):
        rows = [row for row in business if row.currency == currency]
        known, many = _sum(rows, "known"), _sum(rows, "count")
        by = {row.provider: _round(row.known, 4) for row in costs if row.currency == currency}
        told.append(
            {
                "currency": currency,
                "known": _round(known, 4),
                "calls": many,
                "calls_not_wholly_known": _sum(rows, "unknown"),
                "a_call": _round(_ratio(known, many), 4),
                "by_provider": dict(sorted(by.items(), key=lambda item: -(item[1] or 0))),
            }
        )
    return told


def _spread_of(notes: Sequence[Any], name: str) -> dict[str, Any]:
    """The spread of a note's values, each of which comes with how often it was noted."""
    rows = [row for row in notes if row.name == name and row.value is not None]
    return spread(row.value for row in rows for _ in range(row.count))


def _columns(turns: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """The turns column by column: there are many, and each row is touched once."""
    if not turns:
        return dict.fromkeys(TURN, ())
    return dict(zip(TURN, zip(*turns, strict=True), strict=True))


def _often(notes: Sequence[Any], name: str) -> int:
    return sum(row.count for row in notes if row.name == name)


def _counts(rows: Sequence[Any], name: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[getattr(row, name) or (NOT_OVER if name == "end_reason" else "")] += row.count
    return counts


def _currencies(rows: Sequence[Any]) -> int:
    return len({row.currency for row in rows if row.currency})


def _sum(rows: Sequence[Any], name: str) -> Any:
    return sum(getattr(row, name) or 0 for row in rows)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _round(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


NAMES: Mapping[str, str] = {
    "calls": "calls",
    "mean_duration": "mean duration, s",
    "response_p50": "response p50, s",
    "response_p95": "response p95, s",
    "audio_quality": "audio quality, MOS",
    "dead_air": "silences of 3 s and more",
    "failed_share": "failed calls, share",
    "cost": "cost",
    "cost_a_call": "cost a call",
}
"""What the headlines are called for people."""
