"""FVD: which frames make a clip, how they are fed, and a stand-in of the network in the published file's form."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from infinitetalk_cli.evaluate.metrics import metric
from infinitetalk_cli.evaluate.metrics.common import Missing
from infinitetalk_cli.evaluate.metrics.frechet import frechet_distance
from infinitetalk_cli.evaluate.metrics.fvd import ClipFeatures, clip_starts, clips
from infinitetalk_cli.evaluate.metrics.metric_weights import I3D


class StandIn(nn.Module):
    """Called like the published module: 400 numbers of which each depends on the clip and on all settings."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if rescale:
            x = x / 127.5 - 1
        if resize:
            x = nn.functional.interpolate(x, (x.shape[2], 224, 224))
        if not return_features:
            return torch.zeros(1)
        spread = torch.linspace(1.0, 2.0, 400)
        return x.mean(dim=(1, 2, 3, 4))[:, None] * spread + x.shape[-1]


@pytest.fixture
def folders(publish, weights: Path) -> list[Path]:
    """With the stand-in under the published name."""
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(StandIn()), script)
    publish(I3D, script.getvalue())
    return [weights]


def grey(levels: list[float]) -> list[np.ndarray]:
    return [np.full((8, 8, 3), level, np.uint8) for level in levels]


def test_one_clip_per_video_at_a_place_of_its_own(folders: list[Path]) -> None:
    measure = metric("fvd").load(folders)
    assert measure.identity["preset"] == "styleganv" and list(measure.identity["files"]) == [I3D]
    rows = measure.features(grey(range(50)), 50, "clip-7")
    (start,) = clip_starts("styleganv", 50, 0, "clip-7")
    mean = (start + 7.5) / 127.5 - 1  # rescaled
    np.testing.assert_allclose(rows[0], mean * np.linspace(1, 2, 400) + 224, rtol=1e-4)
    assert rows.shape == (1, 400) and rows.dtype == np.float32


def test_a_source_and_its_result_show_the_same_frames(folders: list[Path]) -> None:
    measure = metric("fvd").load(folders)
    frames = grey(range(50))
    same = [[measure.features(frames, 50, name)] for name in ("a", "a")]
    assert frechet_distance([*same[0], *same[0]], [*same[1], *same[1]]) == 0


def test_places_spread_over_the_video_and_depend_on_the_seed() -> None:
    starts = [clip_starts("styleganv", 100, 0, f"video {number}")[0] for number in range(300)]
    assert min(starts) < 5 and max(starts) > 79 and max(starts) <= 84
    assert starts != [clip_starts("styleganv", 100, 1, f"video {number}")[0] for number in range(300)]


def test_dense_takes_every_whole_clip(folders: list[Path]) -> None:
    measure = metric("fvd", "dense").load(folders)
    assert clip_starts("dense", 50, 0, "x") == [0, 16, 32]
    assert measure.features(grey(range(50)), 50, "x").shape == (3, 400)


@pytest.mark.parametrize(("preset", "num_frames"), [("styleganv", 15), ("dense", 15), ("latentsync", 35)])
def test_too_short(folders: list[Path], preset: str, num_frames: int) -> None:
    measure = ClipFeatures(StandIn(), preset, 0, "cpu", lambda _frame: np.zeros(4), {})
    missing = measure.features(grey(range(num_frames)), num_frames, "x")
    assert isinstance(missing, Missing) and missing.reason == "too short"


def test_clips_are_cut_where_they_should_be() -> None:
    found = [clip[:, 0, 0, 0].tolist() for clip in clips(iter(grey(range(60))), [3, 19, 44])]
    assert found == [list(range(start, start + 16)) for start in (3, 19, 44)]
    with pytest.raises(ValueError, match="frames end inside the clip that starts at frame 50"):
        list(clips(iter(grey(range(60))), [50]))


def test_latentsync_feeds_the_face_on_another_scale(noise_frames: Callable[..., list[np.ndarray]]) -> None:
    seen: list[Tensor] = []

    def network(x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        assert not rescale and not resize and return_features
        seen.append(x)
        return torch.zeros(1, 400)

    frames = noise_frames(40, (60, 80))
    for frame in frames:
        frame[10:40, 20:50] = 255
    measure = ClipFeatures(network, "latentsync", 0, "cpu", lambda _frame: np.array([20.0, 10.0, 50.0, 40.0]), {})
    measure.features(frames, 40, "x")
    assert seen[0].shape == (1, 3, 16, 224, 224)
    assert torch.equal(seen[0], torch.ones_like(seen[0]))
    nobody = ClipFeatures(network, "latentsync", 0, "cpu", lambda _frame: None, {})
    assert nobody.features(frames, 40, "x").reason == "no face"
