"""Measures the search for camera motion on made footage of which every motion is known, and on files.

`python tests/bench/camera_motion.py` prints the table of docs/camera-lock.md; with video files as arguments, what is
found in them. A few minutes on one core.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from footage import Shot, shoot

from infinitetalk_cli.config.camera import CameraProfile
from infinitetalk_cli.models.camera_motion import busiest_second, camera_motions, mean_radius, working_size

SIZE, SECONDS, SEEDS = (288, 168), 1.6, range(4)
MODEL_PX = 640
"""Side of the square picture at which px are given: that of the published 480p."""

CASES = {
    "still, person sways": Shot(0, SECONDS, motion=0.05),
    "still, large person moves": Shot(0, SECONDS, motion=0.12, stature=1.6),
    "still, somebody walks by": Shot(0, SECONDS, walk=0.2),
    "still, heavy grain": Shot(0, SECONDS, motion=0.1, grain=8.0),
    "still, dark": Shot(0, SECONDS, motion=0.1, brightness=0.3),
    "still, bare wall": Shot(0, SECONDS, detail=0, motion=0.12, stature=1.4),
    "pan 0.4 %/s": Shot(0, SECONDS, drift=(0.003, 0.0)),
    "pan 1 %/s": Shot(0, SECONDS, drift=(0.0075, 0.0)),
    "pan 10 %/s, person walks": Shot(0, SECONDS, drift=(0.075, 0.0), walk=0.1),
    "pan 60 %/s": Shot(0, SECONDS, drift=(0.45, 0.0)),
    "pan that follows the person": Shot(0, SECONDS, pan=0.2),
    "zoom 2 %/s": Shot(0, SECONDS, zoom=1.02),
    "zoom 15 %/s": Shot(0, SECONDS, zoom=1.15),
    "turn 3 degrees/s": Shot(0, SECONDS, turn=0.05),
    "hand, 1 px": Shot(0, SECONDS, shake=0.0025),
    "hand, 4 px": Shot(0, SECONDS, shake=0.01),
    "hand, 4 px, large person": Shot(0, SECONDS, shake=0.01, stature=1.6, motion=0.12),
    "hand, 4 px, bare wall": Shot(0, SECONDS, detail=0, shake=0.01, stature=1.4),
}
EVERY, RATE, DETAIL = 2, Fraction(25), 16
THRESHOLD = CameraProfile().min_motion


def true_steps(shot: Shot, times_s: list[float]) -> np.ndarray:
    """Right, down (px at MODEL_PX), zoom and turn from each picture to the next."""
    steps = []
    px = MODEL_PX * (SIZE[0] / SIZE[1]) ** 0.5
    for (x, y, zoom, turn), (x1, y1, zoom1, turn1) in pairwise(shot.camera_at(time_s) for time_s in times_s):
        right, down = px * zoom1 * (x - x1), px * zoom1 * (y - y1)
        cos, sin = np.cos(turn1), np.sin(turn1)
        steps.append((cos * right - sin * down, sin * right + cos * down, zoom1 / zoom - 1, turn1 - turn))
    return np.array(steps)


def measure(shot: Shot) -> tuple[float, float, np.ndarray]:
    """True and found speed of the busiest second, px/s at MODEL_PX, and the errors of all steps (n,), px."""
    frames = shoot(shot, RATE, SIZE)[::EVERY]
    size, times_s = working_size(*SIZE), [float(EVERY * k / RATE) for k in range(len(frames))]
    pictures = [
        np.asarray(Image.fromarray(frame.astype(np.uint8)).convert("L").resize(size, Image.Resampling.BOX))
        for frame in frames
    ]
    motions = camera_motions(pictures, list(pairwise(range(len(pictures)))))
    true = true_steps(replace(shot, drift=(shot.pan, 0.0)) if shot.pan else shot, times_s)
    radius = MODEL_PX * mean_radius(SIZE[0] / SIZE[1])
    found = np.array([(MODEL_PX * m.right, MODEL_PX * m.down, m.zoom, m.turn) for m in motions])
    away = (found - true) * [1, 1, radius, radius]
    speed = np.median(np.linalg.norm(true * [1, 1, radius, radius], axis=1)) * float(RATE) / EVERY
    best = busiest_second(motions, times_s, SIZE[0] / SIZE[1])
    return float(speed), MODEL_PX * best.speed, np.linalg.norm(away, axis=1)


def main() -> None:
    """Print one row per case."""
    print(f"threshold {MODEL_PX * THRESHOLD:.1f} px/s at {MODEL_PX}x{MODEL_PX}; {len(SEEDS)} shots each")
    print("| camera | true px/s | found px/s, least to most | locked | error of a step, median and 95 %, px |")
    print("|---|---|---|---|---|")
    for name, shot in CASES.items():
        detail = 0 if shot.detail == 0 else DETAIL
        rows = [measure(replace(shot, seed=seed, detail=detail)) for seed in SEEDS]
        speeds = sorted(found for _, found, _ in rows)
        locked = sum(speed >= MODEL_PX * THRESHOLD for speed in speeds)
        errors = np.concatenate([error for _, _, error in rows])
        true = np.mean([speed for speed, _, _ in rows])
        print(
            f"| {name} | {true:.1f} | {speeds[0]:.1f} - {speeds[-1]:.1f} | {locked} of {len(rows)} "
            f"| {np.median(errors):.2f}, {np.percentile(errors, 95):.2f} |",
            flush=True,
        )


def measure_file(path: Path) -> None:
    """Print what the stage finds in a file without cuts."""
    from infinitetalk_cli.progress import SilentProgress
    from infinitetalk_cli.stages.camera_motion import CAMERA_MOTION, CameraSettings, read_camera_motion
    from infinitetalk_cli.stages.demux import DEMUX
    from infinitetalk_cli.stages.stage import StageContext

    context = StageContext(SilentProgress(), models=None, check_inputs=lambda: None)
    with TemporaryDirectory() as folder:
        out = Path(folder)
        DEMUX.run({"source_video": path}, None, out, context)
        inputs = {"source_video": path, "media": out / "media.json", "timeline": out / "timeline.npz"}
        CAMERA_MOTION.run(inputs, CameraSettings(start_s=Fraction(0), end_s=None), out, context)
        (scene,) = read_camera_motion(out / "camera.json").scenes
    print(f"{path.name}: {scene.kind}, {MODEL_PX * scene.speed:.2f} px/s at {MODEL_PX} px, from {scene.at_s} s on")


if __name__ == "__main__":
    if sys.argv[1:]:
        for argument in sys.argv[1:]:
            measure_file(Path(argument))
    else:
        main()
