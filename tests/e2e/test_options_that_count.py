"""Every option of `dub`: which stages it makes again. An option that is not in the table fails here."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.cli import dub as command
from infinitetalk_cli.pipeline import preparing
from infinitetalk_cli.progress import SilentProgress

NOTHING: set[str] = set()
RESULT = {"remux"}
PICTURE = {"generate", "inspect", "remux"}
PLAN = {"keyframes", *PICTURE}
SOUND = {"audio_embedding", *PLAN}
ALL = {"demux", "scenes", *SOUND}

OPTIONS: dict[str, tuple[list[str], set[str]]] = {
    "video": (["{folder}/other.mp4"], ALL),
    "audio": (["--audio", "{folder}/other.wav"], SOUND),
    "speech": (["--speech", "{folder}/other.wav"], SOUND),
    "start": (["--start", "0.1"], {"scenes", *SOUND}),
    "end": (["--end", "0.8"], {"scenes", *SOUND}),
    "length": (["--length", "shortest"], SOUND),
    "profile": (["--profile", "{folder}/named.yaml"], RESULT),  # other only in name, which stands in the metadata
    "prompt": (["--prompt", "a man"], NOTHING),  # nano reads no text
    "seed": (["--seed", "7"], PICTURE),
    "steps": (["--steps", "3"], PICTURE),
    "camera_lock": (["--camera-lock", "on"], PICTURE),
    "camera_lock_strength": (["--camera-lock", "on", "--camera-lock-strength", "0.5"], PICTURE),
    "conditioning": (["--conditioning", "i2v"], PLAN),
    "scenes": (["--scenes", "{folder}/cuts.txt"], {"scenes", *PLAN}),
    "only_speech": (["--only-speech"], {"speech_spans", *PLAN}),
    "output": (["-o", "{folder}/elsewhere.mp4"], NOTHING),
    "container": (["--container", "mkv"], RESULT),
    "codec": (["--codec", "hevc"], RESULT),
    "quality": (["--quality", "30"], RESULT),
    "encoder_preset": (["--encoder-preset", "fast"], RESULT),
    "audio_codec": (["--audio-codec", "flac"], RESULT),
    "fps": (["--fps", "source"], RESULT),
    "keep_original_audio": (["--keep-original-audio"], RESULT),
    "audio_language": (["--audio-language", "fra"], RESULT),
    "no_report": (["--no-report"], {"inspect"}),
    "force": (["--force"], NOTHING),
    "no_cache": (["--no-cache"], NOTHING),
    "no_wait": (["--no-wait"], NOTHING),
    "device": (["--device", "cpu"], NOTHING),
    "attention": (["--attention", "sdpa"], NOTHING),  # what "auto" is everywhere
    "dtype": (["--dtype", "bfloat16"], PICTURE),
    "offload": (["--offload", "all"], NOTHING),
    "ignore_memory": (["--ignore-memory"], NOTHING),
    "ignore_disk": (["--ignore-disk"], NOTHING),
    "cache_size": (["--cache-size", "1GB"], NOTHING),
    "weights_dir": (["--weights-dir", "{folder}"], NOTHING),
    "gpus": (["--device", "cpu", "--gpus", "2"], NOTHING),
    "split": (["--device", "cpu", "--gpus", "2", "--split", "sequence=2"], NOTHING),
    "as_json": (["--json"], NOTHING),
    "quiet": (["--quiet"], NOTHING),
    "verbose": (["--verbose"], NOTHING),
}
"""Parameter of the command -> what is added to the command line, and the stages that are made again for it."""

ELSEWHERE = {
    "speaker_box": "two people: tests/e2e/test_dub_two_people.py",
    "turns": "two people",
    "diarize": "needs an optional extra",
    "diarizer": "needs an optional extra",
    "camera_method": "needs a camera branch: tests/e2e/test_dub_uni3c.py, tests/unit/pipeline/test_what_counts.py",
    "camera_render": "needs a camera branch: tests/e2e/test_dub_uni3c.py, tests/unit/pipeline/test_what_counts.py",
    "lora": "counts as content of the transformer's weights: tests/unit/pipeline/test_what_counts.py",
    "quantization": "not for nano; counts as compute.quantization: tests/unit/pipeline/test_what_counts.py",
    "cache_dir": "another folder holds nothing of this one",
    "dry_run": "plans and stops",
    "print_profile": "prints and stops",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip and a voice, and another of each; small profiles that differ in name only; a list of cuts."""
    made = tmp_path_factory.mktemp("options")
    for name, first in (("source", 0), ("other", 500)):
        synthetic.make_clip(made / f"{name}.mp4", Clip(num_frames=25, first_number=first))
        synthetic.make_audio(made / f"{name}.wav", synthetic.speech(1.0, seed=first))
    for name in ("small", "named"):
        (made / f"{name}.yaml").write_text("extends: nano\ngeometry: {area_px: 4096}\n")
    (made / "cuts.txt").write_text("0.5\n")
    return made


@pytest.fixture
def fingerprints(folder: Path, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch):
    """Stage -> fingerprint for words added to a plain command line; the words of an option replace its usual ones."""
    monkeypatch.setattr(preparing, "rehearse_output", lambda *what, **how: None)  # takes time, and plans nothing

    def plan(*added: str) -> dict[str, str]:
        prepared: list[Any] = []
        monkeypatch.setattr(
            command, "_answer", lambda request, **how: prepared.append(preparing.prepare(request, SilentProgress()))
        )
        words = [word.format(folder=folder) for word in added]
        video = words.pop(0) if words and not words[0].startswith("-") else str(folder / "source.mp4")
        usual = {"--audio": str(folder / "source.wav"), "--profile": str(folder / "small.yaml")}
        rest = [part for option, value in usual.items() if option not in words for part in (option, value)]
        outcome = run_command("dub", video, *rest, *words)
        assert outcome.exit_code == 0 and prepared, outcome.stderr
        return {step.stage.name: step.fingerprint for step in prepared[0].stages}

    return plan


def test_every_option_is_in_the_table() -> None:
    assert set(inspect.signature(command.dub).parameters) == set(OPTIONS) | set(ELSEWHERE), "write down what it changes"


def test_an_option_makes_again_what_depends_on_it_and_nothing_else(fingerprints) -> None:
    plain, wrong = fingerprints(), {}
    for option, (words, expected) in OPTIONS.items():
        other = fingerprints(*words)
        changed = {name for name in {*plain, *other} if plain.get(name) != other.get(name)}
        if changed != expected:
            wrong[option] = f"changes {sorted(changed)}, not {sorted(expected)}"
    assert wrong == {}
