"""The command with the published model, from miniature checkpoints in the published layouts."""

from __future__ import annotations

import os
from pathlib import Path

import miniature
import pytest
import synthetic
from synthetic import Clip

from infinitetalk_cli.cache.files import commit_file

PROFILE = f"""
name: miniature
description: the published model in miniature
model:
  family: infinitetalk
  base: {miniature.BASE}
  audio_encoder: {miniature.AUDIO_ENCODER}
  audio_weights: InfiniteTalk-single
geometry: {{area_px: 1024}}
chunks: {{num_frames: 9, context_frames: 5}}
sampling: {{num_steps: 2, prompt: a person is talking, negative_prompt: blur}}
compute: {{dtype: float32}}
"""


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in the original layout, shared by tests that leave them as they are."""
    return miniature.write_weights(tmp_path_factory.mktemp("original"))


@pytest.fixture
def job(tmp_path: Path) -> list[object]:
    """A command of two chunks, but for its weights."""
    source = synthetic.make_clip(tmp_path / "source.mp4", Clip(num_frames=13, size=(48, 32)))
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(0.5))
    profile = tmp_path / "profile.yaml"
    profile.write_text(PROFILE)
    return ["dub", source, "--audio", voice, "--profile", profile, "--device", "cpu", "--json"]


def not_reused(outcome) -> list[str]:
    assert outcome.exit_code == 0, outcome.stderr
    return [stage["name"] for stage in outcome.document["stages"] if not stage["reused"]]


def chunks(tmp_path: Path) -> dict[str, list[bytes]]:
    """Chunk files by the generation they belong to."""
    folders = sorted((tmp_path / "cache" / "generate").glob("*/chunks"), key=os.path.getmtime)
    return {folder.parent.name: [file.read_bytes() for file in sorted(folder.glob("*.mkv"))] for folder in folders}


def test_both_layouts_dub_alike(job: list[object], original: Path, tmp_path: Path, run_command) -> None:
    first = run_command(*job, "--weights-dir", original)
    assert first.exit_code == 0 and first.document["model_frames"] == 13, first.stderr
    assert "torchao" not in first.stderr and "Warning" not in first.stderr
    other = miniature.write_weights(tmp_path / "diffusers", layout="diffusers")
    second = run_command(*job, "--weights-dir", other, "-o", tmp_path / "second.mp4")
    # The speech encoder is the same file; the others count as other weights.
    assert not_reused(second) == ["text_embedding", "generate", "inspect", "remux"]
    made = list(chunks(tmp_path).values())
    assert len(made) == 2 and len(made[0]) == 2 and made[0] == made[1]


def test_finished_and_changed_jobs(job: list[object], original: Path, tmp_path: Path, run_command) -> None:
    """Done is done; another prompt concerns its own stages, another seed does not concern the text."""
    job = [*job, "--weights-dir", original]
    run_command(*job)
    assert run_command(*job).document["status"] == "already done"
    before = chunks(tmp_path)
    assert not_reused(run_command(*job, "--prompt", "a bright person")) == [
        "text_embedding",
        "generate",
        "inspect",
        "remux",
    ]
    (after,) = (made for name, made in chunks(tmp_path).items() if name not in before)
    assert after not in before.values()
    assert not_reused(run_command(*job, "--seed", "7")) == ["generate", "inspect", "remux"]


def test_interrupted_job_goes_on(
    job: list[object], original: Path, tmp_path: Path, run_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = [*job, "--weights-dir", original]
    run_command(*job)
    (whole,) = chunks(tmp_path).values()
    committed = []

    def interrupted(temporary: Path, final: Path) -> None:
        if committed:
            raise KeyboardInterrupt
        committed.append(final)
        commit_file(temporary, final)

    job += ["--cache-dir", tmp_path / "broken" / "cache", "-o", tmp_path / "broken.mp4"]
    with monkeypatch.context() as patch:
        patch.setattr("infinitetalk_cli.stages.generate.commit_file", interrupted)
        assert run_command(*job).exit_code == 130
    outcome = run_command(*job)
    assert not_reused(outcome) == ["generate", "inspect", "remux"]
    assert [stage["name"] for stage in outcome.document["stages"] if stage["resumed"]] == ["generate"]
    assert list(chunks(tmp_path / "broken").values()) == [whole]


def test_one_prompt_for_many_videos_is_encoded_once(
    job: list[object], original: Path, tmp_path: Path, run_command
) -> None:
    run_command(*job, "--weights-dir", original)
    other = synthetic.make_clip(tmp_path / "other.mp4", Clip(num_frames=9, size=(32, 48)))
    outcome = run_command(job[0], other, *job[2:], "--weights-dir", original)
    assert "text_embedding" not in not_reused(outcome)


def test_lora_of_the_profile_changes_pixels(job: list[object], original: Path, tmp_path: Path, run_command) -> None:
    job = [*job, "--weights-dir", original]
    run_command(*job)
    lora = miniature.write_lora(tmp_path / "lora.safetensors")
    profile = tmp_path / "profile.yaml"
    for settings in (
        f"loras: [{{file: {lora}}}]",
        f"loras: [{{file: {lora}, weight: 0.5}}]",
        f"loras: [{{file: {lora}}}]\n  lora_alpha: ignore",
    ):
        profile.write_text(PROFILE.replace("InfiniteTalk-single\n", f"InfiniteTalk-single\n  {settings}\n"))
        assert not_reused(run_command(*job)) == ["generate", "inspect", "remux"]
    made = list(chunks(tmp_path).values())
    assert len(made) == 4 and all(made.count(one) == 1 for one in made)


def test_compute_settings_run(job: list[object], original: Path, tmp_path: Path, run_command) -> None:
    """bfloat16, 8-bit weights, tiling, all at once; offloading has nowhere to offload from and says so."""
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        PROFILE.replace(
            "{dtype: float32}", "{dtype: bfloat16, vae_dtype: bfloat16, quantization: int8, vae_tiling: true}"
        )
        + "memory: {offload: all}\n"
    )
    outcome = run_command(*job, "--weights-dir", original)
    assert outcome.exit_code == 0, outcome.stderr
    assert "offload all has no effect" in outcome.stderr


def test_weights_of_another_shape(job: list[object], tmp_path: Path, run_command) -> None:
    from safetensors.torch import load_file, save_file

    folder = miniature.write_weights(tmp_path / "weights")
    audio = folder / "InfiniteTalk" / "single" / "infinitetalk.safetensors"
    weights = load_file(audio)
    weights["blocks.0.norm_x.weight"] = weights["blocks.0.norm_x.weight"][:-1].clone()
    save_file(weights, audio)
    outcome = run_command(*job, "--weights-dir", folder)
    assert outcome.exit_code == 5, outcome.stderr
    assert "blocks.0.norm_x.weight is 31 instead of 32" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_lora_of_another_model(job: list[object], original: Path, tmp_path: Path, run_command) -> None:
    lora = miniature.write_lora(tmp_path / "lora.safetensors", prefix="unet", modules=("attn9.q",), with_diffs=False)
    profile = tmp_path / "profile.yaml"
    profile.write_text(PROFILE.replace("InfiniteTalk-single\n", f"InfiniteTalk-single\n  loras: [{{file: {lora}}}]\n"))
    outcome = run_command(*job, "--weights-dir", original)
    assert outcome.exit_code == 5 and "none of its" in outcome.stderr and "attn9" in outcome.stderr
    assert "Traceback" not in outcome.stderr
