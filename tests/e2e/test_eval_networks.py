"""Metrics with networks inside a run: stand-in networks, which live in tests only, for the way from clip to table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import run_here
from synthetic import Clip, ClipAudio, make_clip, speech

from infinitetalk_cli.evaluate import metrics
from infinitetalk_cli.evaluate.metrics.common import Missing
from infinitetalk_cli.evaluate.metrics.csim import FaceRows

COUNT: dict[str, int] = {}


class _Network:
    """What `load` gives, with numbers made of the pixels themselves."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity = {"name": name, "preset": "stand-in", "files": {f"{name}.pth": "0" * 64}}

    def _rows(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        COUNT[self.name] = COUNT.get(self.name, 0) + 1
        return np.stack([frame[::16, ::16].reshape(-1)[:24] for frame in frames]).astype(np.float32)

    def features(self, frames: Iterable[np.ndarray], num_frames: int | None = None, video_id: str = "") -> Any:
        rows = self._rows(frames)
        if self.name == "fid":
            return rows
        assert (num_frames, video_id[:4]) == (len(rows), "clip")
        return Missing("no face", "") if video_id == "clip1" else rows[::8]

    def embeddings(self, frames: Iterable[np.ndarray]) -> FaceRows:
        rows = self._rows(frames)
        return FaceRows(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.ones(len(rows), bool))

    def score(self, frames: Any, audio: np.ndarray) -> Any:
        assert audio.dtype == np.int16
        rows = self._rows(frames())
        self.num_samples = len(audio)
        return SimpleNamespace(
            confidence=2.0, distance=9.0, offset_frames=1, confidence_at_zero=1.5, distance_at_zero=9.5,
            num_windows=len(rows), num_tracks=1, scale=1.0, min_face_px=64,
        )  # fmt: skip


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    COUNT.clear()

    def metric(name: str, preset: str | None = None) -> Any:
        network = _Network(name)
        return SimpleNamespace(available=lambda folders: None, load=lambda folders, device: network)

    monkeypatch.setattr(metrics, "metric", metric)


def test_a_copy_has_no_distance_and_the_same_face(tmp_path: Path, networks: None) -> None:
    (tmp_path / "videos").mkdir()
    for number in range(3):
        sound = ClipAudio(speech(2.0, seed=number), 48_000)
        clip = Clip(40, (64, 64), audio=(sound,), first_number=100 * number)
        make_clip(tmp_path / "videos" / f"clip{number}.mp4", clip)
    split = tmp_path / "split.yaml"
    assert run_here("eval", "split", "make", split, "--videos", tmp_path / "videos", "--size", 64).exit_code == 0

    def run(method: str, *args: object) -> dict[str, Any]:
        outcome = run_here(
            "eval", "run", "--split", split, "--videos", tmp_path / "videos", "--out", tmp_path / "out",
            "--method", method, "--cache-dir", tmp_path / "cache", "--metrics", "fid,fvd,sync,csim", "-q", "--json",
            *args,
        )  # fmt: skip
        assert outcome.exit_code == 0, outcome.stderr
        return outcome.document

    copied = run("copy")
    assert copied["sets"]["fid.fid"]["value"] == pytest.approx(0, abs=1e-3)
    assert (copied["sets"]["fid.fid"]["n"], copied["sets"]["fid.fid"]["samples"]) == (3, 120)
    assert copied["sets"]["fvd.fvd"]["value"] == pytest.approx(0, abs=1e-3)
    assert copied["sets"]["fvd.fvd"]["n"] == 2, "one clip shows no face"
    assert copied["summary"]["csim.pair"]["mean"] == pytest.approx(1)
    assert copied["summary"]["csim.pair_per_min"]["mean"] == pytest.approx(0, abs=1e-4)
    assert copied["summary"]["sync.confidence"]["n"] == 3
    assert COUNT["fid"] == 6
    report = json.loads(Path(copied["files"]["json"]).read_text())
    assert report["metrics"]["fid"]["about"]["preset"] == "stand-in"
    fvd = {clip["id"]: clip["metrics"]["fvd"]["missing"] for clip in report["clips"]}
    assert fvd == {"clip0": None, "clip1": "no face", "clip2": None}

    run("copy")
    assert COUNT["fid"] == 6, "features are kept"
    made = tmp_path / "made"
    made.mkdir()
    for number in range(3):
        sound = ClipAudio(speech(1.6, seed=number), 48_000)
        make_clip(made / f"clip{number}.mp4", Clip(40, (64, 64), audio=(sound,), first_number=100 * number + 7))
    other = run("other", "--outputs", made)
    assert other["sets"]["fid.fid"]["value"] > 100
    assert COUNT["fid"] == 9, "those of the source are shared"
    shown = run_here("eval", "compare", tmp_path / "out" / "copy", tmp_path / "out" / "other", "--json")
    assert "fid: preset stand-in; fid.pth 000000000000" in shown.document["notes"]
    cells = shown.document["blocks"][0]["cells"]["fid.fid"]
    assert cells["copy"]["is_best"]
    assert not cells["other"]["is_best"]
