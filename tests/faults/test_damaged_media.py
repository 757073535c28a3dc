"""Damaged media, as users have them: no traceback, no hang, no crash of a library, bounded memory, one clear sentence.

The readers are tried in processes forked for each file (see `trials`), whole commands too. The long version tries 1000
files and 100 commands and prints the outcomes by exit code:

    python -m pytest -m slow -s tests/faults/test_damaged_media.py

`FUZZ_FILES` and `FUZZ_COMMANDS` change the numbers, `FUZZ_SEED` draws other ones.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from damage import CLIPS, DAMAGES, PICTURES, SOUNDS, Damage, damaged, make_base
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from odd_media import SOUNDS as ODD_SOUNDS
from odd_media import VIDEOS as ODD_VIDEOS
from odd_media import frames_at
from trials import Trial, Trials

ALL = (*CLIPS, *SOUNDS, *PICTURES)
A_FEW = ("h264.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi", "h264.ts", "voice.wav", "voice.flac", "face.png")
DEADLINE_S = 60
COMMAND_DEADLINE_S = 150
MAPPED_MIB = 3000
"""What a trial may map: the encoders alone map hundreds of MiB."""
GROWTH_MIB = 400
DOCUMENTED = {0, 4, 7}
"""Done; unfit media; a picture of a size that no encoder takes."""

_QUIET = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with Trials() as server:
        yield server


class Bases:
    """The whole files, each made once."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("SVT_LOG", "1")
        self._folder = folder

    def file(self, name: str) -> Path:
        path = self._folder / name
        return path if path.exists() else make_base(self._folder, name)

    def damaged(self, folder: Path, name: str, damages: list[Damage]) -> Path:
        path = folder / f"damaged-{name}"
        path.write_bytes(damaged(self.file(name).read_bytes(), damages))
        return path


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("bases"))


def problem_of(trial: Trial, path: Path, codes: set[int] = DOCUMENTED) -> str | None:
    """What is wrong with the way in which a trial of `path` ended."""
    if trial.ended != "returned":
        return f"{trial.ended}: {trial.output[-2000:]}"
    code, message = trial.value["code"], trial.value["message"]
    if code not in codes:
        return f"exit code {code}: {message} {trial.value.get('log', '')[-2000:]}"
    if "Traceback" in message or "Traceback" in trial.output:
        return f"a traceback is shown: {message}"
    last_line = message.splitlines()[-1] if message else ""
    if code == 4 and path.name not in last_line:
        return f"the file is not named: {message}"
    if trial.growth_mib > GROWTH_MIB:
        return f"memory grew by {trial.growth_mib} MiB"
    return None


def roles_of(name: str) -> list[str]:
    """As what a file of this name is given to a job."""
    roles = {"read_video": name not in SOUNDS, "read_sound": name not in PICTURES}
    return [role for role, fits in roles.items() if fits]


def read(trials: Trials, bases: Bases, role: str, path: Path, folder: Path) -> Trial:
    """Let the readers look at `path`; `folder` is for what they write."""
    other = bases.file("voice.wav" if role == "read_video" else "h264.mp4")
    arguments = [str(path), str(other), str(folder)]
    return trials.run(f"media_trials:{role}", arguments, deadline_s=DEADLINE_S, memory_mib=MAPPED_MIB)


@pytest.mark.parametrize("name", ODD_VIDEOS)
def test_odd_video(name: str, tmp_path: Path, trials: Trials, bases: Bases) -> None:
    make, code, words = ODD_VIDEOS[name]
    path = make(tmp_path)
    trial = read(trials, bases, "read_video", path, tmp_path)
    assert problem_of(trial, path, {code}) is None
    assert words in trial.value["message"]


@pytest.mark.parametrize("name", ODD_SOUNDS)
def test_odd_sound(name: str, tmp_path: Path, trials: Trials, bases: Bases) -> None:
    make, code, words = ODD_SOUNDS[name]
    path = make(tmp_path)
    trial = read(trials, bases, "read_sound", path, tmp_path)
    assert problem_of(trial, path, {code}) is None
    assert words in trial.value["message"]


def test_some_damaged_files(tmp_path: Path, trials: Trials, bases: Bases) -> None:
    @settings(max_examples=10, derandomize=True, phases=[Phase.generate, Phase.shrink], **_QUIET)
    @given(name=st.sampled_from(A_FEW), damages=DAMAGES)
    def check(name: str, damages: list[Damage]) -> None:
        path = bases.damaged(tmp_path, name, damages)
        for role in roles_of(name):
            problem = problem_of(read(trials, bases, role, path, tmp_path), path)
            assert problem is None, f"{role}: {problem}"

    check()


