"""What the people of a job say: one raw track each (mono, 16 kHz, little-endian float32), placed on the heard track."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from infinitetalk_cli.arrays import SampleFile
from infinitetalk_cli.config.base import Settings
from infinitetalk_cli.errors import writing_to

_INDEX = "people.json"
_BLOCK_SAMPLES = 1 << 20


class SpeechTrack(Settings):
    """The voice of one person: `file` in the folder holds samples `[start_sample, start_sample + num_samples)`.

    Around them the person is silent. `speech_s` is how long speech was heard in it.
    """

    file: str
    start_sample: int
    num_samples: int
    speech_s: float


class SpeechTracks(Settings):
    """`people.json`: the voices of all people, in order."""

    people: tuple[SpeechTrack, ...]


def track_file(folder: Path, person: int) -> Path:
    """Where the voice of `person` (from 0) is kept."""
    return folder / f"person-{person + 1}.f32"


def save_tracks(folder: Path, tracks: SpeechTracks) -> None:
    """Keep the index of the track files in `folder`."""
    with writing_to(folder):
        (folder / _INDEX).write_text(tracks.model_dump_json(indent=1), encoding="utf-8")


def read_tracks(folder: Path) -> SpeechTracks:
    """The index that `save_tracks` wrote."""
    return SpeechTracks.model_validate_json((folder / _INDEX).read_bytes(), strict=False)


def open_samples(path: Path) -> np.ndarray:
    """Samples (n,) of a raw track, mapped from the file."""
    return np.memmap(path, dtype="<f4", mode="r") if path.stat().st_size else np.zeros(0, np.float32)


def copy_stretch(folder: Path, track: SpeechTrack, start_sample: int, num_samples: int, out_path: Path) -> float:
    """Write samples `[start_sample, start_sample + num_samples)` of the heard track's time; returns their peak."""
    samples = SampleFile(folder / track.file, track.num_samples)
    offset = track.start_sample - start_sample
    first, last = max(0, -offset), max(0, min(len(samples), num_samples - offset))
    peak = 0.0
    with writing_to(out_path), out_path.open("wb") as out:
        out.seek(4 * max(0, offset))
        for place in range(first, last, _BLOCK_SAMPLES):
            block = samples[place : min(last, place + _BLOCK_SAMPLES)]
            peak = max(peak, float(np.abs(block).max()))
            out.write(block.tobytes())
        out.truncate(4 * num_samples)
    return peak
