"""`eval split make`, `eval run` and `eval compare` on small clips, from a folder of videos to tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import RunCommand, run_here
from synthetic import Clip, ClipAudio, make_clip, speech

FRAMES = 44
"""More than the 40 of the dubbed ones, and enough on both sides of a seam at 26."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two talking clips and their split; the second has a shorter sound."""
    root = tmp_path_factory.mktemp("eval")
    (root / "videos").mkdir()
    for number, seconds in enumerate((2.0, 1.4)):
        sound = ClipAudio(speech(seconds, seed=number), 48_000)
        make_clip(
            root / "videos" / f"clip{number}.mp4", Clip(FRAMES, (96, 80), audio=(sound,), first_number=100 * number)
        )
    outcome = run_here("eval", "split", "make", root / "two.yaml", "--videos", root / "videos", "--size", 96)
    assert outcome.exit_code == 0, outcome.stderr
    return root


def _run(place: Path, *args: object, split: str = "two.yaml", out: str = "out", as_json: bool = True):
    return run_here(
        "eval", "run", "--split", place / split, "--videos", place / "videos", "--out", place / out,
        "--cache-dir", place / "cache", "-q", *args, *(["--json"] if as_json else []),
    )  # fmt: skip


def _clips(document: dict) -> dict[str, dict]:
    """The clips of the report that `document` names, by id."""
    report = json.loads(Path(document["files"]["json"]).read_text())
    return {clip["id"]: clip for clip in report["clips"]}


@pytest.fixture(scope="module")
def copied(place: Path) -> dict:
    """What `eval run --method copy` says."""
    outcome = _run(place, "--method", "copy", "--chunk-frames", 26, "--context-frames", 9)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.document


def test_a_copy_is_ideal_from_end_to_end(place: Path, copied: dict) -> None:
    summary = {key: value["mean"] for key, value in copied["summary"].items()}
    assert summary["background.psnr_db"] == 100
    assert summary["drift.delta_e_mean"] == summary["drift.sharpness_per_min"] == 0
    assert summary["seams.color_z"] == summary["seams.color_z_source"]
    assert summary["file.frames_off"] == 0
    assert abs(summary["file.sound_offset_s"]) < 0.002
    assert summary["file.sound_r"] > 0.98
    assert summary["camera.ate_px"] == summary["camera.error_px"] == 0
    assert (
        copied["not_measured"] == dict.fromkeys(("fid", "fvd", "sync", "csim"), "no weights") | copied["not_measured"]
    )
    assert {copied["not_measured"][name] for name in ("fid", "fvd", "sync")} == {"no weights"}


def test_the_prepared_clips_have_each_others_sound(place: Path, copied: dict) -> None:
    about = json.loads((place / "out" / "prepared" / "clip0.json").read_text())
    assert (about["num_frames"], about["donor"]) == (FRAMES, "clip1")
    assert about["audio_pad_s"] == pytest.approx(FRAMES / 25 - 1.4, abs=0.03), "the donor's sound is shorter"
    assert json.loads((place / "out" / "prepared" / "clip1.json").read_text())["audio_pad_s"] == 0


def test_all_reports_are_there_and_offline(place: Path, copied: dict) -> None:
    page = Path(copied["files"]["html"]).read_text()
    assert "data:image/webp;base64," in page
    assert "<svg" in page
    assert not any(word in page for word in ("<script", "http:", "https:", "@import", " src=/"))
    rows = list(csv.DictReader(Path(copied["files"]["csv"]).read_text().splitlines()))
    assert [row["id"] for row in rows] == [
        item["id"] for item in yaml.safe_load((place / "two.yaml").read_text())["items"]
    ]
    assert "fid: no weights" in rows[0]["missing"]
    text = Path(copied["files"]["markdown"]).read_text()
    assert "Covers 2 of 2 clips" in text
    report = json.loads(Path(copied["files"]["json"]).read_text())
    assert report["schema"] == 1
    assert report["clips"][0]["seams"] == [26, 43]


