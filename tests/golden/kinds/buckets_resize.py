"""`buckets_resize`: the published sizes, and the way a picture and its masks get there."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from infinitetalk_cli.models.geometry import (
    choose_bucket,
    cover_and_crop,
    cover_and_crop_masks,
    covering_size,
)

from ..harness import Case, Comparison, Golden, check_settings


def cases(golden: Golden) -> list[Case]:
    """All choices as one case, and one case per picture."""
    golden.check_tensors((r"case\d+\.(in|out)\.(image|mask)",))
    resize_cases = golden.setting("resize_cases")
    for index in range(len(resize_cases)):
        check_settings(
            f"{golden.path}: resize case {index}",
            resize_cases[index],
            ("src", "target", "resized", "float_ceil_overshoot"),
        )
    beyond = [name for name in golden.tensors if int(name[4 : name.index(".")]) >= len(resize_cases)]
    found = [Case(f"case{index}", partial(_resize, golden, index, case)) for index, case in enumerate(resize_cases)]
    if golden.setting("choices"):
        found.append(Case("choices", partial(_choose, golden)))
    assert not beyond, f"{golden.path}: tensors without a case: {beyond}"
    return found


def _choose(golden: Golden, comparison: Comparison) -> None:
    for choice in golden.setting("choices"):
        source = tuple(choice["src"])
        for name, table in golden.setting("tables").items():
            buckets = {key: tuple(size) for key, size in table.items()}
            key = choose_bucket(source, buckets)
            comparison.equal(f"{name} for {source}", (key, list(buckets[key])), tuple(choice[name].values()))


def _resize(golden: Golden, index: int, case: dict[str, Any], comparison: Comparison) -> None:
    source, target = tuple(case["src"]), tuple(case["target"])
    image = golden.tensor(f"case{index}.in.image")
    assert tuple(image.shape[:2]) == source
    comparison.equal("resized", covering_size(source, target), tuple(case["resized"]))
    ours = torch.from_numpy(cover_and_crop(image.numpy(), target).copy()).movedim(-1, 0)[None, :, None]
    # "exact with the same Pillow; allow +-1 across Pillow versions"
    levels = 1 if "+-1" in str(golden.setting("tolerance", "image")) else 0
    comparison.close("out.image", ours, golden.tensor(f"case{index}.out.image"), max_abs=levels)
    if f"case{index}.in.mask" in golden.tensors:
        masks = cover_and_crop_masks(golden.tensors[f"case{index}.in.mask"], target)
        comparison.close("out.mask", masks, golden.tensor(f"case{index}.out.mask"), max_abs=0)
