"""Weight files: found where they may lie, opened only if they are the published ones, and never run."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from infinitetalk_cli.errors import DependencyError, ExitCode, ProfileError
from infinitetalk_cli.evaluate.metrics import METRIC_NAMES, metric
from infinitetalk_cli.evaluate.metrics.loading import load_network, load_script
from infinitetalk_cli.evaluate.metrics.metric_weights import (
    DETECTOR,
    I3D,
    INCEPTION,
    METRIC_FILES,
    RESNET_50,
    S3FD,
    SYNCNET,
    WEIGHT_SETS,
    find,
    read_verified,
    search_folders,
    smallest_set,
)


def saved(value: object, is_archive: bool = True) -> bytes:
    content = io.BytesIO()
    torch.save(value, content, _use_new_zipfile_serialization=is_archive)
    return content.getvalue()


@pytest.mark.parametrize("place", ["", "metrics", "buffalo_l", "models/buffalo_l"])
def test_found_where_tools_keep_them(publish, weights: Path, place: str) -> None:
    publish(DETECTOR, b"onnx", place=False)
    (weights / place).mkdir(parents=True, exist_ok=True)
    (weights / place / DETECTOR).write_bytes(b"onnx")
    assert find(DETECTOR, [weights]) == weights / place / DETECTOR


def test_found_under_another_tools_name(publish, weights: Path) -> None:
    publish(INCEPTION, b"tensors", place=False)
    (weights / "weights-inception-2015-12-05-6726825d.pth").write_bytes(b"tensors")
    assert read_verified(INCEPTION, [weights]) == b"tensors"


def test_the_named_folder_comes_before_the_weights_folder(tmp_path: Path) -> None:
    named, root = tmp_path / "named", tmp_path / "weights"
    assert search_folders(named, root) == (named, root / "metrics")
    assert search_folders(None, root)[0] == root / "metrics"


def test_a_file_of_another_size_is_not_there_and_is_mentioned(publish, weights: Path) -> None:
    path = publish(I3D, b"whole file")
    path.write_bytes(b"half")
    missing = metric("fvd").available([weights])
    assert missing.reason == "no weights"
    assert str(path) in missing.remedy and "`infinitetalk models pull metrics/fvd`" in missing.remedy


def test_another_file_of_the_same_size_is_not_opened(publish, weights: Path) -> None:
    publish(I3D, b"right").write_bytes(b"wrong")
    with pytest.raises(DependencyError, match=r"is not the published i3d_torchscript\.pt") as caught:
        load_script(I3D, [weights], "cpu")
    assert "models pull metrics/fvd" in str(caught.value)


def test_a_pickle_that_runs_code_is_refused_although_its_hash_is_right(publish, weights: Path, tmp_path: Path) -> None:
    trap = tmp_path / "it ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (trap,))

    publish(SYNCNET, saved({"weight": Trap()}))
    with pytest.raises(DependencyError, match="no table of tensors"):
        load_network(nn.Linear(2, 2), SYNCNET, [weights], "cpu")
    publish(SYNCNET, pickle.dumps(Trap(), protocol=2))
    with pytest.raises(DependencyError, match="no table of tensors"):
        load_network(nn.Linear(2, 2), SYNCNET, [weights], "cpu")
    assert not trap.exists()


def small_network() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    nn.init.normal_(network[1].weight)
    return network


@pytest.mark.parametrize("is_archive", [True, False], ids=["archive", "torch before 1.6"])
def test_a_network_from_its_file(publish, weights: Path, is_archive: bool) -> None:
    """Published files are old: without counters of batch norm, and some in the format before archives."""
    trained = small_network()
    state = {name: value for name, value in trained.state_dict().items() if "num_batches" not in name}
    publish(SYNCNET, saved(state, is_archive))
    loaded = load_network(small_network(), SYNCNET, [weights], "cpu")
    assert torch.equal(loaded[1].weight, trained[1].weight)
    assert not loaded.training and not loaded[0].weight.requires_grad


def test_a_file_of_other_tensors_is_refused(publish, weights: Path) -> None:
    state = small_network().state_dict()
    fewer = {"0.weight": state["0.weight"]}
    for other in (fewer, {**state, "0.weight": torch.zeros(5, 5)}, {**state, "more": torch.ones(1)}):
        publish(SYNCNET, saved(other))
        with pytest.raises(DependencyError, match="does not fit the network"):
            load_network(small_network(), SYNCNET, [weights], "cpu")


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_without_weights_every_metric_says_which_line_gets_them(name: str, weights: Path) -> None:
    missing = metric(name).available([weights])
    assert missing.reason == "no weights"
    assert f"`infinitetalk models pull metrics/{name}`" in missing.remedy
    assert all(file in missing.remedy for file in metric(name).needs)
    assert missing.error().exit_code == ExitCode.DEPENDENCY
    with pytest.raises(DependencyError, match="weights are missing"):
        metric(name).load([weights])


def test_only_what_is_missing_is_named(publish, weights: Path) -> None:
    publish(S3FD, b"faces")
    missing = metric("sync").available([weights])
    assert SYNCNET in missing.remedy and S3FD not in missing.remedy


def test_the_line_gets_no_more_than_is_needed(weights: Path) -> None:
    assert (
        "`infinitetalk models pull metrics/csim-antelopev2`" in metric("csim", "antelopev2").available([weights]).remedy
    )


def test_presets_are_checked() -> None:
    assert metric("fid", "clean").preset == "clean"
    assert metric("fvd", seed=3).seed == 3
    with pytest.raises(ProfileError, match="no preset 'clear'; choose among pytorch-fid, tf1, antialias, clean"):
        metric("fid", "clear")
    with pytest.raises(ProfileError, match="no such metric"):
        metric("lpips")


def test_the_table_is_complete() -> None:
    assert {file for files in WEIGHT_SETS.values() for file in files} == set(METRIC_FILES)
    for name in METRIC_NAMES:
        for preset in metric(name).presets:
            assert set(metric(name, preset).needs) <= set(METRIC_FILES)
    for name, file in METRIC_FILES.items():
        assert name == file.name and len(file.sha256) == 64 and int(file.sha256, 16) and file.size_bytes > 1e6
        assert file.url.startswith("https://")
    assert smallest_set(RESNET_50) == "metrics/csim"
