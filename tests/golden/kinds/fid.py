"""`fid/inception`: the FID network on a known filling. `fid/frechet`: the distances between known features."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from infinitetalk_cli.evaluate.metrics.frechet import frechet_distance, kernel_distance
from infinitetalk_cli.evaluate.metrics.inception import FidInception, prepared, resized_as_tensorflow_1

from ..harness import Case, Comparison, Golden, check_settings
from .filled import fill

_TOLERANCE = 1e-3
_KERNEL_TOLERANCE = 1e-9
"""The kernel distance is a plain sum in float64."""
_PROBE_STEP = 13


def inception_cases(golden: Golden) -> list[Case]:
    """One case per picture size."""
    found = golden.setting("cases")
    names = "|".join(case["name"] for case in found)
    golden.check_tensors((rf"({names})_(u8|resized_probe|feat(64|192|768|2048))",))
    for case in found:
        check_settings(f"{golden.path}: {case['name']}", case, ("name", "stored", "repeat", "fed"))
    network = lru_cache(partial(fill, FidInception(), golden))
    return [Case(case["name"], partial(_features, golden, network, case)) for case in found]


def frechet_cases(golden: Golden) -> list[Case]:
    """One case per pair of feature sets."""
    found = golden.setting("cases")
    names = "|".join(case["name"] for case in found)
    golden.check_tensors((rf"({names})_[ab]",))
    known = ("name", "frechet_eigen", "frechet_svd", "kid_unbiased_cubic")
    for case in found:
        check_settings(f"{golden.path}: {case['name']}", case, known)
    return [Case(case["name"], partial(_distances, golden, case)) for case in found]


@torch.no_grad()
def _features(golden: Golden, network: Any, case: dict[str, Any], comparison: Comparison) -> None:
    name, repeat = case["name"], case["repeat"]
    fed = golden.tensor(f"{name}_u8").repeat_interleave(repeat, dim=2).repeat_interleave(repeat, dim=3)
    comparison.equal("fed", list(fed.shape), case["fed"])
    resized = resized_as_tensorflow_1(fed.float())[:, :, ::_PROBE_STEP, ::_PROBE_STEP]
    comparison.close("resized_probe", resized, golden.tensor(f"{name}_resized_probe"), _TOLERANCE)
    stages: dict[int, Tensor] = network().stages(prepared(fed.movedim(1, -1).numpy(), "tf1"))
    for size, features in stages.items():
        comparison.close(f"feat{size}", features, golden.tensor(f"{name}_feat{size}"), _TOLERANCE)


def _distances(golden: Golden, case: dict[str, Any], comparison: Comparison) -> None:
    made, source = ([golden.tensor(f"{case['name']}_{side}").numpy()] for side in "ab")
    ours = {"frechet_svd": frechet_distance(made, source), "kid_unbiased_cubic": kernel_distance(made, source)}
    for what, allowed in zip(ours, (_TOLERANCE, _KERNEL_TOLERANCE), strict=True):
        recorded = torch.tensor(case[what], dtype=torch.float64).reshape(1)
        comparison.close(what, torch.tensor(ours[what], dtype=torch.float64).reshape(1), recorded, allowed)
