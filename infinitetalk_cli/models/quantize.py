"""8-bit weights for the large matrix products of the transformer, through torchao.

Only the linear layers inside the blocks are quantized: they hold nearly all weights. Embeddings, modulation tables,
norms and the head stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.devices import device_facts

logger = logging.getLogger(__name__)

Quantization = Literal["int8", "fp8"]


def make_quantizer(kind: Quantization, device: torch.device, dtype: torch.dtype) -> Callable[[str, nn.Module], None]:
    """A function (name of a weight, its module) that quantizes the module in place if it is one of those meant.

    Called as soon as a weight has arrived, it keeps the whole model in full precision from ever being in one place.
    "int8" keeps weights in 8 bits and multiplies in `dtype`, which saves memory but no time. "fp8" also quantizes what
    the weights are multiplied with, where `device` multiplies float8; elsewhere only the weights. The quantizing is
    done on `device`, the result stays where the module was.

    Raises:
        DependencyError: torchao is not installed.
        ProfileError: `dtype` is not one that the kernels take.
    """
    config = _config(kind, device, dtype)
    from torchao.quantization import quantize_

    def quantize(name: str, module: nn.Module) -> None:
        if not (name.startswith("blocks.") and type(module) is nn.Linear):
            return
        rests_on = module.weight.device
        # The weight alone is moved: the bias may not have arrived yet.
        module.weight = nn.Parameter(module.weight.to(device), requires_grad=False)
        quantize_(module, config)
        module.weight = nn.Parameter(module.weight.to(rests_on), requires_grad=False)

    return quantize


def _config(kind: Quantization, device: torch.device, dtype: torch.dtype) -> Any:
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            Float8WeightOnlyConfig,
            Int8WeightOnlyConfig,
            PerRow,
        )
    except ImportError as exc:
        raise DependencyError(
            f"compute.quantization {kind} needs torchao; install it with `pip install 'infinitetalk[gpu]'`, "
            "or use --quantization none"
        ) from exc
    if kind == "int8":
        return Int8WeightOnlyConfig(set_inductor_config=False)
    if not device_facts(str(device)).multiplies_fp8:
        logger.info("%s does not multiply float8: weights are kept in it, and multiplied in %s", device, dtype)
        return Float8WeightOnlyConfig(set_inductor_config=False)
    if dtype != torch.bfloat16:
        raise ProfileError("compute.quantization fp8 goes with compute.dtype bfloat16 only; change one of the two")
    return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False)
