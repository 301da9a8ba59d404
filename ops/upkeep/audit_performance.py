"""The performance part of an audit: how the last weeks went, and what the database is like."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from agent.call import now
from agent.metrics import FAULTS
from agent.spool import Spool
from agent.store.audit_figures import AuditFigures, Latency, Size
from config.settings import Settings
from ops.upkeep.audit_advice import Advice, Area, Priority
from ops.webhooks.spool import DEAD, FOLDER

SLOW, VERY_SLOW = 2.0, 5.0
"""Seconds that callers wait for an answer (p95): those of the alert SlowResponse."""

POOR, BAD = 0.95, 0.90
"""Share of calls that end without a fault: those of the alert SIPCallFailures."""

FEW = 20
"""Calls or turns below which a share or a quantile says nothing."""

BUSY = 0.01
"""Share of callers who heard that all is busy."""

LONG = 1.0
"""Seconds that a read may take that operators and `serve` make all the time."""

LARGE, LOOSE = 5 * 2**30, 0.25
"""Bytes of a database on SQLite, and the share of it that holds nothing."""

FULL, NEARLY_FULL = 0.90, 0.80
"""Share of the disk that is in use: those of the alert HighDiskUsage."""

performance = partial(Advice, Area.PERFORMANCE)
HIGH, MEDIUM, LOW = Priority.HIGH, Priority.MEDIUM, Priority.LOW


@dataclass(frozen=True, slots=True)
class Month:
    """What the record says of the days that are looked at."""

    days: int
    endings: Mapping[str, int]
    latency: Latency
    size: Size
    timings: Mapping[str, float]


def read(figures: AuditFigures, days: int) -> Month:
    """Ask the record. Blocks; raises StoreError."""
    since = now() - timedelta(days=days)
    return Month(
        days, figures.endings(since), figures.latency(since), figures.size(), figures.timings()
    )


def examine(settings: Settings, month: Month | None) -> list[Advice]:
    """All of it; without a record, what needs none."""
    of_record = [*_calls(month), *_latency(month), *_database(settings, month)] if month else []
    return [*of_record, *_disk(settings), *_chains(settings)]


def _calls(month: Month) -> Iterator[Advice]:
    total = sum(month.endings.values())
    if total < FEW:
        return
    faults = {reason: count for reason, count in month.endings.items() if reason in FAULTS}
    share = 1 - sum(faults.values()) / total
    if share < POOR:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(faults.items()))
        yield performance(
            HIGH if share < BAD else MEDIUM,
            "failed calls",
            f"{share:.1%} of {total} calls in {month.days} days ended without a fault: {told}",
            "python -m ops diagnose; ops/docs/runbook.md, SIPCallFailures",
        )
    busy = month.endings.get("rejected_busy", 0)
    if busy / total > BUSY:
        yield performance(
            MEDIUM,
            "capacity",
            f"{busy} of {total} callers heard that all is busy",
            "raise worker.max_calls where processors and memory allow it, or add a worker",
        )


def _latency(month: Month) -> Iterator[Advice]:
    told = month.latency
    if told.p95 is None or told.turns < FEW or told.p95 <= SLOW:
        return
    yield performance(
        HIGH if told.p95 > VERY_SLOW else MEDIUM,
        "response latency",
        f"p95 of {told.turns} answers in {month.days} days is {told.p95:.1f} s"
        f" (median {told.p50:.1f} s; at most {SLOW:g} s are good)",
        "ops/docs/runbook.md, SlowResponse: which part, which provider",
    )


def _database(settings: Settings, month: Month) -> Iterator[Advice]:
    for name, seconds in month.timings.items():
        if seconds > LONG:
            yield performance(
                MEDIUM,
                "slow queries",
                f"reading {name} took {seconds:.1f} s",
                "a faster disk, PostgreSQL instead of SQLite, or fewer days kept",
            )
    size = month.size
    if not settings.store.url.startswith("sqlite"):
        return
    if size.bytes > LARGE:
        yield performance(
            LOW,
            "database size",
            f"the call log has {size.bytes / 2**30:.1f} GB",
            "move to PostgreSQL (store.url): one writer at a time is what SQLite has",
        )
    if size.free > LOOSE and size.bytes > LARGE / 50:
        yield performance(
            LOW,
            "database size",
            f"{size.free:.0%} of the call log's {size.bytes / 2**20:.0f} MB hold nothing",
            "VACUUM it while no worker runs",
        )


def _disk(settings: Settings) -> Iterator[Advice]:
    folder = settings.data.folder
    there = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(there)
    used = 1 - usage.free / usage.total
    if used > NEARLY_FULL:
        yield performance(
            HIGH if used > FULL else MEDIUM,
            "disk",
            f"the disk of {folder} is {used:.0%} full",
            "python -m ops cleanup; ops/docs/runbook.md, HighDiskUsage",
        )
    waiting = Spool(folder / "spool").pending()
    if waiting:
        yield performance(
            MEDIUM,
            "spool",
            f"{waiting} calls wait on disk for the database",
            "ops/docs/runbook.md, SpoolNotEmpty",
        )
    aside = [*folder.glob("spool/bad/*"), *folder.glob(f"{FOLDER}/{DEAD}/*")]
    if aside:
        yield performance(
            LOW,
            "spool",
            f"{len(aside)} files hold what no database would take (spool/bad, {FOLDER}/{DEAD})",
            "look at them; remove them when nothing of them is wanted",
        )


def _chains(settings: Settings) -> Iterator[Advice]:
    """Chains with one provider that has a key: when it fails, calls end."""
    for kind in ("stt", "llm", "tts"):
        chain = getattr(settings.speech, kind)
        usable = [name for name in chain if name != "offline" and _has_key(settings, name)]
        if len(usable) == 1:
            yield performance(
                MEDIUM,
                "providers",
                f"speech.{kind}: {usable[0]} alone has a key: nobody takes over when it fails",
                "give a second provider of the chain a key",
            )


def _has_key(settings: Settings, name: str) -> bool:
    section = getattr(settings.providers, name)
    return bool(section.api_key.get_secret_value() or (name == "compatible" and section.base_url))
