"""Small charts as inline SVG: bars over time, bars by name. No script, no style from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 200
LEFT, BELOW, ABOVE = 46, 22, 12
LABELS = 12
"""Words under a chart, at most."""
LINE = 24
"""Height of a bar with a name."""


def columns(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    title: str,
    unit: str = "",
) -> str:
    """A group of bars for each label, one for each of the series; the first is drawn first.

    What is not known (None) leaves a gap. Everything is escaped.
    """
    many = max(len(labels), 1)
    values = [value for row in series.values() for value in row if value is not None]
    top = _round_up(max(values, default=0.0))
    room, base = (WIDTH - LEFT) / many, HEIGHT - BELOW
    thick = room * 0.8 / max(len(series), 1)
    parts = [_frame(top, unit)]
    for order, (name, row) in enumerate(series.items()):
        for index, value in enumerate(row):
            if value is None:
                continue
            high = (base - ABOVE) * value / top
            x = LEFT + index * room + room * 0.1 + order * thick
            tip = f"{labels[index]}: {_short(value)}{unit} {name}"
            parts.append(
                f'<rect class="s{order}" x="{x:.1f}" y="{base - high:.1f}" width="{thick:.1f}"'
                f' height="{high:.1f}"><title>{escape(tip)}</title></rect>'
            )
    every = -(-many // LABELS)
    for index in range(0, len(labels), every):
        x = LEFT + (index + 0.5) * room
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
            f"{escape(labels[index])}</text>"
        )
    return _figure(title, HEIGHT, "".join(parts), list(series) if len(series) > 1 else [])


def bars(values: Mapping[str, float], *, title: str, unit: str = "") -> str:
    """A horizontal bar for each name, in the order that is given."""
    most = max(values.values(), default=0.0) or 1.0
    parts = []
    for index, (name, value) in enumerate(values.items()):
        y, wide = index * LINE, (WIDTH - 330) * max(value, 0.0) / most
        parts.append(
            f'<text x="190" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="s0" x="200" y="{y + 4}" width="{wide:.1f}" height="16"/>'
            f'<text x="{206 + wide:.1f}" y="{y + 16}">{escape(_short(value) + unit)}</text>'
        )
    return _figure(title, max(len(values), 1) * LINE, "".join(parts), [])


def _frame(top: float, unit: str) -> str:
    """Three lines with what they stand for."""
    base = HEIGHT - BELOW
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = base - (base - ABOVE) * share
        told = escape(_short(top * share) + unit)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{told}</text>'
        )
    return "".join(parts)


def _figure(title: str, height: float, inside: str, names: Sequence[str]) -> str:
    key = "".join(
        f'<span><i class="s{order}"></i>{escape(name)}</span>' for order, name in enumerate(names)
    )
    legend = f'<div class="key">{key}</div>' if key else ""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>{legend}"
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{inside}</svg></figure>"
    )


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(f"{value:.0f}") - 1) if value >= 1 else 0.1
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= value)


def _short(value: float) -> str:
    """Whole numbers as they are, others with what matters of them."""
    if value == int(value):
        return f"{int(value)}"
    return f"{value:.4g}"
