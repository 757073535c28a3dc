"""Made footage for the search for cuts: rooms with a person who moves, and the ways in which films join them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (160, 96)


@dataclass(frozen=True)
class Shot:
    """A camera position: what is seen follows from `seed`; speeds are in widths of the picture per second.

    A camera that pans keeps the person where it is in the picture, in whole pixels. One that drifts (right, down),
    zooms (a factor per second), turns (radians per second) or shakes (widths) sees room and person move together.
    `walk` is the person's own speed, `stature` its size, `detail` 0 a bare wall.
    """

    seed: int
    duration_s: float
    pan: float = 0.0
    motion: float = 0.05
    grain: float = 2.0
    brightness: float = 1.0
    detail: int = 6
    drift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    turn: float = 0.0
    shake: float = 0.0
    walk: float = 0.0
    stature: float = 1.0

    @property
    def is_carried(self) -> bool:
        """Whether the camera moves otherwise than by `pan`."""
        return self.drift != (0.0, 0.0) or self.zoom != 1 or self.turn != 0 or self.shake != 0

    def camera_at(self, time_s: float) -> tuple[float, float, float, float]:
        """Where the middle of the picture is in the room (widths right and down), its zoom and its turn."""
        unrest = [
            self.shake * sum(np.sin(2 * np.pi * hz * time_s + phase + self.seed) for hz, phase in waves) / 2
            for waves in (((1.7, 0.0), (4.1, 1.0)), ((2.3, 2.0), (3.7, 3.0)))
        ]
        x, y = (speed * time_s + jerk for speed, jerk in zip(self.drift, unrest, strict=True))
        return x, y, self.zoom**time_s, self.turn * time_s


@dataclass(frozen=True)
class Film:
    """Pictures (h, w, 3) uint8 with their times, and the numbers of the frames at which a scene begins."""

    frames: list[np.ndarray]
    times_s: list[Fraction]
    cuts: list[int]


def shoot(shot: Shot, rate: Fraction, size: tuple[int, int] = SIZE, num_frames: int | None = None) -> list[np.ndarray]:
    """Frames of one shot as float32 (h, w, 3) in 0-255."""
    random = np.random.default_rng(shot.seed)
    width, height = size
    backdrop = _texture(random, shot.detail, height, 4 * width) * random.uniform(0.5, 1.1, 3) * 0.8
    skin = random.uniform(110, 230) * np.array([1.0, 0.78, 0.65])
    centre, radius = random.uniform((0.3, 0.4), (0.7, 0.6)), random.uniform(0.12, 0.3) * shot.stature
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    frames = []
    for index in range(num_frames or round(shot.duration_s * rate)):
        time_s = float(index / rate)
        left = min(int(width * abs(shot.pan) * time_s), 3 * width)
        picture = backdrop[:, left : left + width].copy()
        if shot.is_carried:
            columns, rows = _seen(shot.camera_at(time_s), size)
            picture = _sampled(backdrop, columns, rows)
        x = width * (centre[0] + shot.walk * time_s + shot.motion * np.sin(2.1 * time_s)) - columns
        y = height * (centre[1] + 0.6 * shot.motion * np.sin(3.3 * time_s + 1)) - rows
        picture[(x / (0.75 * radius * height)) ** 2 + (y / (radius * height)) ** 2 < 1] = skin
        mouth = 0.12 + 0.1 * np.sin(12 * time_s)
        is_mouth = (x / (0.3 * radius * height)) ** 2 + ((y + 0.45 * radius * height) / (mouth * radius * height)) ** 2
        picture[is_mouth < 1] = (90, 25, 30)
        picture += shot.grain * random.standard_normal(picture.shape)
        frames.append(np.clip(shot.brightness * picture, 0, 255).astype(np.float32))
    return frames


def _seen(camera: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(columns, rows) in the room, in px, of every pixel of a picture of `size`."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    columns, rows = columns - (width - 1) / 2, rows - (height - 1) / 2
    x, y, zoom, turn = camera
    cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
    right, down = cos * columns + sin * rows, cos * rows - sin * columns
    return right + (width - 1) / 2 + x * width, down + (height - 1) / 2 + y * width


def _sampled(backdrop: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The room there; it goes on in mirrors beyond what is painted."""
    from scipy.ndimage import map_coordinates

    places = (rows, columns)
    return np.stack([map_coordinates(backdrop[..., c], places, order=1, mode="mirror") for c in range(3)], axis=-1)