def test_a_job_goes_on_over_damaged_pictures(tmp_path: Path, trials: Trials, bases: Bases, small_profile: Path) -> None:
    path = bases.damaged(tmp_path, "fast_start.mp4", [Damage("noise", 0.5, 0.04, 0)])
    trial = dub(trials, path, bases.file("voice.wav"), small_profile, tmp_path, [])
    assert problem_of(trial, path, {0}) is None
    assert "damaged at" in trial.value["message"]


def test_a_rate_that_no_camera_has(tmp_path: Path, bases: Bases, run_command, small_profile: Path) -> None:
    path = frames_at(tmp_path / "us.mov", list(range(30)), Fraction(1, 1_000_000), "mjpeg")
    arguments = ["dub", path, "--audio", bases.file("voice.wav"), "--profile", small_profile, "--fps"]
    refused = run_command(*arguments, "source", "--dry-run")
    assert refused.exit_code == 4 and "us.mov: claims 1e+06 frames per second" in refused.stderr
    assert run_command(*arguments, "model", "--dry-run").exit_code == 0


def dub(trials: Trials, path: Path, voice: Path, profile: Path, folder: Path, options: list[str]) -> Trial:
    """`infinitetalk dub path --audio voice`, the result looked at."""
    arguments = [str(path), str(voice), str(profile), str(folder), options]
    return trials.run("media_trials:check_job", arguments, deadline_s=COMMAND_DEADLINE_S, memory_mib=MAPPED_MIB)


def _number(variable: str, usual: int) -> int:
    return int(os.environ.get(variable, usual))


def _report(what: str, counts: Counter, problems: list[str]) -> None:
    total = sum(counts.values())
    print(f"\n{what}: {total} trials, " + ", ".join(f"{key}: {n}" for key, n in sorted(counts.items(), key=str)))
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_thousand_damaged_files(tmp_path: Path, trials: Trials, bases: Bases) -> None:
    counts: Counter = Counter()
    problems = []

    @seed(_number("FUZZ_SEED", 0))
    @settings(max_examples=_number("FUZZ_FILES", 1000), phases=[Phase.generate], **_QUIET)
    @given(name=st.sampled_from(ALL), damages=DAMAGES)
    def look(name: str, damages: list[Damage]) -> None:
        path = bases.damaged(tmp_path, name, damages)
        for role in roles_of(name):
            trial = read(trials, bases, role, path, tmp_path)
            counts[role, trial.value["code"] if trial.value else trial.ended] += 1
            if (problem := problem_of(trial, path)) is not None:
                problems.append(f"{role} {name} {damages}: {problem}")

    look()
    _report("readers", counts, problems)


COMMANDS = ("video", "dry_run", "audio", "speech", "audio_of_video", "only_speech")


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_hundred_damaged_jobs(
    tmp_path_factory: pytest.TempPathFactory, trials: Trials, bases: Bases, small_profile: Path
) -> None:
    counts: Counter = Counter()
    problems = []
    whole, voice = bases.file("h264.mp4"), bases.file("voice.wav")

    @seed(_number("FUZZ_SEED", 0))
    @settings(max_examples=_number("FUZZ_COMMANDS", 100), phases=[Phase.generate], **_QUIET)
    @given(way=st.sampled_from(COMMANDS), index=st.integers(0, len(ALL) - 1), damages=DAMAGES)
    def run(way: str, index: int, damages: list[Damage]) -> None:
        is_sound = way in ("audio", "speech")
        fitting = SOUNDS if is_sound else tuple(CLIPS) if way == "audio_of_video" else (*CLIPS, *PICTURES)
        folder = tmp_path_factory.mktemp("job")
        path = bases.damaged(folder, fitting[index % len(fitting)], damages)
        video = whole if is_sound or way == "audio_of_video" else path
        sound = path if way in ("audio", "audio_of_video") else voice
        options = {
            "speech": ["--speech", str(path)],
            "dry_run": ["--dry-run"],
            "only_speech": ["--only-speech", "--keep-original-audio"],
        }
        trial = dub(trials, video, sound, small_profile, folder, options.get(way, []))
        counts[way, trial.value["code"] if trial.value else trial.ended] += 1
        if (problem := problem_of(trial, path)) is not None:
            problems.append(f"{way} {path.name} {damages}: {problem}")

    run()
    _report("commands", counts, problems)
