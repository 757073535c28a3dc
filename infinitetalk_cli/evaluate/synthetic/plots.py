"""Plots as PNG, drawn with Pillow: lines with intervals, and bars. Drawn large and shrunk, so that edges are smooth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from infinitetalk_cli.evaluate.intervals import Estimate

Point = tuple[float, float]

_SCALE = 2
_WIDTH, _HEIGHT = 860, 470
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 640, 46, 414
_LEGEND_X, _LEGEND_STEP = 664, 24
_BAR_STEP, _BAR_LEFT, _BAR_RIGHT = 30, 250, 720
_INK, _SOFT, _LINE, _GROUND = "#1d1c1a", "#6d6a63", "#e4e0d8", "#ffffff"
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8a8a00", "#444444", "#b3261e")
"""Told apart by people who see colours differently (the first six: Okabe and Ito)."""


@dataclass(frozen=True)
class Curve:
    """Points of a line, an interval around each (None: not known), and what is written at each."""

    name: str
    x: list[float]
    y: list[float]
    spread: list[tuple[float, float] | None] = field(default_factory=list)
    is_dashed: bool = False
    labels: list[str] = field(default_factory=list)

    @staticmethod
    def of(name: str, x: Iterable[float], values: Sequence[Estimate], is_dashed: bool = False) -> Curve:
        """A curve of estimates."""
        spread = [None if value.low is None else (value.low, value.high) for value in values]
        return Curve(name, [float(place) for place in x], [value.value for value in values], spread, is_dashed)


@dataclass(frozen=True)
class Plot:
    """Lines over x."""

    title: str
    x_label: str
    y_label: str
    curves: list[Curve]


@dataclass(frozen=True)
class Bar:
    """A value with its interval."""

    name: str
    value: float
    spread: tuple[float, float] | None = None

    @staticmethod
    def of(name: str, value: Estimate) -> Bar:
        """A bar of an estimate."""
        return Bar(name, value.value, None if value.low is None else (value.low, value.high))


@dataclass(frozen=True)
class Bars:
    """Values beside each other."""

    title: str
    bars: list[Bar]


def draw(picture: Plot | Bars) -> Image.Image:
    """The plot as a picture."""
    return _draw_lines(picture) if isinstance(picture, Plot) else _draw_bars(picture)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `wanted` of them."""
    span = max(high - low, 1e-6 * max(1.0, abs(high)))
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


@cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size * _SCALE)


