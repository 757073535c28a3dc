"""Options of `dub` for kernels, number formats, weights that wait elsewhere, and LoRA files."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import typer

_PICTURE, _RUN = "Picture", "How to run"

Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE[:WEIGHT]",
        help="Add a LoRA file (or a name of `models list`) to those of the profile; may be repeated.",
        rich_help_panel=_PICTURE,
        show_default=False,
    ),
]
Attention = Annotated[
    Literal["auto", "sdpa", "flash", "flash-3", "sage"] | None,
    typer.Option("--attention", help="Attention kernels.", rich_help_panel=_RUN, show_default="as the profile says"),
]
Dtype = Annotated[
    Literal["bfloat16", "float32"] | None,
    typer.Option(
        "--dtype", help="Number format of the networks.", rich_help_panel=_RUN, show_default="as the profile says"
    ),
]
Quantization = Annotated[
    Literal["auto", "none", "int8", "fp8"] | None,
    typer.Option(
        "--quantization",
        help="Weights in 8 bits; auto: fp8 where the card has it.",
        rich_help_panel=_RUN,
        show_default="as the profile says",
    ),
]
Offload = Annotated[
    Literal["none", "blocks", "all"] | None,
    typer.Option(
        "--offload",
        help="Networks that wait in main memory, for small cards.",
        rich_help_panel=_RUN,
        show_default="as the profile says",
    ),
]
IgnoreMemory = Annotated[
    bool,
    typer.Option("--ignore-memory", help="Start even if the forecast says that it will not fit.", rich_help_panel=_RUN),
]


def compute_overrides(
    attention: str | None,
    dtype: str | None,
    quantization: str | None,
    offload: str | None,
    loras: list[str] | None,
) -> dict[str, tuple[str, object]]:
    """Settings of the profile: option -> (dotted key, value), only those that were given."""
    given: dict[str, tuple[str, object]] = {
        "--attention": ("compute.attention", attention),
        "--dtype": ("compute.dtype", dtype),
        "--quantization": ("compute.quantization", quantization),
        "--offload": ("memory.offload", offload),
        "--lora": ("model.loras[]", tuple(map(_lora, loras)) if loras else None),
    }
    return {option: (key, value) for option, (key, value) in given.items() if value is not None}


def _lora(text: str) -> dict[str, object]:
    """`FILE` or `FILE:WEIGHT`; a colon that no number follows belongs to the name."""
    file, colon, weight_text = text.rpartition(":")
    try:
        weight = float(weight_text)
    except ValueError:
        weight = math.nan
    if not colon or math.isnan(weight):
        file, weight = text, 1.0
    if not file:
        raise typer.BadParameter(f"--lora {text}: names no file; write FILE or FILE:WEIGHT")
    return {"file": file, "weight": weight}
