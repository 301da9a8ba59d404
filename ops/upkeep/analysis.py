"""The last days in figures: what grows and until when it may, trends, slow turns, bad calls.

What cannot be asked (a database that is away) is named in `unknown`, and all else is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from agent.errors import StoreAbsent, StoreError
from agent.metrics import FAULTS
from agent.store import CallLog, analysis
from agent.store.statistics import Figures, Statistics
from config.settings import Settings
from ops.upkeep import expiry, sizes
from ops.upkeep.figures import LEFT_OUT, SHARES, change, percentile
from ops.upkeep.period import day_edges

MOST = 10
"""Slow turns and bad calls that are named."""

SOON = 14
"""Days that a certificate must still hold."""

FULL_SOON = 30
"""Days until the disk is full, below which somebody should do something."""

USED, USED_UP = 80.0, 90.0
"""Per cent of a disk in use that are too many, and far too many."""

SPOOLS = ("spool", "webhooks")
"""Folders of the data folder where events wait for the database."""

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def analysis_of(settings: Settings, days: int, now: datetime) -> dict[str, Any]:
    """The whole analysis of the last `days` whole local days, and of today so far."""
    zone = settings.reports.zone
    edges = day_edges(now.astimezone(ZoneInfo(zone)).date(), days + 1, zone)
    unknown: list[str] = []
    calls = _calls(settings, edges, unknown)
    growth = _growth(settings, calls.pop("growth", {}), edges, unknown, now)
    result = {
        "from": edges[0].astimezone(ZoneInfo(zone)).isoformat(),
        "days": days,
        "zone": zone,
        "made_at": now.isoformat(timespec="seconds"),
        "unknown": unknown,
        "growth": growth,
        **calls,
        "certificates": _certificates(settings, now),
    }
    return {**result, "findings": list(_findings(result))}


def _calls(settings: Settings, edges: Sequence[datetime], unknown: list[str]) -> dict[str, Any]:
    """What the call log tells; next to nothing where it is away."""
    nothing: dict[str, Any] = {"first_call": None, "trends": [], "memory_change": None}
    nothing |= {"busiest_hour": None, "slowest_turns": [], "worst_calls": []}
    try:
        log = CallLog.open(settings.store.url, readonly=True)
    except StoreAbsent:
        return nothing
    except StoreError as error:
        unknown.append(f"call log: {error}")
        return nothing
    try:
        return Statistics(log.engine).read(lambda found: _asked(found, edges))
    except StoreError as error:
        unknown.append(f"call log: {error}")
        return nothing
    finally:
        log.close()


def _asked(found: Figures, edges: Sequence[datetime]) -> dict[str, Any]:
    faults = [reason.value for reason in FAULTS]
    first = found.first_call()
    trends = _trends(found, edges, faults)
    busiest = analysis.busiest_hour(found, edges)
    slow = analysis.slowest_turns(found, edges, MOST)
    worst = analysis.worst_calls(found, edges, faults, MOST)
    return {
        "first_call": first.isoformat(timespec="seconds") if first else None,
        "trends": trends,
        "memory_change": _memory_change(trends),
        "busiest_hour": (
            {"from": busiest[0].isoformat(), "calls": busiest[1]} if busiest else None
        ),
        "slowest_turns": [_plain(row._asdict()) for row in slow],
        "worst_calls": [_plain(row._asdict()) for row in worst],
        "growth": {
            "rows": analysis.growth(found, edges[0], edges[-1]),
            "bytes": analysis.size(found),
            "first": first,
            "recordings": found.recordings(BEGINNING, edges[-1]),
            "recordings_recent": found.recordings(edges[0], edges[-1]),
        },
    }


def _trends(
    found: Figures, edges: Sequence[datetime], faults: Sequence[str]
) -> list[dict[str, Any]]:
    """A line a day, the last of them today so far."""
    many = len(edges) - 1
    latencies: list[list[float]] = [[] for _ in range(many)]
    for row in found.turns(edges):
        if row.latency is not None:
            latencies[row.bucket].append(row.latency)
    groups: list[list[Any]] = [[] for _ in range(many)]
    for row in found.calls(edges, faults):
        if row.kind not in LEFT_OUT:
            groups[row.bucket].append(row)
    lines = []
    for index in range(many):
        rows = groups[index]
        ended = sum(row.ended for row in rows)
        known = [(row.memory, row.count) for row in rows if row.memory is not None]
        weight = sum(count for _, count in known)
        memory = sum(mean * count for mean, count in known) / weight if weight else None
        lines.append(
            {
                "from": edges[index].isoformat(),
                "calls": sum(row.count for row in rows),
                "failed": sum(row.failed for row in rows),
                "mean_duration": _rounded(sum(row.seconds or 0 for row in rows), ended),
                "response_p95": percentile(sorted(latencies[index]), SHARES["p95"]),
                "memory_mean": round(memory) if memory is not None else None,
                "memory_most": max(
                    (row.memory_most for row in rows if row.memory_most is not None), default=None
                ),
            }
        )
    return lines


def _growth(
    settings: Settings,
    told: Mapping[str, Any],
    edges: Sequence[datetime],
    unknown: list[str],
    now: datetime,
) -> dict[str, Any]:
    """What lies where, in bytes, and how much is added a day."""
    first = told.get("first")
    since = max(edges[0], first) if first else edges[0]
    days = max((now - since) / timedelta(days=1), 1.0)
    rows = told.get("rows", {})
    recent, total = (sum(pair[index] for pair in rows.values()) for index in (1, 0))
    size = told.get("bytes")
    data = settings.data.folder
    log, spools = sizes.heap(settings.log.folder, since), [
        sizes.heap(data / name, since) for name in SPOOLS
    ]  # fmt: skip
    kept = sum(row.bytes for row in told["recordings"]) if told else None
    added = sum(row.bytes for row in told.get("recordings_recent", ()))
    growth = {
        "database": _line(size, size * recent / total / days if size and total else 0.0),
        "recordings": {
            **_line(kept, added / days),
            "count": sum(row.count for row in told.get("recordings", ())),
        },
        "logs": {
            **_line(log.size, log.changed / days),
            "files": log.files,
            "folder": str(settings.log.folder),
        },
        "spool": {
            "bytes": sum(spool.size for spool in spools),
            "files": sum(spool.files for spool in spools),
        },
        "rows": {
            name: {"rows": pair[0], "a_day": round(pair[1] / days, 1)}
            for name, pair in rows.items()
        },
    }
    return {**growth, "disk": _disk(settings, growth, unknown, now)}


def _disk(
    settings: Settings, growth: Mapping[str, Any], unknown: list[str], now: datetime
) -> dict[str, Any] | None:
    """The disk of the data folder, and when it is full if all goes on so."""
    try:
        disk = sizes.disk(settings.data.folder)
        a_day = sum(
            growth[name]["a_day"] or 0
            for name, folder in _folders(settings).items()
            if sizes.disk(folder).device == disk.device
        )
    except OSError as error:
        unknown.append(f"disk of {settings.data.folder}: {error.strerror}")
        return None
    days = math.floor(disk.free / a_day) if a_day > 0 else None
    far = days is None or days > timedelta(days=36_500).days
    return {
        "folder": str(settings.data.folder),
        "bytes": disk.total,
        "free": disk.free,
        "used_percent": disk.used_percent,
        "a_day": round(a_day),
        "full_in_days": days,
        "full_on": None if far else (now + timedelta(days=days or 0)).date().isoformat(),
    }


def _folders(settings: Settings) -> dict[str, Any]:
    """Where what grows lies, as far as that is on this machine."""
    folders = {"logs": settings.log.folder}
    parts = urlsplit(settings.store.url)
    if parts.scheme == "sqlite":
        folders["database"] = Path(parts.path.removeprefix("/"))
    if settings.recording.storage.kind == "local":
        folders["recordings"] = settings.recording.storage.folder
    return folders


def _certificates(settings: Settings, now: datetime) -> list[dict[str, Any]]:
    found = [expiry.of_server("livekit.url", settings.livekit.url)]
    if settings.serve.tls_certificate:
        found.append(expiry.of_file("serve.tls_certificate", settings.serve.tls_certificate))
    return [
        {
            "name": one.name,
            "expires": one.expires.isoformat() if one.expires else None,
            "days_left": one.days_left(now),
            "error": one.error,
        }
        for one in found
        if one
    ]


def _findings(result: Mapping[str, Any]) -> Iterator[str]:
    """What somebody should do something about, a line each."""
    for line in result["unknown"]:
        yield f"not known: {line}"
    for one in result["certificates"]:
        if one["error"]:
            yield f"certificate {one['name']}: {one['error']}"
        elif one["days_left"] < SOON:
            yield f"certificate {one['name']} expires in {one['days_left']} days: renew it"
    disk = result["growth"]["disk"]
    if disk is None:
        return
    if disk["used_percent"] >= USED:
        how = "nearly full" if disk["used_percent"] >= USED_UP else "filling up"
        yield f"the disk of {disk['folder']} is {how}: {disk['used_percent']:.0f} % in use"
    if disk["full_in_days"] is not None and disk["full_in_days"] < FULL_SOON:
        yield f"the disk of {disk['folder']} is full in {disk['full_in_days']} days at this rate"


def _memory_change(trends: Sequence[Mapping[str, Any]]) -> float | None:
    """Per cent between the mean memory of a call in the first and in the last half of the days."""
    known = [line["memory_mean"] for line in trends if line["memory_mean"] is not None]
    half = len(known) // 2
    if not half:
        return None
    return change(sum(known[-half:]) / half, sum(known[:half]) / half)


def _line(size: float | None, a_day: float) -> dict[str, int | None]:
    """`size` is None where there is no answer."""
    if size is None:
        return {"bytes": None, "a_day": None}
    return {"bytes": round(size), "a_day": round(a_day)}


def _rounded(whole: float, many: int) -> float | None:
    return round(whole / many, 1) if many else None


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(name): value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
        for name, value in row.items()
    }
