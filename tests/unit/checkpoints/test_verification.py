"""What `models verify` says about files that are not what they should be; nothing is loaded."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import miniature
import pytest
import torch
from safetensors.torch import load_file, save_file

from infinitetalk_cli.cache.files import sha256_of
from infinitetalk_cli.checkpoints.locate import find_parts
from infinitetalk_cli.checkpoints.pins import Pin, write_pin
from infinitetalk_cli.checkpoints.tables import transformer_table
from infinitetalk_cli.checkpoints.verify import TensorReport, compare
from infinitetalk_cli.pipeline.verification import PartReport, verify_parts
from infinitetalk_cli.progress import SilentProgress

SHARD = f"{miniature.BASE}/diffusion_pytorch_model-00002-of-00003.safetensors"


def check(root: Path, with_hashes: bool = False, **changes: object) -> list[PartReport]:
    parts = find_parts(miniature.model_profile(**changes), root)
    return verify_parts(parts, root, SilentProgress(), with_hashes=with_hashes)


def network(reports: list[PartReport], what: str) -> TensorReport:
    return next(report for part in reports for report in part.networks if report.what == what)


def change_file(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    is_safe = path.suffix == ".safetensors"
    weights = load_file(path) if is_safe else torch.load(path, weights_only=True)
    change(weights)
    save_file(weights, path) if is_safe else torch.save(weights, path)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_whole_weights_are_good(whole_weights, layout: str) -> None:
    reports = check(whole_weights(layout))
    assert [(part.part.name, part.is_good) for part in reports] == [
        (miniature.BASE, True), (miniature.AUDIO_ENCODER, True), ("InfiniteTalk-single", True),
    ]  # fmt: skip
    assert {report.what for part in reports for report in part.networks} == {
        "transformer", "codec", "image_encoder", "text_encoder", "audio_encoder", "audio parts of the transformer",
    }  # fmt: skip


def test_tensors_that_are_missing_foreign_or_misshapen(own_weights) -> None:
    root = own_weights("original")

    def damage(weights: dict[str, torch.Tensor]) -> None:
        del weights["blocks.0.ffn.0.bias"]
        weights["blocks.0.ffn.9.bias"] = torch.zeros(3)
        weights["blocks.0.norm3.weight"] = torch.zeros(31)

    change_file(root / SHARD, damage)
    report = network(check(root), "transformer")
    assert report.missing == ("blocks.0.ffn.0.bias",)
    assert report.unexpected == ("blocks.0.ffn.9.bias",)
    assert report.misshapen == (("blocks.0.norm3.weight", (32,), (31,)),)
    assert report.sentences == [
        "1 tensors missing: blocks.0.ffn.0.bias",
        "1 tensors not of this model: blocks.0.ffn.9.bias",
        "1 tensors of another shape: blocks.0.norm3.weight is 31, not 32",
    ]


def test_the_diffusers_layout_is_named_as_in_its_files(own_weights) -> None:
    root = own_weights("diffusers")
    folder = root / miniature.DIFFUSERS_BASE / "transformer"
    index = json.loads((folder / "diffusion_pytorch_model.safetensors.index.json").read_text())
    name = "blocks.1.attn2.norm_added_k.weight"
    change_file(folder / index["weight_map"][name], lambda weights: weights.pop(name))
    assert network(check(root), "transformer").missing == (name,)


@pytest.mark.parametrize(
    ("file", "key", "what"),
    [
        (miniature.VAE_FILE, "decoder.middle.1.norm.gamma", "codec"),
        (miniature.CLIP_FILE, "visual.transformer.1.mlp.2.bias", "image_encoder"),
        (miniature.T5_FILE, "blocks.1.norm2.weight", "text_encoder"),
    ],
)
def test_the_other_networks(own_weights, file: str, key: str, what: str) -> None:
    root = own_weights("original")
    change_file(root / miniature.BASE / file, lambda weights: weights.pop(key))
    report = network(check(root), what)
    assert len(report.missing) == 1
    assert not report.unexpected


def test_a_foreign_tensor_does_not_hide_the_others(own_weights) -> None:
    root = own_weights("original")
    path = root / miniature.BASE / miniature.T5_FILE
    change_file(path, lambda weights: weights.update({"blocks.0.extra": torch.zeros(1)}))
    report = network(check(root), "text_encoder")
    assert report.unexpected == ("blocks.0.extra",)
    assert not report.missing


def test_audio_weights_may_replace_base_tensors(own_weights) -> None:
    root = own_weights("original")
    path = root / "InfiniteTalk" / "single" / "infinitetalk.safetensors"
    miniature.write_audio_weights(path, override_base=True)
    report = network(check(root), "audio parts of the transformer")
    assert report.is_good
    assert report.notes == ("1 tensors replace those of the base",)


def test_audio_weights_of_another_model(own_weights) -> None:
    root = own_weights("original")
    path = root / "InfiniteTalk" / "single" / "infinitetalk.safetensors"

    def widen(weights: dict[str, torch.Tensor]) -> None:
        for name, tensor in weights.items():
            if tensor.shape[0] == 32:
                weights[name] = tensor.repeat_interleave(2, 0).contiguous()

    change_file(path, widen)
    assert network(check(root), "audio parts of the transformer").misshapen
    save_file({"unrelated": torch.zeros(2)}, path)
    (problem,) = check(root)[2].networks[0].problems
    assert problem == "these are no audio weights of this model"


def test_loras(own_weights, tmp_path: Path) -> None:
    root = own_weights("original")
    good, other = tmp_path / "good.safetensors", tmp_path / "other.safetensors"
    miniature.write_lora(good)
    miniature.write_lora(other, modules=("nothing.like.it",), with_diffs=False)
    reports = check(root, loras=({"file": str(good)}, {"file": str(other)}))
    assert [part.is_good for part in reports[3:]] == [True, False]


def test_a_pickle_that_wants_to_run_code(own_weights, tmp_path: Path) -> None:
    root, mark = own_weights("original"), tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(mark),))

    torch.save({"conv1.weight": Trap()}, root / miniature.BASE / miniature.VAE_FILE)
    (problem,) = network(check(root), "codec").problems
    assert "it could run code" in problem
    assert not mark.exists()


def test_missing_and_damaged_files(own_weights) -> None:
    root = own_weights("original")
    os.truncate(root / SHARD, 100)
    (root / miniature.BASE / miniature.CLIP_FILE).unlink()
    base = check(root)[0]
    assert [problem.split(" ")[0] for problem in base.problems] == [Path(SHARD).name, miniature.CLIP_FILE]
    assert {report.what for report in base.networks} == {"codec", "text_encoder"}  # the others are not opened


def test_hashes_that_the_hub_stated(own_weights) -> None:
    root, name = own_weights("original"), "single/infinitetalk.safetensors"
    path = root / "InfiniteTalk" / name
    write_pin(root, "MeiGen-AI/InfiniteTalk", Pin(commit="c" * 40, sha256={name: sha256_of(path)}))
    assert [(part.is_good, part.num_hashes) for part in check(root, with_hashes=True)] == [
        (True, 0), (True, 0), (True, 1),
    ]  # fmt: skip
    change_file(path, lambda weights: weights["audio_proj.norm.bias"].add_(1))
    report = check(root, with_hashes=True)[2]
    assert not report.is_good
    assert "SHA-256" in report.problems[0]
    assert check(root)[2].is_good  # names and shapes are as they were


def write_hollow(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A bfloat16 safetensors file of any size that takes no room: a header, and a hole."""
    entries, offset = {}, 0
    for name, shape in shapes.items():
        stop = offset + 2 * int(torch.tensor(shape).prod())
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, stop]}
        offset = stop
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + offset)


