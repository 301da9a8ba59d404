"""A report as one HTML page that needs nothing else: charts, tables, no script. Pure.

Names in it come from settings and from providers; all of them are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ops.upkeep import charts
from ops.upkeep.figures import NAMES

UNKNOWN = "–"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--paper:#fff;--soft:#6b7686;--line:#d9dee6;--s0:#2f6fb3;
--s1:#c8553d;--s2:#e0a030}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--paper:#14181f;--soft:#95a1b3;--line:#333b47;
--s0:#6aa5e3;--s1:#e5806b;--s2:#e8b95c}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:760px;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p,figcaption,th{color:var(--soft)}figure{margin:1rem 0}svg{width:100%;height:auto}
svg text{font-size:11px;fill:var(--soft)}svg line{stroke:var(--line)}
.s0{fill:var(--s0);background:var(--s0)}.s1{fill:var(--s1);background:var(--s1)}
.s2{fill:var(--s2);background:var(--s2)}
.key span{margin-right:1rem}.key i{display:inline-block;width:.7em;height:.7em;margin-right:.35em}
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.2rem .4rem;
border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}
"""


def page(report: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The whole page; `labels` name the hours or days of the report's series."""
    title = f"{report['report'].capitalize()} report, {report['date']}"
    between = f"{report['from']} to {report['to']} ({report['zone']})"
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(between)}</p>"]
    if not report["is_over"]:
        parts.append("<p>Not over yet: more calls may follow.</p>")
    if report["first_call"] is None:
        parts.append("<p>No calls yet.</p>")
    else:
        parts += _sections(report, labels)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"{''.join(parts)}"
        f"<p>Made at {escape(report['made_at'])}. Canary calls and callers who only heard that all"
        " is busy or closed are left out.</p></body></html>\n"
    )


def headlines(report: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The figures that matter most, as texts: name, now, before, change."""
    return [
        (NAMES[one["what"]], _told(one["now"]), _told(one["before"]), _change(one["change"]))
        for one in report["trends"]
    ]


def _sections(report: Mapping[str, Any], labels: Sequence[str]) -> Iterable[str]:
    yield _table(("", "now", "before", "change"), headlines(report))
    yield from _volume(report, labels)
    yield from _latency(report, labels)
    yield "<h2>Quality</h2>" + _quality(report["quality"])
    yield "<h2>Endings</h2>" + charts.bars(report["endings"], title="Calls by reason of their end")
    yield "<h2>Errors</h2>" + _errors(report["errors"])
    yield "<h2>Cost</h2>" + _cost(report["cost"])


def _volume(report: Mapping[str, Any], labels: Sequence[str]) -> Iterable[str]:
    volume, series = report["volume"], report["series"]
    yield "<h2>Volume</h2>"
    yield charts.columns(
        labels,
        {"calls": series["calls"], "failed": series["failed"]},
        title="Calls that began, and those of them that failed",
    )
    yield _table(
        ("", "calls"),
        [
            ("inbound", _told(volume["inbound"])),
            ("outbound", _told(volume["outbound"])),
            ("answered", _told(volume["answered"])),
            ("most at once", _told(volume["most_at_once"])),
            ("turns of callers", _told(volume["turns"])),
            *((f"persona {name}", _told(many)) for name, many in volume["by_persona"].items()),
            *((f"left out: {name}", _told(many)) for name, many in volume["left_out"].items()),
        ],
    )


def _latency(report: Mapping[str, Any], labels: Sequence[str]) -> Iterable[str]:
    parts = report["latency"]
    yield "<h2>Latency</h2>"
    yield charts.columns(
        labels,
        {"p95": report["series"]["response_p95"]},
        title="Response latency, p95: from the end of the caller's turn to the first audio",
        unit=" s",
    )
    names = [name.replace("_", " ") for name in parts]
    shares = {share: [part[share] for part in parts.values()] for share in ("p50", "p95", "p99")}
    yield charts.columns(names, shares, title="The response and its parts", unit=" s")
    spreads = {**parts, "duration of a call": report["duration"]}
    columns = ("count", "mean", "p50", "p95", "p99", "most")
    yield _table(
        ("seconds", *columns),
        [
            (name.replace("_", " "), *(_told(part[column]) for column in columns))
            for name, part in spreads.items()
        ],
    )


def _quality(quality: Mapping[str, Any]) -> str:
    audio, silence = quality["audio"], quality["dead_air"]
    return _table(
        ("", "value"),
        [
            ("audio, estimated MOS, mean", _told(audio["mean"])),
            ("audio, estimated MOS, worst", _told(audio["worst"])),
            ("recogniser's confidence, mean", _told(quality["confidence"]["mean"])),
            ("recogniser's confidence, p5", _told(quality["confidence"]["p5"])),
            ("silences of 3 s and more, before anything was heard", _told(silence["count"])),
            ("longest silence, s", _told(silence["most"])),
            ("fillers said", _told(silence["fillers"])),
            ("apologies said", _told(silence["apologies"])),
            ("replies that callers cut off, share", _told(quality["interrupted_share"])),
            ("turns not understood", _told(quality["not_understood"])),
        ],
    )


def _errors(errors: Mapping[str, Any]) -> str:
    names = ("failed_calls", "failed_share", "gave_up", "transfer_failed", "recordings_failed")
    rows = [(name.replace("_", " "), _told(errors[name])) for name in names]
    rows += [(f"provider failed: {name}", _told(n)) for name, n in errors["providers"].items()]
    chart = charts.bars(errors["by_reason"], title="Failed calls by reason")
    return _table(("", "value"), rows) + (chart if errors["by_reason"] else "")


def _cost(costs: Sequence[Mapping[str, Any]]) -> str:
    if not costs:
        return "<p>Nothing is known of what these calls cost.</p>"
    parts = []
    for cost in costs:
        unit = f" {cost['currency']}"
        rows = [
            ("known", _told(cost["known"]) + unit),
            ("a call", _told(cost["a_call"]) + unit),
            ("calls", _told(cost["calls"])),
            ("calls not wholly known", _told(cost["calls_not_wholly_known"])),
        ]
        by = {name: value or 0.0 for name, value in cost["by_provider"].items()}
        parts.append(_table(("", "cost"), rows) + charts.bars(by, title="By provider", unit=unit))
    return "".join(parts)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _told(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _change(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+.1f} %"
