"""The train command on a folder of films: nano fine-tuned from the shipped weights, interrupted, resumed, used."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from footage import Shot, join
from talking import write_talk

from infinitetalk_cli.checkpoints.locate import locate_nano

CONFIG = """
extends: finetune-nano
name: mine
videos: {area_px: 4096, clip_frames: 29, crop: whole}
flow:
  phases: [{num_steps: 4, chunk_frames: 9, batch_size: 2}]
  context_frames: 5
  checkpoint_every: 2
  samples_every: 4
  precision: "no"
"""


@pytest.fixture
def job(tmp_path: Path) -> list[object]:
    folder = tmp_path / "talks"
    folder.mkdir()
    for seed in (1, 2):
        write_talk(folder / f"{seed}.mkv", join([Shot(seed, 1.6)], Fraction(25)), Fraction(25))
    (folder / "broken.mp4").write_bytes(b"\0" * 1000)
    config = tmp_path / "mine.yaml"
    config.write_text(CONFIG)
    return ["train", config, "--data", folder, "--out", tmp_path / "run", "--cpu", "--json"]


def test_nano_is_fine_tuned_on_videos(job, tmp_path, run_command):
    outcome = run_command(*job)
    assert outcome.exit_code == 0, outcome.stderr
    assert "broken.mp4: skipped: " in outcome.stderr
    run = tmp_path / "run"
    assert outcome.document["weights"] == str(run / "weights")
    assert set(locate_nano(run / "weights").networks) == {"transformer", "codec", "audio_encoder"}
    lines = [json.loads(line) for line in (run / "flow" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[0]["audio_gain"] != 0
    assert [path.name for path in (run / "flow" / "samples").iterdir()] == ["step-000004.png"]
    made = (run / "transformer" / "diffusion_pytorch_model.safetensors").read_bytes()
    again = run_command(*job)  # nothing left to do, and nothing changes
    assert again.exit_code == 0, again.stderr
    assert (run / "transformer" / "diffusion_pytorch_model.safetensors").read_bytes() == made


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["finetune-nano"], 3, "name their folder with --data DIR"),
        (["lora-infinitetalk"], 2, "name their folder"),
        (["nano", "--data", "{talks}"], 3, "use finetune-nano"),
        (["finetune-nano", "--data", "{talks}/none"], 4, "no such folder"),
        (["finetune-nano", "--data", "{talks}", "--step", "dance"], 2, "no step dance"),
        (["lora-infinitetalk", "--data", "{talks}", "--weights-dir", "{talks}"], 5, "infinitetalk models pull"),
    ],
)
def test_a_wrong_command_is_one_sentence(job, tmp_path, run_command, arguments, code, message):
    filled = [text.replace("{talks}", str(tmp_path / "talks")) for text in arguments]
    outcome = run_command("train", *filled, "--out", tmp_path / "out", "--cpu", "--quiet")
    assert outcome.exit_code == code, outcome.stderr
    assert message in " ".join(outcome.stderr.split())
    assert "Traceback" not in outcome.stderr