def test_the_published_size(own_weights) -> None:
    """All 1633 tensors of the 14B model, as holes in files; the table counts, whatever else the files say."""
    root, table = own_weights("original"), transformer_table()
    base = root / miniature.BASE
    for shard in base.glob("*.safetensors*"):
        shard.unlink()
    config = json.loads((base / "config.json").read_text())
    sizes = {"dim": 5120, "ffn_dim": 13824, "freq_dim": 256, "num_heads": 40, "num_layers": 40}
    (base / "config.json").write_text(json.dumps(config | sizes))
    shapes = table.base_shapes(table.published)
    names = list(shapes)
    try:
        for place in range(7):
            part = names[place * 187 : (place + 1) * 187]
            file = base / f"diffusion_pytorch_model-{place + 1:05d}-of-00007.safetensors"
            write_hollow(file, {name: shapes[name] for name in part})
        audio = table.audio_shapes(table.published)
        write_hollow(root / "InfiniteTalk" / "single" / "infinitetalk.safetensors", audio)
    except OSError as exc:
        pytest.skip(f"this file system has no holes: {exc}")
    reports = check(root)
    transformer = network(reports, "transformer")
    assert (transformer.is_good, transformer.num_tensors, transformer.notes) == (True, 1303, ())
    assert network(reports, "audio parts of the transformer").num_tensors == 330
    assert reports[2].is_good
    # Beside a base of the published size the other networks have to be of the published size too.
    assert network(reports, "codec").misshapen
    assert network(reports, "text_encoder").missing
    config["ffn_dim"] = 64
    (base / "config.json").write_text(json.dumps(config | sizes | {"ffn_dim": 64}))
    assert "ffn is 64, the published model has 13824" in network(check(root), "transformer").problems[0]


def test_only_the_first_names_are_shown() -> None:
    report = compare("x", {str(number): (1,) for number in range(9)}, {})
    assert report.sentences == ["9 tensors missing: 0, 1, 2, 3, 4 and 4 more"]
    assert len(report.as_dict()["missing"]) == 9


def test_a_number_of_heads_that_cannot_be(own_weights) -> None:
    """No tensor shows how many heads there are: a wrong number would compute something else, silently."""
    root = own_weights("original")
    path = root / miniature.BASE / "config.json"
    settings = json.loads(path.read_text())
    for heads in (0, 5):
        path.write_text(json.dumps(settings | {"num_heads": heads}))
        assert f"32 channels do not divide into {heads} heads" in network(check(root), "transformer").problems[0]


def test_a_damaged_tokenizer(own_weights) -> None:
    root = own_weights("original")
    (root / miniature.BASE / "google" / "umt5-xxl" / "tokenizer.json").write_text('{"a": 1}')
    (problem,) = network(check(root), "text_encoder").problems
    assert "the tokenizer cannot be read" in problem


@pytest.mark.parametrize("settings", [{"dim_mult": []}, {"base_dim": -1}, {"z_dim": "x"}])
def test_settings_that_make_no_network(own_weights, settings: dict[str, object]) -> None:
    root = own_weights("diffusers")
    path = root / miniature.DIFFUSERS_BASE / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    assert not network(check(root), "codec").is_good