def join(shots: Iterable[Shot], rate: Fraction, transition: str = "cut", transition_s: float = 0.0) -> Film:
    """Shots one after the other with "cut", "dissolve" or "fade" (through black) of `transition_s` between them.

    The scene of a dissolve begins in its middle; that of a fade where its picture begins to rise.
    """
    frames: list[np.ndarray] = []
    cuts: list[int] = []
    length = round(transition_s * rate)
    for shot in shots:
        extra = length if frames and transition == "dissolve" else 0
        coming = shoot(shot, rate, num_frames=round(shot.duration_s * rate) + extra)
        if not frames:
            frames = coming
            continue
        cuts.append(len(frames) + (length // 2 if transition != "dissolve" and length else -(extra // 2)))
        shares = (np.arange(length) + 0.5) / max(1, length)
        if transition == "dissolve":
            for place, share in enumerate(shares):
                frames[place - length] = (1 - share) * frames[place - length] + share * coming[place]
            frames += coming[length:]
        elif length:
            half = length // 2
            frames += [frames[-1] * (1 - (k + 1) / half) for k in range(half)]
            frames += [coming[0] * ((k + 1) / half) for k in range(half)] + coming
        else:
            frames += coming
    return _film(frames, rate, cuts)


def flash(film: Film, at: int, length: int = 1, strength: float = 1.0, decay: int = 0) -> Film:
    """`film` with a white flash over frames `[at, at + length)`, fading over `decay` more."""
    frames = list(film.frames)
    for place in range(at, min(at + length + decay, len(frames))):
        share = strength * (1.0 if place < at + length else 1 - (place - at - length + 1) / (decay + 1))
        frames[place] = frames[place] + share * (255.0 - frames[place])
    return replace(film, frames=frames)


def relight(film: Film, at: int, factor: float) -> Film:
    """`film` with the lights changed from frame `at` on."""
    frames = [np.clip(frame * (factor if place >= at else 1), 0, 255) for place, frame in enumerate(film.frames)]
    return replace(film, frames=frames)


def thumbnails(film: Film, size: tuple[int, int]) -> Iterator[tuple[int, float, np.ndarray]]:
    """(index, seconds, uint8 picture of `size`) of every frame."""
    from PIL import Image

    for index, (frame, time_s) in enumerate(zip(film.frames, film.times_s, strict=True)):
        picture = Image.fromarray(frame.astype(np.uint8)).resize(size, Image.Resampling.BOX)
        yield index, float(time_s), np.asarray(picture)


def write_film(path: Path, film: Film, rate: Fraction, **options: str) -> Path:
    """Write `film` to `path` as H.264 with its own time stamps; returns `path`."""
    with av.open(f"file:{path}", "w") as container:
        container.flags |= av.container.Flags.bitexact.value
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "18", **options})
        stream.height, stream.width = film.frames[0].shape[:2]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.codec_context.time_base = Fraction(1, rate.numerator * 1000)
        for pixels, time_s in zip(film.frames, film.times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels.astype(np.uint8)), format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(time_s / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _film(frames: list[np.ndarray], rate: Fraction, cuts: list[int]) -> Film:
    return Film(frames, [index / rate for index in range(len(frames))], cuts)


def _texture(random: np.random.Generator, detail: int, height: int, width: int) -> np.ndarray:
    """Smooth coloured blotches, (h, w, 3) float32 in about 20-235."""
    from PIL import Image

    if detail == 0:
        return np.full((height, width, 3), random.uniform(60, 200), np.float32)
    coarse = random.uniform(20, 235, (detail, 4 * detail, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.float32)
