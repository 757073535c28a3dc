"""`dit_single`, `dit_two_people`: one forward of the transformer, with what happens inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from infinitetalk_cli.models.attention import person_attention_map
from infinitetalk_cli.models.keys import config_from_published, state_dict_from_published
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel, masks_of_tokens

from ..harness import Case, Comparison, Golden, GoldenError, check_settings

_SETTINGS = ("prefix", "T", "H", "W", "t", "L", "people")
_INPUTS = ("latents", "timestep", "text", "clip_fea", "y", "audio", "ref_target_masks")
_BLOCK_VALUES = ("self_attn_out", "cross_attn_out", "audio_attn_out", "ref_attn_map", "out")
_FIRST_VALUES = ("patch_tokens", "time_embedding", "time_projection", "audio_tokens_per_person")
_VALUES = rf"{'|'.join(_FIRST_VALUES)}|block\d+_({'|'.join(_BLOCK_VALUES)})"


def build_transformer(golden: Golden, model: dict[str, Any], weights: str) -> InfiniteTalkTransformer3DModel:
    """The transformer that a golden describes under `model`, with weights of the support file `weights`."""
    config = config_from_published(
        model["transformer_config"],
        image_dim=model["image_dim"],
        audio_layers=model["audio_encoder_layers"],
        audio_channels=model["audio_channels"],
    )
    transformer = InfiniteTalkTransformer3DModel(**config).eval()
    transformer.load_state_dict(state_dict_from_published(golden.weights(weights)))
    return transformer


def cases(golden: Golden) -> list[Case]:
    """One case per prefix."""
    found = golden.setting("cases")
    prefixes = "|".join(re.escape(case["prefix"]) for case in found)
    known = (
        rf"({prefixes})in\.({'|'.join(_INPUTS)})",
        rf"({prefixes})mid\.({_VALUES})",
        rf"({prefixes})out\.noise_pred",
    )
    golden.check_tensors(known)
    transformer = lru_cache(partial(build_transformer, golden, golden.setting("model"), golden.setting("weights")))
    for case in found:
        check_settings(f"{golden.path}: {case['prefix']}", case, _SETTINGS)
    return [Case(case["prefix"].rstrip("."), partial(_compare, golden, transformer, case)) for case in found]


def _compare(golden: Golden, transformer: Any, case: dict[str, Any], comparison: Comparison) -> None:
    prefix = case["prefix"]
    inputs = {name: golden.tensor(f"{prefix}in.{name}") for name in _INPUTS}
    if inputs["audio"].shape[0] != case.get("people", inputs["audio"].shape[0]):
        raise GoldenError(f"{golden.path}: {prefix} has sound for {inputs['audio'].shape[0]} people")
    recorded = golden.tensor(f"{prefix}out.noise_pred")
    with record_values(transformer(), inputs["ref_target_masks"]) as values, torch.no_grad():
        output = transformer()(
            inputs["latents"][None],
            inputs["timestep"],
            text=inputs["text"][None],
            image=inputs["clip_fea"],
            condition=inputs["y"],
            audio=inputs["audio"],
            person_masks=inputs["ref_target_masks"],
        ).sample[0]
    max_abs, mean_abs = golden.setting("tolerance", "max_abs"), golden.setting("tolerance", "mean_abs")
    for name in golden.tensors:
        if not name.startswith(f"{prefix}mid."):
            continue
        key = name.removeprefix(f"{prefix}mid.")
        if key not in values:
            raise GoldenError(f"{golden.path}: {name}: this model has no such value")
        if key.endswith("ref_attn_map"):
            relative = golden.setting("tolerance", "ref_attn_map_rel")
            comparison.close_relative(f"mid.{key}", values[key], golden.tensors[name], relative)
        else:
            comparison.close(f"mid.{key}", values[key], golden.tensors[name], max_abs, mean_abs)
    comparison.close("out.noise_pred", output, recorded, max_abs, mean_abs)


@contextmanager
def record_values(transformer: InfiniteTalkTransformer3DModel, person_masks: Tensor) -> Iterator[dict[str, Tensor]]:
    """Collects what happens inside the next forward, under the names of the goldens.

    The model computes the map to the reference frame only for two people. Here it is computed for one as
    well, by the model's function.
    """
    _, ph, pw = transformer.config.patch_size
    token_masks = masks_of_tokens(person_masks, (person_masks.shape[-2] // ph, person_masks.shape[-1] // pw))
    values: dict[str, Tensor] = {}

    def attention_map(output: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        _, q_bnhd, k_bnhd = output
        return person_attention_map(q_bnhd, k_bnhd[:, : token_masks.shape[-1]], token_masks)[0]

    watched = [
        (transformer.patch_embedding, "patch_tokens", lambda patches: patches.flatten(2).mT),
        (transformer.condition_embedder.time_embedder, "time_embedding", None),
        (transformer.condition_embedder.time_proj, "time_projection", None),
        (transformer.audio_proj, "audio_tokens_per_person", None),
    ]
    for index, block in enumerate(transformer.blocks):
        watched += [
            (block.attn1, f"block{index}_self_attn_out", lambda output: output[0]),
            (block.attn1, f"block{index}_ref_attn_map", attention_map),
            (block.attn2, f"block{index}_cross_attn_out", None),
            (block.audio_cross_attn, f"block{index}_audio_attn_out", None),
            (block, f"block{index}_out", lambda streams: streams[0]),
        ]

    def keep(name: str, view: Any, _module: object, _inputs: object, output: Any) -> None:
        values[name] = output if view is None else view(output)

    with ExitStack() as stack:
        for module, name, view in watched:
            stack.callback(module.register_forward_hook(partial(keep, name, view)).remove)
        yield values
