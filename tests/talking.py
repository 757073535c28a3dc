"""Made films in which somebody speaks: pictures from `footage`, and the package's own recording of a voice."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from footage import Film

import infinitetalk_cli

SPEECH = Path(infinitetalk_cli.__file__).parent / "samples" / "fr.wav"
"""5.3 s at 16 kHz."""


def speech_samples() -> np.ndarray:
    """(n,) float32."""
    with wave.open(str(SPEECH)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 2**15


def write_talk(path: Path, film: Film, rate: Fraction, samples: np.ndarray | None = None) -> Path:
    """`film` with a voice (n,) at 16 kHz, by default the package's, as .mkv or .mp4; returns `path`."""
    samples = speech_samples() if samples is None else samples
    with av.open(f"file:{path}", "w") as container:
        container.flags |= av.container.Flags.bitexact.value
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "10"})
        video.height, video.width = film.frames[0].shape[:2]
        video.pix_fmt, video.thread_count = "yuv420p", 1
        sound = container.add_stream("flac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 2**15).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        for number, pixels in enumerate(film.frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels.astype(np.uint8)), format="rgb24")
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(video.encode(picture))
        container.mux(video.encode())
    return path
