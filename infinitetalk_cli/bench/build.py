"""A transformer with random weights, made in place on its device, and random inputs for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from infinitetalk_cli.bench.settings import NUM_IMAGE_TOKENS, BenchSettings, Dimensions
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

Finish = Callable[[str, nn.Module], None]
"""What is done with a module (name, module) as soon as it has its weights."""


def empty_transformer(dimensions: Dimensions) -> InfiniteTalkTransformer3DModel:
    """The transformer with shapes and no values, on the meta device."""
    with torch.device("meta"):
        return InfiniteTalkTransformer3DModel(**dimensions.model_dump()).eval().requires_grad_(False)


def weight_bytes(transformer: InfiniteTalkTransformer3DModel, dtype: torch.dtype) -> int:
    """Bytes of all weights in `dtype`, without those that stay in float32."""
    return sum(
        parameter.numel() * _dtype_of(transformer, name, dtype).itemsize
        for name, parameter in transformer.named_parameters()
    )


def fill_randomly(
    transformer: InfiniteTalkTransformer3DModel, device: torch.device, dtype: torch.dtype, finish: Finish | None = None
) -> None:
    """Give every parameter of an empty `transformer` random values on `device`, module by module.

    Values are drawn once per shape and copied: nothing depends on them, and 19 G normal numbers take a CPU minutes.
    So besides the weights there is never more than one copy of each shape, and no float32 copy of anything.
    """
    generator = torch.Generator(device).manual_seed(0)
    drawn: dict[tuple[torch.Size, torch.dtype], Tensor] = {}
    for name, module in transformer.named_modules():
        own = dict(module.named_parameters(prefix=name, recurse=False))
        for full_name, parameter in own.items():
            key = (parameter.shape, _dtype_of(transformer, full_name, dtype))
            if key not in drawn:
                drawn[key] = _draw(*key, device, generator)
            leaf = full_name.rpartition(".")[2]
            setattr(module, leaf, nn.Parameter(drawn[key].clone(), requires_grad=False))
        if own and finish is not None:
            finish(f"{name}.weight", module)


def _draw(shape: torch.Size, dtype: torch.dtype, device: torch.device, generator: torch.Generator) -> Tensor:
    """Values that keep the scale of what they are multiplied with; vectors (norms, biases) near one."""
    values = torch.empty(shape, dtype=dtype, device=device)
    if len(shape) < 2:
        return values.normal_(1, 0.1, generator=generator)
    return values.normal_(0, shape[1:].numel() ** -0.5, generator=generator)


def _dtype_of(transformer: InfiniteTalkTransformer3DModel, name: str, dtype: torch.dtype) -> torch.dtype:
    """Number format of a parameter, as loading chooses it."""
    kept = set(transformer._keep_in_fp32_modules)
    return torch.float32 if kept & set(name.split(".")) else dtype


def random_inputs(transformer: InfiniteTalkTransformer3DModel, settings: BenchSettings, device: torch.device) -> Any:
    """Keyword arguments of a forward with sound, one branch; conditions keep their keys from call to call."""
    sizes, (frames, rows, columns) = settings.dimensions, settings.latent
    generator = torch.Generator(device).manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, generator=generator)

    masks = torch.zeros(3, rows, columns, device=device)
    masks[0, :, : columns // 2], masks[1, :, columns // 2 :] = 1, 1
    num_windows = 1 + sizes.vae_temporal_stride * (frames - 1)
    prepared = transformer.prepare_conditions(
        text=None if sizes.text_dim is None else random(1, sizes.text_len, sizes.text_dim),
        image=None if sizes.image_dim is None else random(1, NUM_IMAGE_TOKENS, sizes.image_dim),
        audio=random(settings.people, num_windows, sizes.audio_window, sizes.audio_layers, sizes.audio_channels),
        num_people=settings.people,
    )
    return {
        "latents": random(1, sizes.out_channels, *settings.latent),
        "timestep": torch.full((1,), 500.0, device=device),
        "condition": random(1, sizes.in_channels - sizes.out_channels, *settings.latent),
        "person_masks": masks,
        "prepared": (prepared,),
    }
