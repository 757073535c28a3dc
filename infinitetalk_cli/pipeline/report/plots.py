"""Small plots as inline SVG; colours come from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from infinitetalk_cli.units import clock

Point = tuple[float, float]

_WIDTH, _HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 414, 8, 126
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def line_plot(curve: Sequence[Point], beside: Sequence[Point], floor: float | None) -> str:
    """Values over seconds: `curve` drawn out, `beside` dashed; `floor` is shown in any case."""
    values = [value for _, value in (*curve, *beside)] + ([] if floor is None else [floor])
    low, high, step = _scale(min(values), max(values))
    first, last = min(time for time, _ in curve), max(time for time, _ in curve)

    def place(point: Point) -> tuple[float, float]:
        across = 0.5 if last == first else (point[0] - first) / (last - first)
        return _LEFT + across * (_RIGHT - _LEFT), _BOTTOM - (point[1] - low) / (high - low) * (_BOTTOM - _TOP)

    parts = []
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        y = place((first, value))[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.{_decimals(step)}f}</text>')
    for time, anchor in ((first, "start"), (last, "end")) if last > first else ((first, "middle"),):
        parts.append(
            f'<text x="{place((time, low))[0]:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{clock(time)}</text>'
        )
    parts += [_drawn("two", [place(point) for point in beside]), _drawn("one", [place(point) for point in curve])]
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


def _drawn(kind: str, places: Sequence[Point]) -> str:
    if len(places) == 1:
        return f'<circle class="{kind}" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>'
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'


def _scale(lowest: float, highest: float) -> tuple[float, float, float]:
    """A round range around the values, and a step that makes about three lines in it."""
    step = next((step for step in _STEPS if step * 3 >= highest - lowest), _STEPS[-1])
    low = math.floor(lowest / step) * step
    return low, max(math.ceil(highest / step) * step, low + step), step


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step)))
