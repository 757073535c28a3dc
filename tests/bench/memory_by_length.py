"""Peak memory of whole jobs by their length: the same job for 1, 5 and 30 minutes, stage by stage.

    OMP_NUM_THREADS=1 python tests/bench/memory_by_length.py [--minutes 1 5 30] [--ways plain scenes only-speech]

Each job is a process of its own. nano makes pictures of 32x32 in one step: 30 minutes are 45 000 frames and 625 chunks,
and what memory they take does not depend on the size of the picture or the number of steps but on how much is kept. The
source is 64x48 at 25 frames per second, the voice 16 kHz. What is printed is resident memory, libraries and the model
included, and what the peak grew by from the end of the imports. Linux only (the kernel resets the peak).
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

PROFILE = """\
extends: nano
geometry: {area_px: 1024}
sampling: {num_steps: 1, audio_guidance_scale: 1.0}
"""
WAYS = {
    "plain": ["off", False],
    "scenes": ["auto", False],
    "only-speech": ["auto", True],
}
"""name -> (`chunks.scenes`, `speech.only`)."""
_SCENE_S = 17
_SIZE = (64, 48)


def main() -> None:
    """Run the jobs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 5, 30])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    options = parser.parse_args()
    for way in options.ways:
        peaks = {minutes: measure(minutes, way) for minutes in options.minutes}
        stages = list(dict.fromkeys(stage for peak in peaks.values() for stage in peak["stages"]))
        print(f"{way:20}" + "".join(f"{minutes:>9} min" for minutes in peaks))
        for stage in stages:
            print(
                f"  {stage:18}" + "".join(f"{peak['stages'].get(stage, 0) / 1e6:10.1f} MB" for peak in peaks.values())
            )
        print(f"  {'peak':18}" + "".join(f"{peak['peak'] / 1e6:10.1f} MB" for peak in peaks.values()))
        print(f"  {'after the imports':18}" + "".join(f"{peak['imports'] / 1e6:10.1f} MB" for peak in peaks.values()))
        print(f"  {'seconds':18}" + "".join(f"{peak['seconds']:10.0f} s " for peak in peaks.values()), flush=True)


def measure(minutes: float, way: str) -> dict[str, Any]:
    """Peaks in bytes of one job in a process of its own: by stage, of the whole, and after the imports."""
    with tempfile.TemporaryDirectory() as folder:
        make_job(Path(folder), minutes)
        command = [sys.executable, __file__, "--child", folder, way]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout.splitlines()[-1])


def make_job(folder: Path, minutes: float) -> None:
    """`source.mp4` of several scenes, `voice.wav` with pauses, `small.yaml`."""
    import av
    import numpy as np
    import synthetic

    (folder / "small.yaml").write_text(PROFILE)
    spoken = np.concatenate([synthetic.speech(6.0, 16_000), synthetic.silence(6.0, 16_000)])
    synthetic.make_audio(folder / "voice.wav", np.tile(spoken, (-(-round(60 * minutes) // 12), 1)), 16_000)
    random = np.random.default_rng(0)
    scenes = [random.integers(0, 255, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(8)]
    with av.open(f"file:{folder / 'source.mp4'}", "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        (stream.width, stream.height), stream.pix_fmt, stream.thread_count = _SIZE, "yuv420p", 1
        for number in range(round(1500 * minutes)):
            pixels = scenes[number // 25 // _SCENE_S % len(scenes)].copy()
            pixels[20:40, 10 + number % 40 : 20 + number % 40] = 230
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class _Meter:
    """A `PipelineProgress` that notes the peak of resident memory during each stage."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}
        self._name = "planning"

    def close(self) -> None:
        """The stage so far has ended."""
        self.peaks[self._name] = max(self.peaks.get(self._name, 0), _status("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")

    def stage(self, name: str, number: int, count: int, state: str) -> None:
        self.close()
        self._name = name

    def start(self, *args: Any, **kwargs: Any) -> None: ...

    def advance(self, steps: int = 1) -> None: ...

    def detail(self, text: str) -> None: ...

    def note(self, sentence: str) -> None: ...


def child(folder: Path, way: str) -> dict[str, Any]:
    """Run the job in `folder` in this process."""
    import torch

    from infinitetalk_cli.pipeline import dubbing, preparing
    from infinitetalk_cli.pipeline.request import DubRequest

    torch.set_num_threads(1)
    scenes, only_speech = WAYS[way]
    request = DubRequest(
        video=folder / "source.mp4",
        audio=(folder / "voice.wav",),
        cache_root=folder / "cache",
        profile=str(folder / "small.yaml"),
        overrides={"--scenes": ("chunks.scenes", scenes), "--only-speech": ("speech.only", only_speech)},
        encoder_preset="ultrafast",
        device="cpu",
    )
    gc.collect()
    imports, began_s, meter = _status("VmRSS"), time.monotonic(), _Meter()
    dubbing.dub(preparing.prepare(request, meter), meter)
    meter.close()
    return {
        "stages": meter.peaks,
        "peak": max(meter.peaks.values()),
        "imports": imports,
        "weights": _weights_bytes(),
        "seconds": time.monotonic() - began_s,
    }


def _weights_bytes() -> int:
    """The size of nano's networks as files."""
    import infinitetalk_cli

    return sum(file.stat().st_size for file in Path(infinitetalk_cli.__file__).parent.rglob("*.safetensors"))


def _status(name: str) -> int:
    """Bytes, by the kernel's word."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]), sys.argv[3])))
    else:
        main()
