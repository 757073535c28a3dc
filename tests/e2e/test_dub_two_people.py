"""Two people end to end, with the published model from miniature checkpoints: what is seen, and what is heard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import miniature
import numpy as np
import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.cache.files import commit_file
from infinitetalk_cli.media.probe import probe

PROFILE = """
extends: infinitetalk-480p-multi
geometry: {area_px: 2048}
chunks: {num_frames: 9, context_frames: 5}
sampling: {num_steps: 2, text_guidance_scale: 1.0, audio_guidance_scale: 2.0}
compute: {dtype: float32}
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def dub(tmp_path: Path, weights: Path, run_command):
    """`dub(output, *options, ends=0)` with this model, on a clip 64 wide and 32 high."""
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=13, size=(64, 32)))
    profile = tmp_path / "two.yaml"
    profile.write_text(PROFILE)

    def run(output: str, *options: object, ends: int = 0):
        outcome = run_command(
            "dub", source, "--profile", profile, "--weights-dir", weights, "--device", "cpu", "--json",
            "-o", tmp_path / output, *options,
        )  # fmt: skip
        assert outcome.exit_code == ends, outcome.stderr
        return outcome

    return run


@pytest.fixture
def voices(tmp_path: Path) -> tuple[Path, Path]:
    """0.5 s of one person, 0.4 s of another."""
    return (
        synthetic.make_audio(tmp_path / "a.wav", 0.4 * synthetic.speech(0.5, seed=1)),
        synthetic.make_audio(tmp_path / "b.wav", 0.4 * synthetic.speech(0.4, seed=2)),
    )


def both(first: Path, second: Path) -> list[object]:
    return ["--audio", first, "--audio", second]


def chunks(tmp_path: Path, outcome) -> list[np.ndarray]:
    """All generated frames of each chunk, as they were kept."""
    digest = next(stage["fingerprint"] for stage in outcome.document["stages"] if stage["name"] == "generate")
    entries = (tmp_path / "cache" / "generate").iterdir()
    (entry,) = (entry for entry in entries if digest.startswith(entry.name))
    return [np.stack(synthetic.read_all_frames(file)) for file in sorted((entry / "chunks").glob("*.mkv"))]


def not_reused(outcome) -> list[str]:
    return [stage["name"] for stage in outcome.document["stages"] if not stage["reused"]]


def test_the_sum_is_heard_and_the_longest_voice_decides(dub, voices: tuple[Path, Path], tmp_path: Path) -> None:
    outcome = dub("out.mkv", *both(*voices[::-1]), "--audio-codec", "flac")
    assert outcome.document["duration_s"] == 0.5 and outcome.document["model_frames"] == 13
    assert [stage["name"] for stage in outcome.document["stages"]][1:4] == ["scenes", "voices", "audio_embedding"]
    heard, rate_hz, _ = synthetic.read_all_samples(tmp_path / "out.mkv")
    expected, short = (synthetic.read_all_samples(voice)[0] for voice in voices)
    expected = expected.copy()
    expected[: len(short)] += short
    assert rate_hz == 48_000
    np.testing.assert_array_equal(heard, expected)
    assert len(synthetic.read_all_frames(tmp_path / "out.mkv")) == 13


