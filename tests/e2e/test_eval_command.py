"""`infinitetalk eval synthetic`: it measures the very chunks that `dub` makes, and keeps what it has found."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from test_dub_uni3c import write_branch

pytest.importorskip("espeakng_loader", reason="speech synthesis needs the extra infinitetalk[train]")

SIDE_PX = 64


@pytest.fixture
def tiny_profile(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "extends: nano\n"
        "geometry: {area_px: 4096}\n"
        "chunks: {num_frames: 17, context_frames: 5}\n"
        "sampling: {num_steps: 1, audio_guidance_scale: 1.0}\n"
    )
    return path


@pytest.mark.parametrize("is_steered", [False, True], ids=["free", "camera branch"])
def test_what_is_measured_is_what_dub_makes(is_steered, tmp_path, run_command, tiny_profile):
    from infinitetalk_cli.checkpoints.locate import builtin_folder
    from infinitetalk_cli.evaluate.synthetic.claims.methods import steered
    from infinitetalk_cli.evaluate.synthetic.clips import Case
    from infinitetalk_cli.evaluate.synthetic.dubbing import dub, load_models
    from infinitetalk_cli.evaluate.synthetic.settings import GENTLE, EvalSettings

    weights, changes, options = builtin_folder("nano"), {}, []
    if is_steered:
        weights = shutil.copytree(weights, tmp_path / "weights")
        write_branch(weights / "uni3c", in_channels=97, add_channels=None)
        tiny_profile.write_text(f"{tiny_profile.read_text()}model: {{weights: {weights}}}\n")
        changes, options = dict(steered(1.0).changes), ["--camera-lock", "on", "--camera-method", "uni3c"]
    profile = EvalSettings(profile=str(tiny_profile)).load_profile(changes)
    case = Case.make(0, 3, GENTLE, SIDE_PX, (slice(0, 17), slice(17, 29), slice(29, 41)))
    folder = tmp_path / "by-eval"
    made = dub(load_models(weights, profile), profile, case.clip.frames_u8, case.waveform, folder)
    assert made.frames_u8.shape == (41, SIDE_PX, SIDE_PX, 3)
    assert [chunk.new_start for chunk in made.plan.chunks] == [0, 17, 29]

    source, speech = folder / "source.mkv", folder / "speech.wav"
    outcome = run_command(
        "dub",
        source,
        "--audio",
        speech,
        "--profile",
        tiny_profile,
        "--scenes",
        "off",
        "-o",
        tmp_path / "out.mp4",
        "-q",
        *options,
    )
    assert outcome.exit_code == 0, outcome.stderr
    for index in range(3):
        name = f"chunks/chunk-{index:06d}.mkv"
        (cached,) = (tmp_path / "cache").rglob(name)
        assert cached.read_bytes() == (folder / "generate" / name).read_bytes()


def untimed(claim: dict) -> list[tuple[str, dict]]:
    """Every row's figures but the time it took."""
    return [
        (row["method"], {name: value for name, value in row["figures"].items() if name != "seconds_per_chunk"})
        for row in claim["rows"]
    ]


def test_claims_are_measured_kept_and_gone_on_with(tmp_path, run_command, tiny_profile, monkeypatch):
    from infinitetalk_cli.evaluate.synthetic import units

    out = tmp_path / "report"
    command = ("eval", "synthetic", "--profile", tiny_profile, "--clips", 3, "--chunks", 1, "--strengths", "0.5",
               "--claims", "camera,ablation", "--out", out, "--json", "-q")  # fmt: skip
    outcome = run_command(*command)
    assert outcome.exit_code == 0, outcome.stderr
    claim = outcome.document["claims"]["camera"]
    rows = {row["method"]: row["figures"] for row in claim["rows"]}
    assert set(rows) == {"sparse", "lock-0.50", "sparse-refresh", "truth", "codec", "copy"}
    assert rows["copy"]["pan_px"]["value"] < 0.1
    assert len(rows["sparse"]["lip"]["clips"]) == 3
    assert claim["default_strength"] == 0.3
    assert "ablation" not in outcome.document["claims"]
    lacking = [entry["what"] for entry in outcome.document["not_measured"] if entry["claim"] == "ablation"]
    assert lacking == ["strategy m0", "strategy m1", "strategy m2", "strategy m3"]
    assert {path.name for path in out.iterdir()} >= {"report.md", "report.json", "claims.csv", "camera-price.png",
                                                     "sheet-camera.png"}  # fmt: skip
    assert "| lock-0.50 |" in (out / "report.md").read_text()
    with (out / "claims.csv").open() as file:
        figures = {(row["method"], row["figure"]): float(row["value"]) for row in csv.DictReader(file)}
    assert figures["copy", "pan_px"] == pytest.approx(rows["copy"]["pan_px"]["value"])

    dubbed, real_dub = [], units.dub

    def counting_dub(*args, **kwargs):
        dubbed.append(args)
        return real_dub(*args, **kwargs)

    monkeypatch.setattr(units, "dub", counting_dub)
    again = run_command(*command)
    assert again.document["claims"] == outcome.document["claims"]
    assert not dubbed
    (lost,) = (out / "found").glob("panning1-lock-0.50-01-*.json")
    lost.write_text("{")  # a damaged file counts as none
    again = run_command(*command)
    assert untimed(again.document["claims"]["camera"]) == untimed(claim)
    assert len(dubbed) == 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--claims", "lips,fame"], 2, "no claim fame"),
        (["--model", "m3"], 4, "say NAME=DIR"),
        (["--model", "m3=/nowhere/at/all"], 4, "there is no such folder"),
        (["--model", "m3={tmp}"], 5, "weights are missing"),
        (["--strengths", "0.2,x"], 2, "say numbers"),
        (["--profile", "unheard-of"], 3, "unheard-of"),
    ],
)
def test_a_wrong_option_is_one_sentence(tmp_path, run_command, options, code, message):
    options = [option.replace("{tmp}", str(tmp_path)) for option in options]
    outcome = run_command("eval", "synthetic", *options, "-q")
    assert outcome.exit_code == code, outcome.stderr
    assert message in " ".join(outcome.stderr.split())
    assert "Traceback" not in outcome.stderr
