"""Small jobs that use every stage, the real command as a process, and what a run leaves behind, by content.

Everything is made from what the repository holds, so that the tools of this folder run without pytest, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import miniature
import numpy as np
import synthetic
from footage import Shot, join, write_film
from synthetic import Clip

from infinitetalk_cli.cache.files import SIDECAR_SUFFIX, TEMPORARY_PREFIX
from infinitetalk_cli.cache.store import DONE_NAME, PARTIAL_SUFFIX, REPLACED_SUFFIX

DEADLINE_S = 180
RATE = Fraction(25)

_SMALL = """
extends: nano
geometry: {area_px: 4096}
chunks: {num_frames: 17, context_frames: 5}
sampling: {num_steps: 2, audio_guidance_scale: 1.0}
"""
_TWO_PEOPLE = """
extends: infinitetalk-480p-multi
geometry: {area_px: 2048}
chunks: {num_frames: 9, context_frames: 5}
sampling: {num_steps: 2, text_guidance_scale: 1.0, audio_guidance_scale: 2.0}
compute: {dtype: float32}
"""


@dataclass(frozen=True)
class Job:
    """The words of one `dub`, but for where its cache and its result are."""

    name: str
    words: tuple[str, ...]

    def arguments(self, cache: Path, output: Path, *more: object) -> list[str]:
        """What follows `infinitetalk`."""
        return ["dub", *self.words, "--cache-dir", str(cache), "-o", str(output), "--json", *map(str, more)]

    def command(self, cache: Path, output: Path, *more: object) -> list[str]:
        """The whole command, for a process."""
        return [sys.executable, "-m", "infinitetalk_cli", *self.arguments(cache, output, *more)]


def scenes_job(folder: Path) -> Job:
    """A film with two cuts, six chunks: a second or two of work."""
    folder.mkdir(parents=True, exist_ok=True)
    film = join([Shot(1, 0.9), Shot(2, 0.7), Shot(3, 0.9)], RATE)
    source = write_film(folder / "source.mp4", film, RATE)
    voice = synthetic.make_audio(folder / "voice.wav", synthetic.speech(2.5))
    return Job("scenes", (str(source), "--audio", str(voice), "--profile", _profile(folder, _SMALL)))


def only_speech_job(folder: Path) -> Job:
    """The same with a pause that keeps the source's own pictures; the speech is that of the shipped sample."""
    folder.mkdir(parents=True, exist_ok=True)
    film = join([Shot(4, 2.0), Shot(5, 3.2)], RATE)
    source = write_film(folder / "source.mp4", film, RATE)
    shipped = Path(miniature.__file__).parent.parent / "infinitetalk_cli" / "samples" / "fr.wav"
    spoken, rate_hz, _ = synthetic.read_all_samples(shipped)
    samples = np.zeros((round(5.2 * rate_hz), spoken.shape[1]), np.float32)
    length = round(1.1 * rate_hz)
    for start_s in (0.0, 4.1):
        start = round(start_s * rate_hz)
        samples[start : start + length] = spoken[: min(length, len(samples) - start)]
    voice = synthetic.make_audio(folder / "voice.wav", samples, rate_hz)
    words = (str(source), "--audio", str(voice), "--profile", _profile(folder, _SMALL), "--only-speech")
    return Job("only_speech", words)


def two_people_job(folder: Path) -> Job:
    """Two voices, the published model from miniature weights: with text and image encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    source = synthetic.make_clip(folder / "source.mp4", Clip(num_frames=13, size=(64, 32)))
    voices = [
        synthetic.make_audio(folder / f"{who}.wav", 0.4 * synthetic.speech(length_s, seed=seed))
        for who, length_s, seed in (("a", 0.5, 1), ("b", 0.4, 2))
    ]
    weights = folder / "weights"
    if not weights.exists():
        miniature.write_weights(weights)
    both = [word for voice in voices for word in ("--audio", str(voice))]
    words = (str(source), *both, "--profile", _profile(folder, _TWO_PEOPLE), "--weights-dir", str(weights))
    return Job("two_people", (*words, "--device", "cpu"))


JOBS: dict[str, Callable[[Path], Job]] = {
    "scenes": scenes_job,
    "only_speech": only_speech_job,
    "two_people": two_people_job,
}


def _profile(folder: Path, text: str) -> str:
    path = folder / "small.yaml"
    path.write_text(text)
    return str(path)


@dataclass(frozen=True)
class Ended:
    """How a process ended, and how long it took."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)


def environment() -> dict[str, str]:
    """The environment of a run: one thread, so that several of them and a busy machine change nothing but the time."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def freeze_program(folder: Path) -> Path:
    """A copy of the program below `folder`, to be the working folder of processes: edits meanwhile do not reach it."""
    repository = Path(__file__).parent.parent.parent
    for part in ("infinitetalk_cli", "profiles"):
        if (repository / part).is_dir():
            shutil.copytree(repository / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """`command` as a process, both outputs in pipes."""
    options = {"env": environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, **options)


def finish(process: subprocess.Popen[str], began_s: float | None = None) -> Ended:
    """Wait for a process to end."""
    began_s = time.monotonic() if began_s is None else began_s
    try:
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ended(process.returncode, stdout, stderr, time.monotonic() - began_s)


def run(command: list[str], **options: Any) -> Ended:
    """Run `command` to its end."""
    began_s = time.monotonic()
    return finish(start(command, **options), began_s)


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Return as soon as `reached()`; an error if the process ends before."""
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode} before: {process.communicate()}")
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the run did not get that far: {process.communicate()}")
        time.sleep(0.003)


def finished_files(cache: Path) -> dict[str, Path]:
    """Every file of every finished entry by its name in the cache, but for records of times and dates."""
    found = {}
    for done in cache.glob(f"*/*/{DONE_NAME}"):
        entry = done.parent
        if entry.name.endswith(PARTIAL_SUFFIX):
            continue
        for path in entry.rglob("*"):
            is_record = path == done or path.name.endswith(SIDECAR_SUFFIX)
            if path.is_file() and not is_record:
                found[str(path.relative_to(cache))] = path
    return found


def contents(cache: Path) -> dict[str, str]:
    """SHA-256 of every file in `finished_files`."""
    return {name: sha256(path) for name, path in finished_files(cache).items()}


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Names that are missing, additional or of other content."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def chunk_files(cache: Path) -> list[Path]:
    """The chunks' pictures that are under their final names, finished entry or not."""
    return sorted(cache.glob("generate/*/chunks/chunk-*.mkv"))


def leftovers(cache: Path, output: Path) -> list[str]:
    """Temporary files and unfinished folders in the entries of the cache and beside the result."""
    inside = [path for path in cache.glob("*/*") if path.suffix in (PARTIAL_SUFFIX, REPLACED_SUFFIX)]
    inside += list(cache.glob(f"*/*/**/{TEMPORARY_PREFIX}*"))
    beside = output.parent.glob(f".{output.name}.*")
    return sorted(str(path) for path in (*inside, *beside))


def assert_one_sentence(ended: Any, exit_code: int) -> str:
    """The error of a run that ended with `exit_code`: one sentence, no traceback; returns it."""
    assert ended.exit_code == exit_code, (ended.exit_code, ended.stderr)
    assert "Traceback" not in ended.stderr, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ended.stderr
    assert ended.document["status"] == "error" and ended.document["exit_code"] == exit_code
    return errors[0]