def test_who_says_what_shows_in_the_picture(dub, voices: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = voices
    other = synthetic.make_audio(tmp_path / "other.wav", 0.4 * synthetic.speech(0.5, seed=3))
    straight = chunks(tmp_path, dub("straight.mp4", *both(first, second)))
    for name, pair in {
        "swapped": (second, first), "another first voice": (other, second), "another second voice": (first, other),
    }.items():  # fmt: skip
        changed = chunks(tmp_path, dub(f"{name}.mp4", *both(*pair)))
        for chunk, other_chunk in zip(straight, changed, strict=True):
            assert (chunk != other_chunk).any(), f"{name}: the picture stayed the same"


def test_boxes_concern_the_picture_only(dub, voices: tuple[Path, Path], tmp_path: Path) -> None:
    halves = chunks(tmp_path, dub("halves.mp4", *both(*voices)))
    boxes = ["--speaker-box", "50%,0,100%,100%", "--speaker-box", "0,0,32,32"]
    outcome = dub("boxes.mp4", *both(*voices), *boxes)
    assert not_reused(outcome) == ["generate", "inspect", "remux"]
    assert any((one != other).any() for one, other in zip(halves, chunks(tmp_path, outcome), strict=True))
    again = dub("pixels.mp4", *both(*voices), "--speaker-box", "32,0,64,32", "--speaker-box", "0,0,50%,32")
    assert not_reused(again) == [], "the same boxes, written otherwise"


def test_in_turn_and_a_preview_of_it(dub, voices: tuple[Path, Path], tmp_path: Path) -> None:
    whole = dub("turns.mkv", *both(*voices), "--turns", "sequence", "--audio-codec", "flac")
    assert whole.document["duration_s"] == 0.9 and whole.document["model_frames"] == 23
    heard, _, _ = synthetic.read_all_samples(tmp_path / "turns.mkv")
    np.testing.assert_array_equal(heard, np.concatenate([synthetic.read_all_samples(voice)[0] for voice in voices]))
    preview = dub(
        "preview.mkv", *both(*voices), "--turns", "sequence", "--audio-codec", "flac", "--start", "0.4", "--end", "0.6"
    )
    assert not_reused(preview)[:2] == ["scenes", "audio_embedding"], "the voices are combined once"
    assert preview.document["model_frames"] == 5
    cut, rate_hz, _ = synthetic.read_all_samples(tmp_path / "preview.mkv")
    np.testing.assert_array_equal(cut, heard[round(0.4 * rate_hz) : round(0.6 * rate_hz)])


def test_a_mix_is_coded_as_the_container_likes(dub, voices: tuple[Path, Path], tmp_path: Path) -> None:
    for name, codec in (("out.mp4", "aac"), ("out.webm", "opus")):
        dub(name, *both(*voices))
        assert probe(tmp_path / name).audio[0].codec == codec


def test_an_interrupted_job_goes_on_to_the_same_result(
    dub, voices: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dub("whole.mkv", *both(*voices))
    whole = (tmp_path / "whole.mkv").read_bytes()
    monkeypatch.setenv("INFINITETALK_CACHE", str(tmp_path / "other cache"))
    committed: list[Path] = []

    def stop_at_the_second(source: Path, target: Path) -> None:
        if committed:
            raise KeyboardInterrupt
        committed.append(target)
        commit_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("infinitetalk_cli.stages.generate.commit_file", stop_at_the_second)
        dub("broken.mkv", *both(*voices), ends=130)
    kept_ns = committed[0].stat().st_mtime_ns
    outcome = dub("broken.mkv", *both(*voices))
    assert next(stage for stage in outcome.document["stages"] if stage["name"] == "generate")["resumed"]
    (file,) = (tmp_path / "other cache" / "generate").glob(f"*/chunks/{committed[0].name}")
    assert file.stat().st_mtime_ns == kept_ns
    assert (tmp_path / "broken.mkv").read_bytes() == whole


def test_one_voice_with_the_weights_for_two(dub, voices: tuple[Path, Path]) -> None:
    outcome = dub("one.mp4", "--audio", voices[0])
    assert "voices" not in [stage["name"] for stage in outcome.document["stages"]]


def test_the_plan_knows_the_mix(dub, voices: tuple[Path, Path], tmp_path: Path) -> None:
    plan = dub("plan.mp4", *both(*voices), "--turns", "sequence", "--dry-run").document
    assert plan["duration_s"] == pytest.approx(0.9) and plan["num_frames"] == 23
    assert {stage["name"]: stage["state"] for stage in plan["stages"]}["voices"] == "to do"
    assert not (tmp_path / "plan.mp4").exists()


def test_one_voice_loads_nothing_for_two(voices: tuple[Path, Path], tmp_path: Path, small_profile: Path) -> None:
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=5))
    words = [
        "dub",
        source,
        "--audio",
        voices[0],
        "--profile",
        small_profile,
        "--end",
        "0.1",
        "-q",
        "--cache-dir",
        tmp_path,
    ]
    code = (
        "import sys\n"
        f"sys.argv = {['infinitetalk', *map(str, words)]!r}\n"
        "from infinitetalk_cli.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as exc:\n    assert not exc.code, exc.code\n"
        "loaded = [name for name in ('silero_vad', 'pyannote') if name in sys.modules]\n"
        "sys.exit(f'imported {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