class _Sheet:
    """A canvas in the plot's own units."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * _SCALE, height * _SCALE), _GROUND)
        self._draw = ImageDraw.Draw(self.image, "RGBA")

    def line(self, points: Sequence[Point], color: str, width: float = 1.0) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=color, width=max(1, round(width * _SCALE)), joint="curve")

    def dashed(self, points: Sequence[Point], color: str) -> None:
        for (x0, y0), (x1, y1) in pairwise(points):
            length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
            for start in range(0, math.ceil(length), 9):
                a, b = start / length, min(1.0, (start + 5) / length)
                self.line(
                    [(x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))], color, 1.5
                )

    def area(self, points: Sequence[Point], color: str) -> None:
        red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
        self._draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill=(red, green, blue, 36))

    def dot(self, point: Point, color: str, radius: float = 3.0) -> None:
        x, y = point
        box = [(x - radius) * _SCALE, (y - radius) * _SCALE, (x + radius) * _SCALE, (y + radius) * _SCALE]
        self._draw.ellipse(box, fill=color)

    def box(self, left: float, top: float, right: float, bottom: float, color: str) -> None:
        self._draw.rectangle([left * _SCALE, top * _SCALE, right * _SCALE, bottom * _SCALE], fill=color)

    def text(self, point: Point, text: str, anchor: str = "lm", color: str = _INK, size: int = 13) -> None:
        self._draw.text((point[0] * _SCALE, point[1] * _SCALE), text, fill=color, font=_font(size), anchor=anchor)

    def upright(self, middle: Point, text: str) -> None:
        """Text from below to above, around a point."""
        font = _font(13)
        width = math.ceil(font.getlength(text)) + 4
        strip = Image.new("RGB", (width, 20 * _SCALE), _GROUND)
        ImageDraw.Draw(strip).text((2, 10 * _SCALE), text, fill=_SOFT, font=font, anchor="lm")
        turned = strip.rotate(90, expand=True)
        place = round(middle[0] * _SCALE - turned.width / 2), round(middle[1] * _SCALE - turned.height / 2)
        self.image.paste(turned, place)

    def shrunk(self) -> Image.Image:
        return self.image.reduce(_SCALE)


def _number(value: float, step: float) -> str:
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}" if step < 1 else f"{value:g}"


def _draw_lines(plot: Plot) -> Image.Image:
    sheet = _Sheet(_WIDTH, _HEIGHT)
    xs = [x for curve in plot.curves for x in curve.x]
    ys = [y for curve in plot.curves for y in (*curve.y, *(edge for pair in curve.spread if pair for edge in pair))]
    x_ticks = sorted(set(plot.curves[0].x)) if len(set(xs)) <= 17 else ticks(min(xs), max(xs), 6)
    if any(curve.labels for curve in plot.curves):
        x_ticks = ticks(min(xs), max(xs), 6)
    y_ticks = ticks(min(ys), max(ys))
    low_x, high_x = min([*x_ticks, *xs]), max([*x_ticks, *xs])

    def place(x: float, y: float) -> Point:
        across = 0.5 if high_x == low_x else (x - low_x) / (high_x - low_x)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + across * (_RIGHT - _LEFT), _BOTTOM - up * (_BOTTOM - _TOP)

    for value in y_ticks:
        y = place(low_x, value)[1]
        sheet.line([(_LEFT, y), (_RIGHT, y)], _LINE)
        sheet.text((_LEFT - 8, y), _number(value, y_ticks[1] - y_ticks[0]), "rm", _SOFT, 12)
    for value in x_ticks:
        sheet.text((place(value, y_ticks[0])[0], _BOTTOM + 14), f"{value:g}", "mm", _SOFT, 12)
    sheet.text((_LEFT, 22), plot.title, size=16)
    sheet.text(((_LEFT + _RIGHT) / 2, _HEIGHT - 18), plot.x_label, "mm", _SOFT)
    sheet.upright((20, (_TOP + _BOTTOM) / 2), plot.y_label)
    for index, curve in enumerate(plot.curves):
        _draw_curve(sheet, curve, [place(x, y) for x, y in zip(curve.x, curve.y, strict=True)], index, place)
    return sheet.shrunk()


def _draw_curve(sheet: _Sheet, curve: Curve, points: list[Point], index: int, place) -> None:
    color = _COLORS[index % len(_COLORS)]
    if curve.spread and all(pair is not None for pair in curve.spread) and len(points) > 1:
        lower, upper = ([place(x, pair[k]) for x, pair in zip(curve.x, curve.spread, strict=True)] for k in (0, 1))
        sheet.area([*lower, *reversed(upper)], color)
    if curve.is_dashed:
        sheet.dashed(points, color)
    else:
        sheet.line(points, color, 2.0)
        for point in points:
            sheet.dot(point, color)
    for point, label in zip(points, curve.labels, strict=False):
        sheet.text((point[0] + 8, point[1] + 11), label, "lm", color, 12)
    y = _TOP + 10 + index * _LEGEND_STEP
    swatch = [(_LEGEND_X, y), (_LEGEND_X + 22, y)]
    if curve.is_dashed:
        sheet.dashed(swatch, color)
    else:
        sheet.line(swatch, color, 2.5)
    sheet.text((_LEGEND_X + 30, y), curve.name, size=12)


def _draw_bars(plot: Bars) -> Image.Image:
    height = 84 + _BAR_STEP * len(plot.bars)
    sheet = _Sheet(_WIDTH, height)
    sheet.text((24, 22), plot.title, size=16)
    edges = [edge for bar in plot.bars for edge in (0.0, bar.value, *(bar.spread or ()))]
    marks = ticks(min(edges), max(edges))

    def across(value: float) -> float:
        return _BAR_LEFT + (value - marks[0]) / (marks[-1] - marks[0]) * (_BAR_RIGHT - _BAR_LEFT)

    bottom = 50 + _BAR_STEP * len(plot.bars)
    for value in marks:
        sheet.line([(across(value), 44), (across(value), bottom)], _LINE)
        sheet.text((across(value), bottom + 16), _number(value, marks[1] - marks[0]), "mm", _SOFT, 12)
    for index, bar in enumerate(plot.bars):
        y, color = 50 + _BAR_STEP * index + _BAR_STEP / 2, _COLORS[index % len(_COLORS)]
        left, right = sorted((across(0.0), across(bar.value)))
        sheet.box(left, y - 8, right, y + 8, color)
        if bar.spread is not None:
            sheet.line([(across(bar.spread[0]), y), (across(bar.spread[1]), y)], _INK, 1.5)
        sheet.text((_BAR_LEFT - 10, y), bar.name, "rm", size=13)
        sheet.text((_BAR_RIGHT + 12, y), f"{bar.value:.3g}", size=13)
    return sheet.shrunk()
