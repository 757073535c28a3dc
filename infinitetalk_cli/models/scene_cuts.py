"""Where one shot of a film ends and the next begins, from thumbnails of all frames in one pass.

Three kinds are told apart. A hard cut is a step that stands out from the motion around it and does not come back: a
frame shortly after a flash resembles one shortly before it. A fade goes through a stretch of uniform picture, with
another one on its far side. In a dissolve the frame in the middle is a blend of two that have little in common.

All distances are mean absolute differences of thumbnails, in levels of 0-255; times decide how far a window reaches,
so any frame rate will do, constant or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

THUMBNAIL_SIZE = (32, 18)
"""(width, height) of the pictures that are compared: grain and small motion vanish, composition stays."""

MIN_SCENE_S = 0.2
"""Of two cuts closer than this the later one counts: what lies between them stays with the scene before."""

LOOKAHEAD_S = 1.0
"""How far to both sides a decision looks: half of the longest dissolve, all of the longest fade-in."""

_RETURN_S, _MIN_RETURN_FRAMES, _MAX_RETURN_FRAMES = 0.3, 3, 16
_CUT_MIN, _CUT_RATIO, _CUT_LASTS = 8.0, 4.0, 0.55
_UNIFORM, _TEXTURED = 1.5, 3.0
_DISSOLVE_REACHES_S = (1.0, 0.6, 0.35)
_DISSOLVE_MIN, _DISSOLVE_RESIDUAL, _DISSOLVE_STEP, _DISSOLVE_MIDDLE = 10.0, 0.19, 0.3, 0.15
_DISSOLVE_LIKENESS, _SAME_SCENE, _SAME_LIT_OTHERWISE = 0.55, 0.75, 0.92
_MAX_WINDOW_FRAMES = 512


@dataclass(frozen=True)
class SceneCut:
    """A scene begins with frame `index`. `reference_index` is its first frame that shows nothing but the new scene."""

    index: int
    reference_index: int
    kind: Literal["cut", "fade", "dissolve"]


@dataclass(frozen=True, eq=False)
class _Shot:
    """A frame: its place, its time, the thumbnail as float32 (h, w, 3), and how it differs from the one before."""

    index: int
    time_s: float
    pixels: np.ndarray
    step: float
    spread: float

    @property
    def is_uniform(self) -> bool:
        return self.spread < _UNIFORM


def find_cuts(thumbnails: Iterable[tuple[int, float, np.ndarray]]) -> list[SceneCut]:
    """The cuts of a film whose frames come as (index, seconds, uint8 (h, w, 3)) in order; memory stays constant."""
    finder = _Finder()
    found = [cut for window, place in _windows(_shots(thumbnails)) for cut in finder.look(window, place)]
    return _settled(found)


def _shots(thumbnails: Iterable[tuple[int, float, np.ndarray]]) -> Iterator[_Shot]:
    before = None
    for index, time_s, picture in thumbnails:
        pixels = picture.astype(np.float32)
        step = 0.0 if before is None else _distance(before, pixels)
        yield _Shot(index, time_s, pixels, step, float(pixels.mean(axis=2).std()))
        before = pixels


def _windows(shots: Iterable[_Shot]) -> Iterator[tuple[list[_Shot], int]]:
    """For every shot those around it up to `LOOKAHEAD_S`, and its place among them."""
    window: deque[_Shot] = deque()
    place = 0
    for shot in shots:
        window.append(shot)
        while window[place].time_s + LOOKAHEAD_S < shot.time_s or len(window) - place > _MAX_WINDOW_FRAMES:
            yield list(window), place
            place += 1
            while window[0].time_s < window[place].time_s - LOOKAHEAD_S or place > _MAX_WINDOW_FRAMES:
                window.popleft()
                place -= 1
    for rest in range(place, len(window)):
        yield list(window), rest


class _Finder:
    """Candidates for cuts, frame by frame; remembers what was seen before a uniform stretch."""

    def __init__(self) -> None:
        self._last_textured: np.ndarray | None = None
        self._was_uniform = False

    def look(self, window: list[_Shot], place: int) -> Iterator[tuple[float, float, SceneCut]]:
        """(seconds, weight, cut) for each way in which the frame at `place` begins a scene."""
        shot = window[place]
        if shot.is_uniform:
            self._was_uniform = True
            return
        if self._was_uniform and shot.spread >= _TEXTURED:
            self._was_uniform = False
            known = self._last_textured
            if known is None or all(_likeness(known, other.pixels) < _SAME_SCENE for other in window[place:]):
                first = _first_after_uniform(window, place)
                yield first.time_s, 2.0, SceneCut(first.index, _clearest(window[place:]).index, "fade")
        elif not self._was_uniform and _is_hard_cut(window, place):
            yield shot.time_s, 3.0, SceneCut(shot.index, shot.index, "cut")
        elif not self._was_uniform:
            yield from _dissolve(window, place)
        if shot.spread >= _TEXTURED:
            self._last_textured = shot.pixels


def _is_hard_cut(window: list[_Shot], place: int) -> bool:
    shot = window[place]
    if place == 0 or shot.step < _CUT_MIN or window[place - 1].is_uniform:
        return False
    others = [other for other in window if other is not shot]
    around = [other.step for other in others if abs(other.time_s - shot.time_s) <= LOOKAHEAD_S / 2]
    if around and shot.step < _CUT_RATIO * float(np.median(around)):
        return False
    before, after = _near(window[:place][::-1], shot), _near(window[place:], shot)
    return all(
        _distance(one.pixels, other.pixels) >= _CUT_LASTS * shot.step
        and _likeness(one.pixels, other.pixels) < _SAME_LIT_OTHERWISE
        for one in before
        for other in after
    )


def _near(shots: list[_Shot], shot: _Shot) -> list[_Shot]:
    """Those within `_RETURN_S` of `shot`, nearest first, in any case a few."""
    close = [other for other in shots[:_MAX_RETURN_FRAMES] if abs(other.time_s - shot.time_s) <= _RETURN_S]
    return close if len(close) >= _MIN_RETURN_FRAMES else shots[:_MIN_RETURN_FRAMES]


def _dissolve(window: list[_Shot], place: int) -> Iterator[tuple[float, float, SceneCut]]:
    """The middle of a dissolve, if that is what this frame is."""
    shot = window[place]
    for reach_s in _DISSOLVE_REACHES_S:
        first = _at(window[: place + 1], shot.time_s - reach_s)
        last = _at(window[place:], shot.time_s + reach_s)
        chord = _distance(first.pixels, last.pixels)
        if chord < _DISSOLVE_MIN or first.is_uniform or last.is_uniform:
            continue
        inside = [other for other in window if first.index < other.index <= last.index]
        if len(inside) < 5 or max(other.step for other in inside) > _DISSOLVE_STEP * chord:
            continue
        change = (last.pixels - first.pixels).ravel()
        share = float((shot.pixels - first.pixels).ravel() @ change / (change @ change))
        residual = _distance(shot.pixels, first.pixels + share * (last.pixels - first.pixels)) / chord
        is_blend = residual <= _DISSOLVE_RESIDUAL and abs(share - 0.5) <= _DISSOLVE_MIDDLE
        if is_blend and _likeness(first.pixels, last.pixels) < _DISSOLVE_LIKENESS:
            yield shot.time_s, 1.0 - abs(share - 0.5) - residual, SceneCut(shot.index, last.index, "dissolve")
            return


def _first_after_uniform(window: list[_Shot], place: int) -> _Shot:
    """The first frame of the rise out of a uniform stretch, of which `place` is the first clearly textured one."""
    while place > 0 and not window[place - 1].is_uniform:
        place -= 1
    return window[place]


def _clearest(shots: list[_Shot]) -> _Shot:
    """The first frame with nearly all the contrast that a fade-in arrives at, before anything else happens."""
    coming = [shots[0]]
    for shot in shots[1:]:
        if shot.step > max(_CUT_MIN, _CUT_LASTS * shot.spread):
            break
        coming.append(shot)
    full = max(shot.spread for shot in coming)
    return next(shot for shot in coming if shot.spread >= 0.9 * full)


def _settled(found: list[tuple[float, float, SceneCut]]) -> list[SceneCut]:
    """One cut per transition: of gradual candidates near each other the best, of hard ones the last."""
    hard = [(time_s, cut) for time_s, _, cut in found if cut.kind != "dissolve"]
    kept: list[tuple[float, SceneCut]] = []
    for time_s, cut in hard:
        if kept and time_s - kept[-1][0] < MIN_SCENE_S:
            kept.pop()
        kept.append((time_s, cut))
    gradual: list[tuple[float, float, SceneCut]] = []
    for time_s, weight, cut in found:
        if cut.kind != "dissolve" or any(abs(time_s - other) < LOOKAHEAD_S for other, _ in kept):
            continue
        if gradual and time_s - gradual[-1][0] < LOOKAHEAD_S:
            gradual[-1] = max(gradual[-1], (time_s, weight, cut), key=lambda candidate: candidate[1])
        else:
            gradual.append((time_s, weight, cut))
    return [cut for _, cut in sorted([*kept, *((time_s, cut) for time_s, _, cut in gradual)], key=lambda at: at[0])]


def _at(shots: list[_Shot], time_s: float) -> _Shot:
    return min(shots, key=lambda shot: abs(shot.time_s - time_s))


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the brightness of two thumbnails: 1 for the same picture, also when lighter or darker."""
    one, other = one.mean(axis=2).ravel(), other.mean(axis=2).ravel()
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-6))
