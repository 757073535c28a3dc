"""How much faster whole scenes are made by several processes: seconds of the stage `generate`, one thread each.

`python tests/bench/scene_parallel.py --processes 1 2 --repeats 3` (nano on the CPU, a film of six scenes of 2 s). The
runs take turns, so that a busy machine is unfair to none; loading is part of the stage. Figures of a busy machine say
little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import synthetic
from footage import Shot, join, write_film

RATE = Fraction(25)


def generate_s(source: Path, voice: Path, folder: Path, num_processes: int) -> float:
    """Seconds that the stage took in a run of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        words = [str(source), "--audio", str(voice), "--profile", "nano", "--device", "cpu", "--no-report", "--json"]
        words += ["--gpus", str(num_processes), "--split", f"scenes={num_processes}"] if num_processes > 1 else []
        command = [sys.executable, "-m", "infinitetalk_cli", "dub", *words, "--cache-dir", cache]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        output = folder / f"{num_processes}.mkv"
        done = subprocess.run(
            [*command, "-o", str(output), "--force"], env=environment, capture_output=True, text=True, check=True
        )
    stages = json.loads(done.stdout)["stages"]
    return next(stage["seconds"] for stage in stages if stage["name"] == "generate")


def main() -> None:
    """The command line; ends with 1 if the results differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        film = join([Shot(seed, 2.0) for seed in range(1, options.scenes + 1)], RATE)
        source = write_film(folder / "film.mp4", film, RATE)
        voice = synthetic.make_audio(folder / "voice.wav", synthetic.speech(2.0 * options.scenes))
        for _ in range(options.repeats):
            for count in options.processes:
                load = os.getloadavg()[0]
                print(f"{count} processes: {generate_s(source, voice, folder, count):.1f} s, load {load:.1f} before")
        results = {(folder / f"{count}.mkv").read_bytes() for count in options.processes}
    print("the same file" if len(results) == 1 else "the results differ")
    sys.exit(len(results) > 1)


if __name__ == "__main__":
    main()