def test_a_second_run_measures_nothing_anew(place: Path, copied: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "infinitetalk_cli.evaluate.measures.analysis.trace_video", lambda *args: pytest.fail("traced again")
    )
    monkeypatch.setattr("infinitetalk_cli.evaluate.run.scoring.measure", lambda *args: pytest.fail("measured again"))
    again = _run(place, "--method", "copy", "--chunk-frames", 26, "--context-frames", 9)
    assert again.exit_code == 0, again.stderr
    assert again.document["summary"] == copied["summary"]


def test_results_of_any_method_with_one_missing_and_one_that_does_not_fit(place: Path, copied: dict) -> None:
    made = place / "made"
    made.mkdir()
    hiss = np.random.default_rng(7).uniform(-0.1, 0.1, (2 * 48_000, 1)).astype(np.float32)
    sound = ClipAudio(hiss, 48_000)  # nobody's voice here
    make_clip(made / "clip0.mp4", Clip(FRAMES - 10, (96, 96), audio=(sound,)))
    strict = _run(place, "--method", "other", "--outputs", made)
    assert strict.exit_code == 8
    assert strict.document["covered"] == 0
    assert strict.document["not_covered"]["clip1"] == "missing: the method made no file for it"
    assert f"{FRAMES - 10} frames, the source has {FRAMES}" in strict.document["not_covered"]["clip0"]
    lenient = _run(place, "--method", "other", "--outputs", made, "--lenient", "--metrics", "file,drift")
    assert lenient.exit_code == 8
    assert lenient.document["covered"] == 1
    assert lenient.document["summary"]["file.frames_off"]["mean"] == -10
    assert any("sound is not the one" in note for note in _clips(lenient.document)["clip0"]["notes"])
    shown = run_here("eval", "compare", place / "out" / "copy", place / "out" / "other", "--paper")
    assert shown.exit_code == 0, shown.stderr
    assert "1 of 2 clips" in shown.stdout
    page = run_here("eval", "compare", place / "out" / "copy", place / "out" / "other", "--out", place / "side.html")
    assert page.exit_code == 0
    assert "no weights" in (place / "side.html").read_text()


def test_a_clip_whose_video_is_gone_is_listed(place: Path) -> None:
    split = yaml.safe_load((place / "two.yaml").read_text())
    split["items"].append({"id": "gone", "video": "gone.mp4", "audio_from": "clip0"})
    (place / "three.yaml").write_text(yaml.safe_dump(split))
    outcome = _run(place, "--method", "copy", "--metrics", "file", split="three.yaml", out="out3")
    assert outcome.exit_code == 8
    assert outcome.document["not_covered"] == {"gone": f"missing: its video is not in {place / 'videos'}"}
    assert (outcome.document["covered"], outcome.document["clips"]) == (2, 3)
    assert "not covered: `gone`" in Path(outcome.document["files"]["markdown"]).read_text()


def test_a_metric_that_was_asked_for_needs_its_weights(place: Path) -> None:
    outcome = _run(place, "--method", "copy", "--metrics", "fid")
    assert outcome.exit_code == 5
    assert "models pull metrics" in outcome.stderr


def test_options_that_count_for_nothing_or_are_wrong_are_said(place: Path, run_command: RunCommand) -> None:
    for args, said in (
        (("--metrics", "psnr"), "choose among fid"),
        (("--preset", "fid"), "wants METRIC=PRESET"),
        (("--metrics", "file", "--preset", "fid=clean"), "has no effect"),
        (("--outputs", place), "makes its own results"),
        (("--context-frames", 90), "must be fewer"),
        (("--profile", "nano"), "--profile has no effect"),
    ):
        outcome = _run(place, "--method", "copy", *args, as_json=False)
        assert outcome.exit_code == 2, outcome.stderr
        assert said in " ".join(outcome.stderr.replace("│", " ").split())
    assert _run(place, "--method", "ours", "--chunk-frames", 41).exit_code == 2, "our own dubs know their chunks"
    nowhere = ("eval", "run", "--split", place / "two.yaml", "--videos", place / "no", "--method", "copy")
    assert run_command(*nowhere).exit_code == 2
    for args in (("--seconds", 2), ("--moving-camera",), ("--revision", "abc")):
        split = ("eval", "split", "make", place / "new.yaml", "--videos", place / "videos", *args)
        assert run_command(*split).exit_code == 2
    assert not (place / "new.yaml").exists()


