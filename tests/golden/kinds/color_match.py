"""`color_match`: colour transfer at several strengths."""

from __future__ import annotations

from functools import partial

from infinitetalk_cli.models.color import lab_from_rgb, match_color

from ..harness import Case, Comparison, Golden, GoldenError

_OUTPUT = "out.strength_"


def cases(golden: Golden) -> list[Case]:
    """One case per strength, which is part of the tensor's name; and the Lab values of the reference."""
    golden.check_tensors((r"in\.(source|reference)", r"mid\.reference_lab", r"out\.strength_[0-9.]+"))
    strengths = [name.removeprefix(_OUTPUT) for name in golden.tensors if name.startswith(_OUTPUT)]
    if not strengths:
        raise GoldenError(f"{golden.path}: no tensor '{_OUTPUT}*'")
    return [Case(f"strength_{strength}", partial(_compare, golden, strength)) for strength in strengths]


def _compare(golden: Golden, strength: str, comparison: Comparison) -> None:
    max_abs, mean_abs = golden.setting("tolerance", "max_abs"), golden.setting("tolerance", "mean_abs")
    reference = golden.tensor("in.reference")
    matched = match_color(golden.tensor("in.source"), reference, float(strength))
    comparison.close(f"{_OUTPUT}{strength}", matched, golden.tensor(f"{_OUTPUT}{strength}"), max_abs, mean_abs)
    if "mid.reference_lab" in golden.tensors:
        lab = lab_from_rgb(((reference + 1) / 2).clamp(0, 1))[0, :, 0].movedim(0, -1)
        # Lab reaches to 100 where pixels reach to 1.
        comparison.close("mid.reference_lab", lab, golden.tensors["mid.reference_lab"], 100 * max_abs, 100 * mean_abs)
