"""`uni3c/controlnet`: the camera branch, its camera embedding, and a tiny transformer that it steers.

The recorded transformer has no audio parts. Ours always has them, so here they say nothing: they come before what the
branch adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from infinitetalk_cli.models.camera_control import control_input
from infinitetalk_cli.models.camera_path import camera_embedding
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet

from ..harness import Case, Comparison, Golden, GoldenError, check_settings

_SETTINGS = (
    "prefix", "T", "h", "w", "t", "L", "camera_f", "camera_ang0", "camera_dang", "camera_tz",
    "residuals_identical_for_two_texts", "strength0_minus_plain_transformer_max_abs", "control_effect_max_abs",
    "render_only_minus_full_max_abs", "zero_mask_and_camera_minus_render_only_max_abs",
)  # fmt: skip
_INPUTS = (
    "latents", "y", "render_latent", "render_mask", "intrinsic", "w2c", "camera_embedding", "timestep", "text",
    "text_uncond", "clip_fea",
)  # fmt: skip
_VALUES = (
    r"control_in|control_patch_tokens|mask_camera_tokens|control_proj_in|time_embedding"
    r"|control_block\d+_out|main_block\d+_out_before_add"
)
_OUTPUTS = r"residual\d+(_render_only)?|noise_pred(_uncond|_half_strength|_strength0|_render_only)?"
_MASK_CHANNELS = 4


def cases(golden: Golden) -> list[Case]:
    """One case per prefix."""
    found = golden.setting("cases")
    prefixes = "|".join(re.escape(case["prefix"]) for case in found)
    golden.check_tensors(
        (
            rf"({prefixes})in\.({'|'.join(_INPUTS)})",
            rf"({prefixes})mid\.({_VALUES})",
            rf"({prefixes})out\.({_OUTPUTS})",
        )
    )
    for case in found:
        check_settings(f"{golden.path}: {case['prefix']}", case, _SETTINGS)
    networks = lru_cache(partial(_build, golden))
    return [Case(case["prefix"].rstrip("."), partial(_compare, golden, networks, case["prefix"])) for case in found]


def _build(golden: Golden) -> tuple[InfiniteTalkTransformer3DModel, Uni3CControlNet]:
    main = dict(golden.setting("model", "transformer_config"))
    known = ("num_attention_heads", "attention_head_dim", "ffn_dim", "num_layers", "freq_dim", "text_dim", "image_dim")
    audio = {"audio_layers": 1, "audio_channels": 2, "audio_hidden_dim": 2, "audio_token_dim": 2, "audio_tokens": 1}
    transformer = InfiniteTalkTransformer3DModel(**{name: main[name] for name in known}, **audio).eval()
    result = transformer.load_state_dict(golden.weights("main_weights.safetensors"), strict=False)
    missing = [name for name in result.missing_keys if not re.search(r"audio|norm_x", name)]
    if missing or result.unexpected_keys:
        raise GoldenError(f"{golden.path}: weights do not fit: {missing or result.unexpected_keys}")
    with torch.no_grad():
        for block in transformer.blocks:
            nn.init.zeros_(block.audio_cross_attn.proj.weight)
            nn.init.zeros_(block.audio_cross_attn.proj.bias)
    dim = main["num_attention_heads"] * main["attention_head_dim"]
    network = Uni3CControlNet(**golden.setting("model", "control_config"), out_dim=dim).eval()
    network.load_state_dict(golden.weights("control_weights.safetensors"))
    return transformer, network


def _compare(golden: Golden, networks: Any, prefix: str, comparison: Comparison) -> None:
    transformer, network = networks()
    inputs = {name: golden.tensor(f"{prefix}in.{name}") for name in _INPUTS}
    tolerance = golden.setting("tolerance")

    def close(name: str, ours: Tensor) -> None:
        recorded = golden.tensor(f"{prefix}{name}")
        comparison.close(name, ours, recorded, tolerance["max_abs"], tolerance["mean_abs"])

    size = tuple(inputs["render_mask"].shape[-2:])
    camera = camera_embedding(inputs["intrinsic"], inputs["w2c"], size)
    comparison.close("camera_embedding", camera, inputs["camera_embedding"], tolerance["camera_embedding_max_abs"])
    with torch.no_grad():
        mask_tokens = network.embed_mask(inputs["render_mask"], camera)
        recorded_input = control_input(inputs["latents"], inputs["y"][:, :_MASK_CHANNELS], inputs["render_latent"])

        def output(text: str, strength: float, tokens: Tensor | None) -> Tensor:
            begin = partial(network.begin, mask_tokens=tokens, strength=strength)
            return transformer(
                inputs["latents"],
                inputs["timestep"],
                text=inputs[text],
                image=inputs["clip_fea"],
                condition=inputs["y"],
                audio=torch.zeros(1, 4 * (inputs["latents"].shape[2] - 1) + 1, 5, 1, 2),
                control=lambda latents, time: begin(
                    control_input(latents, inputs["y"][:, :_MASK_CHANNELS], inputs["render_latent"]), time
                ),
            ).sample

        with _recorded(transformer, network) as values:
            predicted = output("text", 1.0, mask_tokens)
        values |= {"control_in": recorded_input, "mask_camera_tokens": mask_tokens}
        for name in golden.tensors_under(f"{prefix}mid."):
            close(f"mid.{name}", values[name])
        time = values["time_embedding"]
        for suffix, tokens in (("", mask_tokens), ("_render_only", None)):
            for index, residual in enumerate(network(recorded_input, time, tokens)):
                close(f"out.residual{index}{suffix}", residual)
        close("out.noise_pred", predicted)
        close("out.noise_pred_uncond", output("text_uncond", 1.0, mask_tokens))
        close("out.noise_pred_half_strength", output("text", 0.5, mask_tokens))
        close("out.noise_pred_strength0", output("text", 0.0, mask_tokens))
        close("out.noise_pred_render_only", output("text", 1.0, None))


@contextmanager
def _recorded(transformer: InfiniteTalkTransformer3DModel, network: Uni3CControlNet) -> Iterator[dict[str, Tensor]]:
    """Collects what happens inside the next forward, under the names of the goldens."""
    values: dict[str, Tensor] = {}
    watched: list[tuple[nn.Module, str, Any]] = [
        (transformer.condition_embedder.time_embedder, "time_embedding", None),
        (network.controlnet_patch_embedding, "control_patch_tokens", lambda patches: patches.flatten(2).mT),
        (network.controlnet.proj_in, "control_proj_in", None),
    ]
    for index, block in enumerate(network.controlnet.controlnet_blocks):
        watched.append((block, f"control_block{index}_out", None))
    for index, block in enumerate(transformer.blocks):
        watched.append((block, f"main_block{index}_out_before_add", lambda streams: streams[0]))

    def keep(name: str, view: Any, _module: object, _inputs: object, result: Any) -> None:
        values[name] = result if view is None else view(result)

    with ExitStack() as stack:
        for module, name, view in watched:
            stack.callback(module.register_forward_hook(partial(keep, name, view)).remove)
        yield values
