"""A split of rendered clips: characters, voices and words that training never met, as video files (extra `train`)."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from infinitetalk_cli.cache.files import written_whole
from infinitetalk_cli.errors import InputError, writing_to
from infinitetalk_cli.evaluate.splits.donors import by_hash, donors
from infinitetalk_cli.evaluate.splits.split import Prepare, Split, SplitItem
from infinitetalk_cli.media.containers import EncodeSettings
from infinitetalk_cli.media.lossless import write_frames
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.writer import write_output
from infinitetalk_cli.progress import Progress
from infinitetalk_cli.units import MODEL_RATE, frame_time, frames_in
from infinitetalk_cli.world.camera import STILL_CAMERA, CameraAmplitudes
from infinitetalk_cli.world.clip import Clip
from infinitetalk_cli.world.dataset import HELD_OUT_FIRST_SEED, spoken_clip
from infinitetalk_cli.world.make_sample import write_wav

FIRST_SEED = HELD_OUT_FIRST_SEED + 7000
"""Apart from the clips of `eval synthetic` and of the shipped sample."""

HEAD_MOTION = 0.03
LARGEST_PX = 192
"""Clips are drawn at the size they are prepared at, but not larger: time grows with the area."""
MOVING_CAMERA = CameraAmplitudes(pan=0.6, zoom=0.5, shake=0.1)
_FACE_HALF, _FACE_Y = (0.62, 0.66), 0.02
"""A head in head units: see `world/portrait.py`."""


def render_split(
    folder: Path, *, clips: int, seconds: float, seed: int, prepare: Prepare, camera: bool, progress: Progress
) -> Split:
    """Render `clips` clips into `folder`, and give the split of them; equal arguments, equal files.

    With `camera` every second clip has a camera that pans and zooms. Each item names the face, which no detector of
    photographs would find.
    """
    if clips < 2:
        raise InputError("fewer than two clips cannot exchange their audio; render two at least")
    num_frames, side = frames_in(Fraction(str(seconds))), min(prepare.size, LARGEST_PX)
    progress.start("rendering characters", clips)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    items = {}
    for number in range(clips):
        amplitudes = MOVING_CAMERA if camera and number % 2 else STILL_CAMERA
        clip, waveform = spoken_clip(
            FIRST_SEED + number, num_frames, side, side, HEAD_MOTION, amplitudes, held_out=True
        )
        name = f"character-{number:03d}"
        path = folder / f"{name}.mp4"
        _write(path, clip, waveform)  # also over one that is there: it may be of another length, size or camera
        items[name] = (path.name, _face(clip))
        progress.advance()
    order = by_hash(items, seed)
    given = donors(order, str)
    rows = (SplitItem(id=i, video=(items[i][0],), face=items[i][1], audio_from=given[i]) for i in order)
    name = f"rendered-{clips}"
    return Split(schema=1, name=name, dataset="rendered", seed=seed, prepare=prepare, items=tuple(rows))


def _write(path: Path, clip: Clip, waveform: np.ndarray) -> None:
    num_frames = len(clip.frames_u8)
    with tempfile.TemporaryDirectory() as folder, written_whole(path) as scratch:
        picture, sound = Path(folder) / "picture.mkv", Path(folder) / "sound.wav"
        write_frames(picture, clip.frames_u8, MODEL_RATE)
        write_wav(sound, waveform)
        write_output(
            scratch, clip.frames_u8, num_frames, MODEL_RATE, source=picture, source_info=probe(picture),
            dub_audio=sound, audio_stop_s=frame_time(num_frames), settings=EncodeSettings(quality=14),
        )  # fmt: skip


def _face(clip: Clip) -> tuple[int, int, int, int]:
    """x, y, width, height that hold the face in all frames."""
    x, y, _, unit = (clip.head_pose[:, column] for column in range(4))
    height, width = clip.frames_u8.shape[1:3]
    left, right = float((x - _FACE_HALF[0] * unit).min()), float((x + _FACE_HALF[0] * unit).max())
    top = float((y + (_FACE_Y - _FACE_HALF[1]) * unit).min())
    bottom = float((y + (_FACE_Y + _FACE_HALF[1]) * unit).max())
    left, top = max(0, round(left)), max(0, round(top))
    return left, top, min(width, round(right)) - left, min(height, round(bottom)) - top
