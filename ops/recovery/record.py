"""The last errors in the record and on disk: what went wrong, as calls and events tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial

from agent.call import now
from agent.errors import StoreError
from agent.metrics import FAULTS
from agent.spool import Spool
from agent.store import CallLog
from agent.store.audit_figures import AuditFigures, Latency
from config.settings import Settings
from ops.doctor.finding import Finding, Level
from ops.recovery.situation import is_new
from ops.webhooks.spool import DEAD, FOLDER, WebhookSpool

POOR, BAD = 0.95, 0.90
"""Share of calls without a fault: as the alert SIPCallFailures has it."""

SLOW, VERY_SLOW = 2.0, 5.0
"""Seconds (p95) that callers wait for an answer: as the alert SlowResponse has it."""

TEXTS = 3
"""Different errors that are told of one thing."""


def look(settings: Settings, since: timedelta) -> list[Finding]:
    """Everything of the last `since`; what is there and no reason to act is WELL. Blocks."""
    return [*_waiting(settings), *_of_database(settings, since)]


def _of_database(settings: Settings, since: timedelta) -> Iterator[Finding]:
    if is_new(settings):
        yield Finding(Level.WELL, "calls in the record", "no calls yet", check="record")
        return
    try:
        log = CallLog.open(settings.store.url, readonly=True)
    except StoreError:
        return  # the doctor tells of it
    try:
        figures, begin = AuditFigures(log.engine), now() - since
        yield from _calls(figures.endings(begin), since)
        for one in figures.provider_failures(begin):
            said = f"{one.count} times in {_span(since)} ({one.error}), last {one.last:%H:%M} UTC"
            tried = f"calls that met {one.provider} ({one.kind})"
            todo = "its status page; another provider first in `speech`"
            yield Finding(Level.DEGRADED, tried, said, todo, "calls:provider_failure")
        yield from _latency(figures.latency(begin), since)
        for check, tried, texts in (
            ("recordings", "recordings that failed", figures.failed_recordings(begin)),
            ("webhooks", "webhook events that were given up", figures.webhooks_given_up()),
        ):
            if texts:
                yield Finding(Level.DEGRADED, tried, _counted(texts), "see its errors", check)
    except StoreError as error:
        yield Finding(Level.DEGRADED, "the record", str(error), "look at the database", "record")
    finally:
        log.close()


def _calls(endings: Mapping[str, int], since: timedelta) -> Iterator[Finding]:
    total = sum(endings.values())
    if not total:
        yield Finding(Level.WELL, "calls in the record", f"none in {_span(since)}", check="record")
        return
    faults = {reason: count for reason, count in endings.items() if reason in FAULTS}
    share = 1 - sum(faults.values()) / total
    level = Level.BROKEN if share < BAD else Level.DEGRADED if share < POOR else Level.WELL
    for reason, count in sorted(faults.items(), key=lambda item: -item[1]):
        said = f"{count} of {total} calls in {_span(since)}"
        todo = "python -m ops calls list --since 1h, then show"
        yield Finding(level, f"calls that ended {reason}", said, todo, f"calls:{reason}")
    for reason, count in sorted(endings.items()):
        if reason.startswith("rejected_"):
            is_busy = reason == "rejected_busy"
            tried = f"callers who were refused ({reason.removeprefix('rejected_')})"
            todo = "raise worker.max_calls or add a worker" if is_busy else ""
            yield Finding(
                Level.DEGRADED if is_busy else Level.WELL,
                tried,
                f"{count} of {total} in {_span(since)}",
                todo,
                f"calls:{reason}",
            )


def _latency(told: Latency, since: timedelta) -> Iterator[Finding]:
    if told.p95 is None:
        return
    level = Level.WELL
    if told.p95 > SLOW:
        level = Level.BROKEN if told.p95 > VERY_SLOW else Level.DEGRADED
    said = f"p95 {told.p95:.1f} s over {told.turns} answers in {_span(since)}"
    yield Finding(level, "response latency", said, "which part, which provider", "latency")


def _waiting(settings: Settings) -> Iterator[Finding]:
    """The spools, and what was put aside."""
    folder = settings.data.folder
    spool = partial(Finding, todo="it empties by itself when the database is back", check="spool")
    if waiting := Spool(folder / "spool").pending():
        yield spool(Level.DEGRADED, "the spool of calls", f"{waiting} calls wait for the database")
    webhooks = WebhookSpool(folder / FOLDER, settings.webhooks.spool_bytes)
    if size := webhooks.size():
        yield spool(Level.DEGRADED, "the spool of webhooks", f"{size} bytes wait for the database")
    for name in ("spool/bad", f"{FOLDER}/{DEAD}"):
        if aside := len(list((folder / name).glob("*.jsonl"))):
            todo = f"look at data/{name}: no database would take them; remove what is not wanted"
            said = f"{aside} files"
            yield Finding(Level.DEGRADED, f"dead letters in {name}", said, todo, "dead-letters")


def _counted(texts: Sequence[str]) -> str:
    told = Counter(text.partition("\n")[0][:120] or "no reason given" for text in texts)
    return "; ".join(f"{count} × {text}" for text, count in told.most_common(TEXTS))


def _span(since: timedelta) -> str:
    hours = since.total_seconds() / 3600
    return f"{hours:g} h" if hours < 48 else f"{hours / 24:g} days"  # noqa: PLR2004 - two days