def test_our_own_dub_with_and_without_context(place: Path, tmp_path: Path, small_profile: Path) -> None:
    split = yaml.safe_load((place / "two.yaml").read_text())
    split["prepare"]["max_seconds"] = 1.6
    (place / "short.yaml").write_text(yaml.safe_dump(split))
    common = ("--profile", small_profile, "--steps", 1, "--metrics", "file")
    ours = _run(place, "--method", "ours", *common, split="short.yaml", out="short")
    assert ours.exit_code == 0, ours.stderr
    clips = _clips(ours.document)
    assert clips["clip0"]["seams"] == [17, 29], "chunks of 17 frames that share 5"
    assert clips["clip1"]["seams"] == [17], "a cut is found at frame 28, and a cut is no joint"
    assert clips["clip0"]["seconds_to_make"] > 0
    assert clips["clip0"]["made_with"]["profile"] == "small"
    assert clips["clip0"]["made_with"]["weights"].keys() >= {"transformer", "codec"}
    assert ours.document["summary"]["file.frames_off"]["mean"] == 0
    assert abs(ours.document["summary"]["file.sound_offset_s"]["mean"]) < 0.01
    alone = _run(place, "--method", "alone", *common, "--no-context", split="short.yaml", out="short")
    assert alone.exit_code == 0, alone.stderr
    assert {tuple(clip["seams"]) for clip in _clips(alone.document).values()} == {(17, 34)}
    taken = _run(place, "--method", "ours", *common, "--no-context", split="short.yaml", out="short")
    assert taken.exit_code == 7
    assert "choose another --method" in taken.stderr


def test_prepare_writes_what_other_tools_need(place: Path, tmp_path: Path) -> None:
    outcome = run_here(
        "eval", "prepare", "--split", place / "two.yaml", "--videos", place / "videos", "--out", tmp_path
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        f"clip{number}.{suffix}" for number in (0, 1) for suffix in ("mkv", "wav", "json")
    }
    import wave

    with wave.open(str(tmp_path / "clip0.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16000, 1, FRAMES * 640)
        assert np.frombuffer(file.readframes(FRAMES * 640), "<i2")[-1000:].any() == 0


def test_a_split_is_not_overwritten(place: Path, run_command: RunCommand) -> None:
    again = run_command("eval", "split", "make", place / "two.yaml", "--videos", place / "videos")
    assert again.exit_code == 7
    for args in (("--dataset", "hdtf"), ("--list", "x.txt"), ()):
        assert run_command("eval", "split", "make", place / "new.yaml", *args).exit_code == 2


def test_a_split_of_rendered_clips(tmp_path: Path) -> None:
    outcome = run_here(
        "eval", "split", "make", tmp_path / "r.yaml", "--procedural", 2, "--videos", tmp_path / "clips", "--seconds", 1,
        "--size", 64, "--moving-camera", "-q",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    split = yaml.safe_load((tmp_path / "r.yaml").read_text())
    assert {item["audio_from"] for item in split["items"]} == {"character-000", "character-001"}
    before = {path.name: path.read_bytes() for path in (tmp_path / "clips").iterdir()}
    for args, is_equal in ((("--moving-camera",), True), ((), False)):
        outcome = run_here(
            "eval", "split", "make", tmp_path / "r.yaml", "--procedural", 2, "--videos", tmp_path / "clips",
            "--seconds", 1, "--size", 64, "-q", "--force", *args,
        )  # fmt: skip
        assert outcome.exit_code == 0, outcome.stderr
        after = {path.name: path.read_bytes() for path in (tmp_path / "clips").iterdir()}
        assert (after == before) is is_equal, "equal arguments, equal files; others, other files"
    for item in split["items"]:
        assert (tmp_path / "clips" / item["video"]).is_file()
        x, y, width, height = item["face"]
        assert 0 <= x < x + width <= 64
        assert 0 <= y < y + height <= 64
        assert width > 16
