"""The rendered world to look at and to take away: `python -m infinitetalk_cli.world.show --out DIR`.

Writes one mp4 with sound and one JSON file of truth for each clip, and contact.png with a few frames of all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from infinitetalk_cli.media.containers import EncodeSettings
from infinitetalk_cli.media.lossless import write_frames
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.writer import write_output
from infinitetalk_cli.units import MODEL_RATE, frames_in
from infinitetalk_cli.world.dataset import HELD_OUT_FIRST_SEED, Row, render_rows
from infinitetalk_cli.world.make_sample import write_wav
from infinitetalk_cli.world.settings import PictureSize, WorldSettings

_COLUMNS = 6
_TRUTH = ("mouth", "mouth_px", "mouth_half", "face", "head", "camera", "hands")


def write_clip(path: Path, row: Row) -> None:
    """`row` as `path` (mp4, H.264 and AAC), with its truth beside it as JSON."""
    frames = row.tensors["frames"]
    with tempfile.TemporaryDirectory() as scratch:
        picture, sound = Path(scratch) / "picture.mkv", Path(scratch) / "sound.wav"
        write_frames(picture, frames, MODEL_RATE)
        write_wav(sound, row.tensors["waveform"])
        write_output(
            path,
            frames,
            len(frames),
            MODEL_RATE,
            source=picture,
            source_info=probe(picture),
            dub_audio=sound,
            audio_stop_s=Fraction(len(frames)) / MODEL_RATE,
            settings=EncodeSettings(quality=18),
        )
    truth = {name: np.round(row.tensors[name].astype(float), 5).tolist() for name in _TRUTH}
    about = {"seed": int(row.tensors["seed"]), "language": row.language, "voice": row.voice}
    path.with_suffix(".json").write_text(json.dumps(about | truth), encoding="utf-8")


def contact_sheet(clips: list[np.ndarray]) -> np.ndarray:
    """(rows, columns, 3) uint8: a row for every clip (t, h, w, 3), frames evenly spread."""
    rows = []
    for frames in clips:
        chosen = np.linspace(0, len(frames) - 1, _COLUMNS).round().astype(int)
        rows.append(np.concatenate(list(frames[chosen]), axis=1))
    return np.concatenate(rows, axis=0)


def show(out: Path, settings: WorldSettings, held_out: bool = False, workers: int = 1, device: str = "cpu") -> Path:
    """Write every clip of `settings` (one picture size) into `out`; path of the contact sheet."""
    out.mkdir(parents=True, exist_ok=True)
    tasks = [(settings.seed + number, settings.sizes[0]) for number in range(settings.num_clips)]
    clips = []
    for row in render_rows(tasks, settings, held_out, workers, device):
        write_clip(out / f"clip-{int(row.tensors['seed'])}.mp4", row)
        clips.append(row.tensors["frames"])
    sheet = out / "contact.png"
    Image.fromarray(contact_sheet(clips)).save(sheet)
    return sheet


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: must be between 0 and 1")
    return value


def _side(text: str) -> int:
    value = int(text)
    if value < 16 or value % 16:
        raise argparse.ArgumentTypeError(f"{text}: must be a multiple of 16")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="python -m infinitetalk_cli.world.show", description="Clips of the rendered world, with sound."
    )
    options.add_argument("--out", type=Path, required=True, help="folder to write into")
    options.add_argument("--clips", type=_count, default=8, help="number of characters")
    options.add_argument("--seconds", type=Fraction, default=Fraction(4), help="length of each clip")
    options.add_argument("--height", type=_side, default=256, help="pixels, a multiple of 16")
    options.add_argument("--width", type=_side, default=256, help="pixels, a multiple of 16")
    for name, default in (("head", 0.5), ("pan", 0.3), ("zoom", 0.3), ("shake", 0.2)):
        options.add_argument(f"--{name}", type=_share, default=default, help="amplitude, 0 still .. 1 free")
    options.add_argument("--hands", type=_share, default=0.5, help="share of characters that gesture")
    options.add_argument("--seed", type=int, default=0, help="seed of the first clip")
    options.add_argument("--held-out", action="store_true", help="people, voices and words that training never meets")
    options.add_argument("--workers", type=_count, default=1, help="processes")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to draw")
    return options


def settings_of(given: argparse.Namespace) -> WorldSettings:
    """The world that the command line asks for."""
    return WorldSettings(
        num_clips=given.clips,
        clips_per_shard=given.clips,
        clip_frames=max(5, frames_in(given.seconds)),
        sizes=(PictureSize(height=given.height, width=given.width, share=1.0),),
        head_motion=(given.head, given.head),
        camera_motion=(1.0, 1.0),
        camera_pan=given.pan,
        camera_zoom=given.zoom,
        camera_shake=given.shake,
        hands=given.hands,
        seed=given.seed + (HELD_OUT_FIRST_SEED if given.held_out else 0),
    )


if __name__ == "__main__":
    asked = parser().parse_args()
    sys.stdout.write(f"{show(asked.out, settings_of(asked), asked.held_out, asked.workers, asked.device)}\n")
