"""The camera branch's files: both published forms, one of our own, and whatever is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from infinitetalk_cli.checkpoints.catalog import load_catalog
from infinitetalk_cli.checkpoints.files import CONTROL, NetworkFiles
from infinitetalk_cli.checkpoints.inventory import parts_of
from infinitetalk_cli.checkpoints.layouts import uni3c_files
from infinitetalk_cli.checkpoints.locate import locate_uni3c
from infinitetalk_cli.config.model import ModelProfile
from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.filling import Placement
from infinitetalk_cli.models.published_networks import load_uni3c
from infinitetalk_cli.models.published_sizes import uni3c_config
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet
from infinitetalk_cli.pipeline.verification import verify_parts
from infinitetalk_cli.progress import SilentProgress

MODEL = miniature.model_profile()
NANO = ModelProfile(family="nano", weights="builtin:nano")


def load(network: NetworkFiles, dtype: torch.dtype = torch.float32, **main: Any) -> Uni3CControlNet:
    with torch.device("meta"):
        transformer = InfiniteTalkTransformer3DModel(**{**miniature.TRANSFORMER, **main})
    placement = Placement(torch.device("cpu"), dtype, tuple(Uni3CControlNet._keep_in_fp32_modules))
    return load_uni3c(network, placement, "the branch", transformer)


def rewritten(tmp_path: Path, edit: Callable[[dict[str, Tensor]], object], seed: int = 0) -> NetworkFiles:
    weights = miniature.uni3c_weights(seed)
    edit(weights)
    path = tmp_path / "branch.safetensors"
    save_file(weights, path)
    return uni3c_files(path).networks[CONTROL]


@pytest.mark.parametrize("repackaged", [False, True])
def test_both_published_forms_give_the_same_branch(repackaged: bool, tmp_path: Path) -> None:
    miniature.write_uni3c(tmp_path / "Uni3C", repackaged=repackaged)
    branch = load(locate_uni3c(MODEL, tmp_path))
    assert not branch.training
    for name, tensor in miniature.uni3c_weights().items():
        is_half = repackaged and not name.startswith("controlnet_patch")
        assert torch.equal(branch.state_dict()[name], tensor.half().float() if is_half else tensor), name
    assert {key: branch.config[key] for key in miniature.UNI3C} == miniature.UNI3C


def test_embeddings_stay_in_float32(tmp_path: Path) -> None:
    miniature.write_uni3c(tmp_path / "Uni3C", repackaged=True)
    branch = load(locate_uni3c(MODEL, tmp_path), torch.bfloat16)
    for name, parameter in branch.named_parameters():
        is_embedding = name.startswith(("controlnet_patch_embedding", "controlnet_mask_embedding"))
        assert parameter.dtype == (torch.float32 if is_embedding else torch.bfloat16), name


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda w: w.pop("controlnet.controlnet_blocks.0.ffn.2.bias"), "1 missing"),
        (lambda w: w.pop("controlnet_mask_embedding.mask_zero_proj.weight"), "1 missing"),
        (lambda w: w.pop("controlnet_mask_embedding.mask_proj.0.weight"), r"mask_proj\.0\.weight is missing"),
        (lambda w: w.pop("controlnet.proj_out.0.weight"), r"proj_out\.0\.weight is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 not known"),
        (lambda w: w.update({"controlnet.proj_in.weight": torch.zeros(64, 3)}), "1 of another shape"),
        (lambda w: w.update({"controlnet.proj_out.1.bias": torch.zeros(32)}), "missing"),
        (lambda w: w.update({"controlnet.proj_out.0.weight": torch.zeros(32, 60)}), "no whole heads of 64"),
    ],
    ids=["bias", "mask", "first mask", "first output", "extra", "shape", "half a block", "heads"],
)
def test_nothing_runs_on_random_weights(
    edit: Callable[[dict[str, Tensor]], object], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(DependencyError, match=complaint):
        load(rewritten(tmp_path, edit))


@pytest.mark.parametrize(
    ("main", "complaint"),
    [
        ({"num_attention_heads": 4}, "out_dim 32, not 64"),
        ({"in_channels": 33, "vae_temporal_stride": 1}, "in_channels 36, not 33"),
        ({"num_layers": 0}, "1 blocks beside 0"),
    ],
)
def test_a_branch_for_another_model(main: dict[str, int], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=f"made for another model.*{complaint}"):
        load(rewritten(tmp_path, dict), **main)


def test_a_branch_of_the_published_width_has_20_blocks() -> None:
    layout = {
        "controlnet_patch_embedding.weight": (5120, 36, 1, 2, 2),
        "controlnet_mask_embedding.mask_proj.0.weight": (256, 7, 4, 8, 8),
        "controlnet.proj_out.0.weight": (5120, 1024),
        "controlnet.controlnet_blocks.18.ffn.0.weight": (4096, 1024),
        "controlnet.controlnet_blocks.0.ffn.0.weight": (4096, 1024),
        "controlnet.controlnet_blocks.0.norm1.linear.weight": (3072, 5120),
    }
    shapes = {name: torch.empty(shape, device="meta") for name, shape in layout.items()}
    with torch.device("meta"):
        default = dict(Uni3CControlNet().config)
    config = uni3c_config(shapes, "here")
    assert config == {name: default[name] for name in config} and config["num_layers"] == 20


def test_a_pickle_that_could_run_code_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (print, ("run",))

    path = miniature.write_uni3c(tmp_path / "Uni3C")
    torch.save({"weight": Evil()}, path)
    with pytest.raises(DependencyError, match="could run code"):
        load(locate_uni3c(MODEL, tmp_path))


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="models pull uni3c"):
        locate_uni3c(MODEL, tmp_path)
    elsewhere = miniature.write_uni3c(tmp_path / "mine", seed=3)
    for name in ("mine", str(elsewhere)):
        assert locate_uni3c(MODEL.model_copy(update={"uni3c": name}), tmp_path).weights == (elsewhere,)
    with pytest.raises(ProfileError, match="no camera branch"):
        locate_uni3c(MODEL.model_copy(update={"uni3c": "FusionX-I2V-14B"}), tmp_path)
    with pytest.raises(DependencyError, match="train nano-uni3c"):
        locate_uni3c(NANO, tmp_path)


def test_converted_weights_are_preferred(tmp_path: Path, run_command) -> None:
    miniature.write_uni3c(tmp_path / "Uni3C")
    outcome = run_command("models", "convert", "uni3c", "--weights-dir", tmp_path, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    (network,) = (part.networks[CONTROL] for part in parts_of("uni3c", tmp_path))
    assert network.weights == (tmp_path / "Uni3C" / "controlnet.safetensors",)
    assert load_file(network.weights[0]).keys() == miniature.uni3c_weights().keys()


@pytest.mark.parametrize("repackaged", [False, True])
def test_verify_says_what_is_wrong(repackaged: bool, tmp_path: Path) -> None:
    path = miniature.write_uni3c(tmp_path / "Uni3C", repackaged=repackaged)
    name = "uni3c-fp16" if repackaged else "uni3c"
    (report,) = verify_parts(parts_of(name, tmp_path), tmp_path, SilentProgress())
    assert report.is_good and report.networks[0].num_tensors == len(miniature.uni3c_weights())
    weights = load_file(path) if repackaged else torch.load(path, weights_only=True)
    missing = next(key for key in weights if key.endswith("proj_in.bias"))
    del weights[missing]
    save_file(weights, path) if repackaged else torch.save(weights, path)
    (report,) = verify_parts(parts_of(name, tmp_path), tmp_path, SilentProgress())
    assert not report.is_good and report.networks[0].missing == ("controlnet.proj_in.bias",)


def test_our_own_form(tmp_path: Path) -> None:
    torch.manual_seed(0)
    branch = Uni3CControlNet(**miniature.UNI3C, add_channels=None)
    branch.save_pretrained(tmp_path / "uni3c")
    network = uni3c_files(tmp_path / "uni3c").networks[CONTROL]
    loaded = load(network)
    assert not loaded.reads_masks
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in branch.state_dict().items())
    config = json.loads((tmp_path / "uni3c" / "config.json").read_text())
    (tmp_path / "uni3c" / "config.json").write_text(json.dumps({**config, "num_layers": 2}))
    with pytest.raises(DependencyError, match="missing"):
        load(network)


def test_the_catalogue_says_what_is_known_and_no_more() -> None:
    for name in ("uni3c", "uni3c-fp16"):
        entry = load_catalog()[name]
        assert entry.licence is None and "camera branch" in entry.about
        assert not entry.publication().knows_all_sizes
